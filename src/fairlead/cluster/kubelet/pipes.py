"""The output of programs: pipes come in, lines in log files or one text go out."""

import asyncio
import os
import signal
from contextlib import suppress
from itertools import count
from pathlib import Path

from fairlead.cluster.standins.logbook import LogBook

_MOST_LINE = 16 * 1024
_MOST_OUTPUT = 10 * 1024
_MOST_READS = 4  # in one go: a program that never stops writing leaves time for the others


class LogPipe:
    """A container's standard output and error, each line in its log file."""

    def __init__(self, path: Path, book: LogBook) -> None:
        self._path = path
        self._book = book
        self._streams: dict[int, tuple[str, bytearray]] = {}
        out, self.stdout = os.pipe2(os.O_CLOEXEC)
        err, self.stderr = os.pipe2(os.O_CLOEXEC)
        for fd, stream in ((out, "stdout"), (err, "stderr")):
            os.set_blocking(fd, False)
            self._streams[fd] = (stream, bytearray())
            asyncio.get_running_loop().add_reader(fd, self._read, fd)

    def started(self) -> None:
        """The program has its ends now; ours are let go."""
        for fd in (self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)
        self.stdout = self.stderr = -1

    def close(self) -> None:
        """Take what is left, and end."""
        self.started()
        for fd in tuple(self._streams):
            self._read(fd, last=True)

    def _read(self, fd: int, *, last: bool = False) -> None:
        stream, held = self._streams[fd]
        ended = last
        for _ in count() if last else range(_MOST_READS):
            try:
                data = os.read(fd, 65536)
            except BlockingIOError:
                break
            if not data:
                ended = True
                break
            held += data
        *lines, rest = bytes(held).split(b"\n")
        while len(rest) > _MOST_LINE:
            lines.append(rest[:_MOST_LINE])
            rest = rest[_MOST_LINE:]
        if ended and rest:
            lines.append(rest)
            rest = b""
        held[:] = rest
        for line in lines:
            self._book.write(self._path, line.decode(errors="replace"), stream)
        if ended:
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)
            del self._streams[fd]


def _reap(pid: int) -> int:
    """The exit code of a child that has ended."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def read_output(pid: int, reader: int, seconds: float) -> tuple[int | None, str]:
    """Wait for `pid`, a child, and what it writes; its exit code, or None if it took longer and was killed."""
    loop = asyncio.get_running_loop()
    watch = os.pidfd_open(pid)
    ended = loop.create_future()
    loop.add_reader(watch, lambda: ended.done() or ended.set_result(None))
    code: int | None = None
    try:
        async with asyncio.timeout(seconds):
            await ended
        code = _reap(pid)
    except TimeoutError:
        pass
    finally:
        loop.remove_reader(watch)
        os.close(watch)
        if code is None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            _reap(pid)
        os.set_blocking(reader, False)
        output = b""
        with suppress(BlockingIOError):
            output = os.read(reader, _MOST_OUTPUT)
        os.close(reader)
    return code, output.decode(errors="replace").strip()
