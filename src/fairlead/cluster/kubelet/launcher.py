"""Starts a program as a container: forked into namespaces of its own, with a root of its own making, then executed.

Comes in: what to execute and what to show where. Goes out: the pid of the container's first process, or
FairleadError. The root is a tmpfs that shows this machine's folders; mount points that the machine lacks are made
there, never on it. The kernel kills the container when the kubelet's thread ends. Source: namespaces(7),
pivot_root(2), prctl(2).
"""

# ruff: noqa: PTH101, PTH102, PTH110, PTH112, PTH114, PTH115, PTH211
# The child between fork and exec calls the kernel by its own names.

import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from msgspec import Struct

from fairlead.drivers.errors import FairleadError
from fairlead.drivers.netns import entered

_libc = ctypes.CDLL(None, use_errno=True)
_NEWNS, _NEWUTS, _NEWIPC, _NEWPID = 0x0002_0000, 0x0400_0000, 0x0800_0000, 0x2000_0000
_BIND, _REC, _PRIVATE, _RDONLY, _REMOUNT = 0x1000, 0x4000, 0x40000, 0x1, 0x20
_DETACH, _PDEATHSIG = 2, 1
_SCRATCH = ("tmp", "run", "var/tmp", "var/log", "var/cache", "var/lib/nginx")
"""Folders of which a container gets its own, empty but for their subfolders."""


class Mount(Struct, frozen=True):
    """A file or folder of this machine, shown at an absolute path of the container."""

    source: str
    target: str
    read_only: bool = False


def own_mounts() -> list[Mount]:
    """What shows this interpreter and this package where they lie in a folder of which a container gets its own."""
    places = {sys.prefix, sys.base_prefix, str(Path(__file__).parents[3])}
    hidden = [place for place in sorted(places) if any(place.startswith(f"/{name}/") for name in _SCRATCH)]
    return [Mount(place, place, read_only=True) for place in hidden]


class Launch(Struct, frozen=True, kw_only=True):
    """What to execute: `words` with `environment`, in `folder`, writing to the descriptors `stdout` and `stderr`."""

    words: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str
    hostname: str
    netns: int
    mounts: Sequence[Mount]
    root: str
    """An empty folder to build the root on."""
    stdout: int
    stderr: int
    groups: Sequence[int] = ()
    """Descriptors by which the program enters its control groups."""


def launch(what: Launch) -> int:
    """Return the pid of the started program. Raises FairleadError with what the kernel refused."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with entered(what.netns):
            _checked(_libc.unshare(_NEWPID), "make a PID namespace")
            try:
                pid = os.fork()
                if pid == 0:
                    _become(what, writer)
            finally:
                _checked(_libc.setns(own, _NEWPID), "return to the PID namespace")
        os.close(writer)
        writer = -1
        refused = os.read(reader, 4096)
        if refused:
            os.waitpid(pid, 0)
            raise FairleadError(refused.decode(errors="replace"))
        return pid
    finally:
        for fd in (reader, writer, own):
            if fd >= 0:
                os.close(fd)


def execute(pid: int, words: Sequence[str], environment: Mapping[str, str], output: int) -> int:
    """Start `words` inside the running container whose first process is `pid`; return the pid of its parent here."""
    child = os.fork()
    if child:
        return child
    code = 126
    try:
        _libc.prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        fds = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in ("net", "uts", "ipc", "pid", "mnt")]
        for fd in fds:
            _checked(_libc.setns(fd, 0), "enter the container")
        inner = os.fork()
        if inner == 0:
            _libc.prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
            _redirect(output, output)
            _reset_signals()
            os.execvpe(words[0], list(words), dict(environment))
        _, status = os.waitpid(inner, 0)
        ended = os.waitstatus_to_exitcode(status)
        code = ended if ended >= 0 else 128 - ended
    except BaseException as error:
        with suppress(OSError):
            os.write(output, f"{words[0]}: {error}\n".encode())
    finally:
        os._exit(code)


def _become(what: Launch, writer: int) -> NoReturn:
    try:
        _libc.prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        _checked(_libc.unshare(_NEWNS | _NEWUTS | _NEWIPC), "make namespaces")
        _mount("none", "/", "", _REC | _PRIVATE)
        os.setsid()
        for group in what.groups:
            os.write(group, b"0")  # the process that writes
        name = what.hostname.encode()
        _checked(_libc.sethostname(name, len(name)), "set the host name")
        _build_root(what)
        _redirect(what.stdout, what.stderr)
        _reset_signals()
        with suppress(FileNotFoundError):
            os.chdir(what.folder)
        try:
            os.execvpe(what.words[0], list(what.words), dict(what.environment))
        except FileNotFoundError:
            raise OSError(f'exec: "{what.words[0]}": executable file not found in $PATH') from None
        except PermissionError:
            raise OSError(f'exec: "{what.words[0]}": permission denied') from None
    except BaseException as error:
        with suppress(OSError):
            os.write(writer, str(error).encode())
    finally:
        os._exit(127)


_MOST_LINKS = 40


def _build_root(what: Launch) -> None:
    root = what.root
    _mount("tmpfs", root, "tmpfs", 0)
    for entry in os.scandir("/"):
        if entry.name != "proc":
            _show(entry, f"{root}/{entry.name}")
    os.mkdir(f"{root}/proc")
    try:
        _mount("proc", f"{root}/proc", "proc", 0)
    except OSError:  # a container engine that hides parts of /proc lets nobody mount a new one
        _mount("/proc", f"{root}/proc", "", _BIND | _REC)
    for name in _SCRATCH:
        if os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}"):
            inner = [each.name for each in os.scandir(f"/{name}") if each.is_dir(follow_symlinks=False)]
            _mount("tmpfs", f"{root}/{name}", "tmpfs", 0)
            for each in inner if name != "tmp" else ():
                os.mkdir(f"{root}/{name}/{each}")
            os.chmod(f"{root}/{name}", 0o1777 if name.endswith("tmp") else 0o755)
    for mount in sorted(what.mounts, key=lambda each: each.target.count("/")):
        place = seen_from(root, mount.target.strip("/"))
        _provide(root, place, directory=os.path.isdir(mount.source))
        target = f"{root}/{place}"
        _mount(mount.source, target, "", _BIND | _REC)
        if mount.read_only:
            with suppress(OSError):  # flags that the owner of the machine's mount locked stay as they are
                _mount("none", target, "", _BIND | _REMOUNT | _RDONLY)
    os.chdir(root)
    _checked(_libc.pivot_root(b".", b"."), "change the root")
    _checked(_libc.umount2(b".", _DETACH), "let go of the former root")
    os.chdir("/")


def _show(entry: "os.DirEntry[str]", target: str) -> None:
    """Show one entry of a folder of this machine at `target`, where nothing is yet."""
    if entry.is_symlink():
        os.symlink(os.readlink(entry.path), target)
        return
    if entry.is_dir():
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    _mount(entry.path, target, "", _BIND | _REC)


def seen_from(root: str, path: str) -> str:
    """Return `path` with the links on its way followed as they will lead once `root` is the root: /var/run to /run.

    The last part stays as it is. Links that lead in a circle are left alone after a while.
    """
    waiting, found = path.split("/"), list[str]()
    for _ in range(_MOST_LINKS):
        while len(waiting) > 1 and not os.path.islink("/".join((root, *found, waiting[0]))):
            part = waiting.pop(0)
            if part == "..":
                del found[-1:]
            elif part not in ("", "."):
                found.append(part)
        if len(waiting) == 1:
            break
        link = os.readlink("/".join((root, *found, waiting.pop(0))))
        if link.startswith("/"):
            found = []
        waiting = [*link.strip("/").split("/"), *waiting]
    return "/".join((*found, *waiting))


def _provide(root: str, path: str, *, directory: bool) -> None:
    """Make `path` exist under `root`: the deepest folder that exists is replaced by one that shows the same entries."""
    linked = os.path.islink(f"{root}/{path}")  # where it leads may not be what is meant
    if os.path.exists(f"{root}/{path}") and not linked:
        return
    parts = path.split("/")
    depth = next(n for n in range(len(parts) - 1, -1, -1) if os.path.isdir("/".join((root, *parts[:n]))))
    if depth:
        shadowed = "/".join((root, *parts[:depth]))
        entries = list(os.scandir(shadowed))
        held = os.open(shadowed, os.O_PATH | os.O_DIRECTORY)
        _mount("tmpfs", shadowed, "tmpfs", 0)
        os.chmod(shadowed, 0o755)
        for entry in (each for each in entries if each.name != parts[depth]):
            _reshow(held, entry, f"{shadowed}/{entry.name}")
        os.close(held)
    for n in range(depth + 1, len(parts) + (1 if directory else 0)):
        os.mkdir("/".join((root, *parts[:n])))
    if not directory:
        os.close(os.open(f"{root}/{path}", os.O_CREAT | os.O_WRONLY, 0o644))


def _reshow(held: int, entry: "os.DirEntry[str]", target: str) -> None:
    """As `_show`, for an entry of a folder that a mount hides by now, through its descriptor."""
    source = f"/proc/self/fd/{held}/{entry.name}"
    if entry.is_symlink():
        os.symlink(os.readlink(source), target)
        return
    if entry.is_dir():
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    _mount(source, target, "", _BIND | _REC)


def _redirect(stdout: int, stderr: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)


def _reset_signals() -> None:
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    result = _libc.mount(source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), None)
    _checked(result, f"mount {source} at {target}")


def _checked(result: int, doing: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{doing}: {os.strerror(code)}")


def program_of(words: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """The file that would be executed, or None if there is none that can be."""
    name = words[0]
    folders = [""] if "/" in name else environment.get("PATH", os.defpath).split(":")
    for folder in folders:
        path = Path(folder, name)
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    return None
