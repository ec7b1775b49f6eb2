"""Runs a command inside other namespaces, as a child that behaves as if the caller had become it.

Comes in: namespace descriptors, files to lay over others, a command. Goes out: the command's exit code. Terminal,
working folder, environment and signals pass through. Refuses to know whose namespaces they are. The calling process
moves into the namespaces and must have a single thread; it does not come back.
Source: setns(2), mount(2), pid_namespaces(7), user_namespaces(7).
"""

import ctypes
import errno
import os
import shutil
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from msgspec import Struct

from fairlead.drivers.errors import FairleadError

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS, _CLONE_NEWUTS = 0x0002_0000, 0x0400_0000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)  # the terminal sends them to the child as well
NOT_EXECUTABLE, NOT_FOUND = 126, 127  # a shell's exit codes


class Spaces(Struct, frozen=True, kw_only=True):
    """Descriptors of the namespaces to join; `binds` are pairs of a file and the path it is laid over. `hostname`, if
    there is one, is what the command finds the host called.
    """

    user: int
    mount: int
    pid: int
    net: int
    binds: tuple[tuple[str, str], ...] = ()
    hostname: str = ""


def run_inside(spaces: Spaces, command: Sequence[str]) -> int:
    """Move this process into `spaces`, run `command` there and return its exit code, 128 + N if signal N ended it.

    Raises FairleadError where the kernel refuses to let the caller in. A command that cannot be executed gives 126 or
    127 and a line on stderr, as in a shell.
    """
    folder = os.getcwd()  # noqa: PTH109 - a Path is no use here: the folder is looked up again in the new mounts
    _join(spaces)
    signals = {*_FORWARDED, *_FROM_TERMINAL}
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    child = os.fork()  # only a child is a member of the joined PID namespace
    if child == 0:
        _become(command, folder, previous)
    for number in _FROM_TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    for number in _FORWARDED:
        signal.signal(number, lambda received, _frame: _pass_on(child, received))
    signal.pthread_sigmask(signal.SIG_SETMASK, previous)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _join(spaces: Spaces) -> None:
    """Enter the user namespace first, which gives the right to the others; lay the files over in private mounts."""
    if os.fstat(spaces.user).st_ino != os.stat("/proc/self/ns/user").st_ino:  # noqa: PTH116 - beside its fstat
        _enter(spaces.user, "user")
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    _enter(spaces.pid, "PID")
    _enter(spaces.net, "network")
    _enter(spaces.mount, "mount")
    _checked(_libc.unshare(_CLONE_NEWNS), "make private mounts")
    _checked(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "make mounts private")
    if spaces.hostname:
        name = spaces.hostname.encode()
        _checked(_libc.unshare(_CLONE_NEWUTS), "make a UTS namespace")
        _checked(_libc.sethostname(name, len(name)), "set the host name")
    for source, target in spaces.binds:
        if _libc.mount(source.encode(), target.encode(), None, _MS_BIND, None):
            code = ctypes.get_errno()
            if code != errno.ENOENT:  # without an /etc/resolv.conf of its own the machine shows none
                raise FairleadError(f"{source} cannot be shown as {target}: {os.strerror(code)}")


def _enter(fd: int, kind: str) -> None:
    _checked(_libc.setns(fd, 0), f"enter the {kind} namespace")


def _checked(result: int, doing: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise FairleadError(
            f"Linux refused to {doing}: {os.strerror(code)}", "be the user who started the cluster, or root"
        )


def _pass_on(child: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, number)


def _become(command: Sequence[str], folder: str, mask: set[int | signal.Signals]) -> NoReturn:
    code = NOT_EXECUTABLE
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        try:
            os.chdir(folder)
        except OSError:
            os.chdir("/")
        for number in (*_FROM_TERMINAL, signal.SIGPIPE, signal.SIGXFSZ):  # what Python itself ignores or handles
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        path = command[0] if "/" in command[0] else shutil.which(command[0])
        if path is None:
            raise FileNotFoundError
        os.execv(path, list(command))
    except FileNotFoundError:
        code = NOT_FOUND
        os.write(2, f"{command[0]}: command not found\n".encode())
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(code)
