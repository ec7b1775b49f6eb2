"""One NGINX: its files, its master process and the socket by which it is told things without a reload.

Comes in: texts of files, signals to send, bytes for the control socket. Goes out: a running NGINX, answers, and
`ConfigRefusedError` with NGINX's own words. Refuses to know what any of the configuration means. The master is found by
its pid file, so it is served on by whoever comes next when the process that started it dies.
"""

import asyncio
import os
import re
import shutil
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import aiohttp
from msgspec import Struct

from fairlead.drivers.errors import FairleadError

_TEST_SECONDS, _ANSWER_SECONDS = 60.0, 10.0
_STDERR = "-e", "stderr"
_PLACE = re.compile(r"in (?P<file>\S+?):(?P<line>\d+)$", re.MULTILINE)
_LEVEL = re.compile(r"^nginx: (\[\w+\] )?", re.MULTILINE)


class NginxFolder(Struct, frozen=True):
    """Where one NGINX keeps everything: configuration, pid file and control socket are in `path`.

    Files whose names begin with one of `read_by_workers` are for NGINX's workers too, which are another user.
    """

    path: Path
    program: str = "nginx"
    read_by_workers: tuple[str, ...] = ()

    @property
    def config(self) -> Path:
        """The configuration that is in force, or is to be."""
        return self.path / "nginx.conf"

    @property
    def pid_file(self) -> Path:
        """Where the master writes its process id."""
        return self.path / "nginx.pid"

    @property
    def control(self) -> Path:
        """The unix socket at which NGINX is told of endpoints and certificates."""
        return self.path / "control.sock"


class ConfigRefusedError(FairleadError):
    """NGINX refuses a configuration; `line` is where in nginx.conf, or 0."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class MissingNginxError(FairleadError):
    """There is no NGINX, or it lacks a module: nothing can be done until somebody installs it."""


_PACKAGES = "install the packages nginx, libnginx-mod-http-lua, libnginx-mod-stream and lua-cjson"


class Workers(Struct, frozen=True):
    """Process ids of the workers that accept, and of those that finish what they have."""

    serving: tuple[int, ...] = ()
    ending: tuple[int, ...] = ()


class Nginx:
    """The NGINX of a folder, running or not. Must be used within one event loop."""

    def __init__(self, folder: NginxFolder) -> None:
        self._folder = folder
        self._opened: aiohttp.ClientSession | None = None

    def require(self, modules: Iterable[str] = ()) -> None:
        """Raise MissingNginxError unless NGINX and these of its modules are installed."""
        program = self._folder.program
        if shutil.which(program) is None:
            raise MissingNginxError(f"there is no program {program}", _PACKAGES)
        for each in modules:
            if not Path(each).exists():
                raise MissingNginxError(f"NGINX has no module {each}", _PACKAGES)

    # Files

    def write(self, files: Mapping[str, str]) -> None:
        """Put files into the folder, each in one step; those that are right are left alone.

        They are for their owner alone, except those that workers open while they serve.
        """
        for name, text in files.items():
            path = self._folder.path / name
            data = text.encode()
            with suppress(FileNotFoundError):
                if path.read_bytes() == data:
                    continue
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            draft = path.with_name(f".{path.name}.new")
            draft.touch(mode=0o600)
            draft.write_bytes(data)
            if name.startswith(self._folder.read_by_workers):
                draft.chmod(0o644)
            draft.replace(path)

    async def test(self, text: str) -> None:
        """Ask NGINX whether it would take `text` for its configuration. Raises ConfigRefusedError."""
        candidate = self._folder.path / "candidate.conf"
        self.write({candidate.name: text})
        process = await asyncio.create_subprocess_exec(
            *self._command(candidate), "-t", "-q", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(_TEST_SECONDS):
                _, said = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise ConfigRefusedError(f"nginx -t took longer than {_TEST_SECONDS:.0f} s") from None
        if process.returncode:
            raise _refusal(said.decode(errors="replace"), candidate)

    # The process

    async def start(self) -> None:
        """Start the master and wait until it has written its pid. Raises FairleadError when it ends instead."""
        self._retire_orphans()
        self._folder.pid_file.unlink(missing_ok=True)
        for socket in (self._folder.control, self._folder.path / "refuse.sock"):
            socket.unlink(missing_ok=True)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command(self._folder.config), "-g", "daemon off;", stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise MissingNginxError(f"{self._folder.program} cannot be started: {error.strerror}", _PACKAGES) from error
        ended = asyncio.create_task(process.wait())
        while self.master() != process.pid:
            if ended.done():
                raise FairleadError(f"nginx ended at once with {ended.result()}", "its own words are in the log")
            await asyncio.sleep(0.005)
        with suppress(FileNotFoundError):
            self._folder.control.chmod(0o600)  # NGINX lets everybody in

    def _retire_orphans(self) -> None:
        """Have workers whose master was killed finish what they have: they would serve on beside the next ones."""
        try:
            session = int(self._folder.pid_file.read_text())
        except (OSError, ValueError):
            return
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError, ValueError, IndexError):
                words = status.read_text().rpartition(")")[2].split()
                title = (status.parent / "cmdline").read_bytes()
                if int(words[3]) == session and title.startswith(b"nginx: worker process"):
                    os.kill(int(status.parent.name), signal.SIGQUIT)

    def in_force(self) -> str:
        """The configuration in the folder, or nothing."""
        try:
            return self._folder.config.read_text()
        except OSError:
            return ""

    def master(self) -> int:
        """The master's process id; 0 when it does not run."""
        try:
            pid = int(self._folder.pid_file.read_text())
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return 0
        return pid if title.startswith(b"nginx: master") else 0

    def workers(self) -> Workers:
        """The workers of now."""
        master = self.master()
        serving: list[int] = []
        ending: list[int] = []
        for task in Path(f"/proc/{master}/task").glob("*/children") if master else ():
            with suppress(OSError):
                for child in task.read_text().split():
                    title = Path(f"/proc/{child}/cmdline").read_bytes()
                    if title.startswith(b"nginx: worker process is shutting down"):
                        ending.append(int(child))
                    elif title.startswith(b"nginx: worker process"):
                        serving.append(int(child))
        return Workers(tuple(serving), tuple(ending))

    async def wait_for_end(self) -> None:
        """Return when the master has ended; at once if it does not run."""
        master = self.master()
        if not master:
            return
        try:
            watched = os.pidfd_open(master)
        except ProcessLookupError:
            return
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(watched, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(watched)
            os.close(watched)

    def reload(self) -> None:
        """Tell the master to read its configuration anew; what comes of it, `generation` says."""
        self._signal(signal.SIGHUP)

    def end_workers(self, pids: Iterable[int]) -> None:
        """Tell workers that finish what they have to end at once."""
        for pid in set(pids) & set(self.workers().ending):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def quit(self) -> None:
        """Tell NGINX to finish the requests it has and end."""
        self._signal(signal.SIGQUIT)

    def terminate(self) -> None:
        """Tell NGINX to end at once."""
        self._signal(signal.SIGTERM)

    # The control socket

    async def ask(self, path: str, body: bytes | None = None) -> bytes:
        """GET `path` of the control socket, or POST `body` to it. Raises FairleadError for no answer or a refusal."""
        session = self._session()
        method = "GET" if body is None else "POST"
        try:
            async with session.request(method, f"http://nginx{path}", data=body) as response:
                answer = await response.read()
                if response.status >= 300:
                    said = answer[:300].decode(errors="replace").strip()
                    raise FairleadError(f"NGINX answered {method} {path} with {response.status}: {said}")
                return answer
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise FairleadError(f"NGINX does not answer at its control socket: {error or type(error).__name__}") from (
                error
            )

    async def close(self) -> None:
        """Close the control connection; NGINX runs on."""
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None or self._opened.closed:
            # Every question is a connection of its own: one kept open would lead to a worker that is on its way out.
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(path=str(self._folder.control), force_close=True),
                timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS),
            )
        return self._opened

    def _signal(self, number: signal.Signals) -> None:
        master = self.master()
        if master:
            with suppress(ProcessLookupError):
                os.kill(master, number)

    def _command(self, config: Path) -> tuple[str, ...]:
        return (self._folder.program, *_STDERR, "-p", str(self._folder.path), "-c", str(config))


def _refusal(said: str, candidate: Path) -> ConfigRefusedError:
    """NGINX's first complaint, without the names of files that nobody else knows."""
    line = 0
    complaint = next((text for text in said.splitlines() if "[emerg]" in text or "[crit]" in text), said.strip())
    place = _PLACE.search(complaint)
    if place is not None:
        line = int(place["line"]) if Path(place["file"]).name == candidate.name else 0
        complaint = complaint[: place.start()].rstrip()
    return ConfigRefusedError(_LEVEL.sub("", complaint), line)
