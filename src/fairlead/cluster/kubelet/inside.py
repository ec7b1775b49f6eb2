"""Starts a command beside a container's own: forked, moved into the container's namespaces, executed on descriptors
that somebody else holds the other ends of.

Comes in: where (a program's process, or a pod's network for a stand-in) and what. Goes out: the pid of a child that
ends with the command's exit code. A command beside a stand-in sees this machine's tools in mounts of its own, with the
pod's name, files and a folder of its own at /tmp; it sees no process but its own. Source: setns(2), unshare(2),
pid_namespaces(7).
"""

# ruff: noqa: PTH110
# The child between fork and exec calls the kernel by its own names.

import ctypes
import fcntl
import os
import signal
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

from msgspec import Struct

_libc = ctypes.CDLL(None, use_errno=True)
_NEWNS, _NEWUTS, _NEWPID = 0x0002_0000, 0x0400_0000, 0x2000_0000
_BIND, _REC, _PRIVATE = 0x1000, 0x4000, 0x40000
_PDEATHSIG = 1
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127  # a shell's exit codes


class Inside(Struct, frozen=True, kw_only=True):
    """Where a command is run: in the namespaces of the process `pid`, or, without one, in a pod's network with `binds`
    (pairs of a file or folder, and the path it is laid over).
    """

    pid: int = 0
    netns: int = -1
    binds: tuple[tuple[str, str], ...] = ()
    hostname: str = ""
    environment: Mapping[str, str]
    folder: str = "/"
    words: tuple[str, ...] = ()
    """What a stand-in's container would run, for whoever wants to talk to it; of a program nothing."""


def start_inside(where: Inside, words: Sequence[str], stdio: Sequence[int], *, terminal: bool) -> int:
    """Start `words` on three descriptors; with `terminal` they are one that the command controls. Return the pid."""
    child = os.fork()
    if child:
        return child
    code = _NOT_EXECUTABLE
    try:
        _libc.prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        os.setsid()
        for number, fd in enumerate([os.dup(each) for each in stdio]):
            os.dup2(fd, number)
        _join(where)
        inner = os.fork()
        if inner == 0:
            if where.pid:
                _become(where, words, terminal=terminal)
            code = _be_first(where, words, terminal=terminal)
        else:
            code = _code_of(inner)
    except BaseException as error:
        with suppress(OSError):
            os.write(2, f"{words[0]}: {error}\n".encode())
    finally:
        os._exit(code)


def _join(where: Inside) -> None:
    if where.pid:
        fds = [os.open(f"/proc/{where.pid}/ns/{kind}", os.O_RDONLY) for kind in ("net", "uts", "ipc", "pid", "mnt")]
        for fd in fds:
            _checked(_libc.setns(fd, 0), "enter the container")
        return
    _checked(_libc.setns(where.netns, 0), "enter the pod's network")
    _checked(_libc.unshare(_NEWNS | _NEWUTS | _NEWPID), "make namespaces")
    _checked(_libc.mount(b"none", b"/", None, ctypes.c_ulong(_REC | _PRIVATE), None), "make mounts private")
    name = where.hostname.encode()
    _checked(_libc.sethostname(name, len(name)), "set the host name")
    for source, target in where.binds:
        if os.path.exists(target):  # a machine without /etc/resolv.conf shows none
            _checked(_libc.mount(source.encode(), target.encode(), None, ctypes.c_ulong(_BIND), None), f"show {target}")


def _be_first(where: Inside, words: Sequence[str], *, terminal: bool) -> int:
    """Be process 1 of the new PID namespace, which signals without a handler do not reach, and end with the command."""
    _libc.prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    with suppress(OSError):  # a container engine that hides parts of /proc lets nobody mount a new one
        _checked(_libc.mount(b"proc", b"/proc", b"proc", ctypes.c_ulong(0), None), "show processes")
    command = os.fork()
    if command == 0:
        _become(where, words, terminal=terminal)
    return _code_of(command)


def _code_of(child: int) -> int:
    """Wait for `child`, reaping others that end meanwhile."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _become(where: Inside, words: Sequence[str], *, terminal: bool) -> NoReturn:
    code = _NOT_EXECUTABLE
    try:
        _libc.prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        os.setsid()
        if terminal:
            fcntl.ioctl(0, termios.TIOCSCTTY, 1)
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        with suppress(OSError):
            os.chdir("/")
            os.chdir(where.folder)
        terminal_kind = {"TERM": "xterm"} if terminal else {}
        os.execvpe(words[0], list(words), terminal_kind | dict(where.environment))
    except FileNotFoundError:
        code = _NOT_FOUND
        os.write(2, f'exec: "{words[0]}": executable file not found in $PATH\n'.encode())
    except OSError as error:
        os.write(2, f'exec: "{words[0]}": {error.strerror}\n'.encode())
    finally:
        os._exit(code)


def _checked(result: int, doing: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{doing}: {os.strerror(code)}")
