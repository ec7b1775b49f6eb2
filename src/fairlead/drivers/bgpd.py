"""ExaBGP as a process: configurations go in, and what it says comes out, line by line.

It is started with the first configuration and reads later ones at SIGUSR1, without ending sessions whose settings
stay. It dies with this process.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from fairlead.drivers.processes import die_with_parent

_SETTINGS = {
    "exabgp.daemon.drop": "false",
    "exabgp.daemon.daemonize": "false",
    "exabgp.daemon.user": "root",
    "exabgp.api.cli": "false",
    "exabgp.log.destination": "stdout",
    "exabgp.log.level": "INFO",
    "exabgp.tcp.delay": "0",
}

_LOADED, _START_SECONDS = b"loaded new configuration", 10.0


class Bgpd:
    """One ExaBGP, or none while there is nothing to configure."""

    def __init__(self, heard: Callable[[str], None]) -> None:
        self._heard = heard
        self._directory = TemporaryDirectory(prefix="fairlead-bgp-")
        self._file = Path(self._directory.name) / "exabgp.conf"
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._loaded = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def configure(self, text: str) -> None:
        """Run with this configuration; an empty one ends the process."""
        if not text:
            await self.close()
            return
        draft = self._file.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(text)
        draft.replace(self._file)
        if self._process is not None and self._process.returncode is None:
            with suppress(TimeoutError):  # a signal that comes earlier is lost, or ends the process
                await asyncio.wait_for(self._loaded.wait(), _START_SECONDS)
            if self._process.returncode is None:
                self._process.send_signal(signal.SIGUSR1)
                return
        self._loaded.clear()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "exabgp",
            "server",
            str(self._file),
            env={**os.environ, **_SETTINGS},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        self._reader = asyncio.create_task(self._read(self._process))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        with suppress(ValueError):  # a line longer than any that is meant for people
            async for line in process.stdout:
                if _LOADED in line:
                    self._loaded.set()
                self._heard(line.decode(errors="replace").rstrip())

    async def close(self) -> None:
        """End the process, which tells its peers so."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 2)
        except TimeoutError:
            process.kill()
            await process.wait()
