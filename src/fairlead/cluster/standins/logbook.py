"""Log lines of many containers, written to their files in batches: no file stays open between them.

Comes in: a path and a message. Goes out: lines `TIME STREAM F MESSAGE` as the container runtime interface has
them. A file that has grown beyond its size is kept as one older generation, `NAME.1`.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

_EVERY = 0.1  # seconds
MOST_BYTES = 10 * 1024 * 1024


def log_line(epoch: float, message: str, stream: str = "stdout", tag: str = "F") -> str:
    """One line of a log file; `tag` P marks a piece of a line that goes on in the next one."""
    moment = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
    return f"{moment} {stream} {tag} {message}\n"


def append(path: Path, text: str, most: int = MOST_BYTES) -> None:
    """Add whole lines to a file, starting a new one when it has grown beyond `most` bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", errors="replace") as file:
        file.write(text)
        size = file.tell()
    if size > most:
        path.replace(path.with_name(path.name + ".1"))


class LogBook:
    """Collects lines and writes them a tenth of a second later. A full disk loses lines, not the service."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lines: dict[Path, list[str]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.lost = 0
        """How many batches could not be written."""

    def write(self, path: Path, message: str, stream: str = "stdout") -> None:
        """Add a line to the log at `path`."""
        self._lines.setdefault(path, []).append(log_line(self._clock(), message, stream))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_EVERY, self.flush)

    def flush(self) -> None:
        """Write what was collected."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, {}
        for path, batch in lines.items():
            try:
                append(path, "".join(batch))
            except OSError:
                self.lost += 1
