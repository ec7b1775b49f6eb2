"""Network namespaces by file descriptor: made, entered, given sysctls and sockets.

Comes in: descriptors, sysctl keys and socket arguments. Goes out: descriptors and sockets. Nothing is mounted and
nothing gets a name: a namespace lives as long as a descriptor, a process or a socket holds it. Refuses to know what is
connected to what. Works as root and as user 0 of a user namespace. Source: namespaces(7), setns(2), unshare(2).
"""

import ctypes
import fcntl
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from fairlead.drivers.errors import FairleadError

_CLONE_NEWNET = 0x4000_0000
_SIOCGSKNS = 0x894C
_CURRENT = "/proc/thread-self/ns/net"
_libc = ctypes.CDLL(None, use_errno=True)


def _refuse(code: int, doing: str) -> FairleadError:
    error = FairleadError(
        f"Linux refused to {doing}: {os.strerror(code)}",
        "run as root, or as user 0 of a user namespace that owns the network namespace",
    )
    error.__cause__ = OSError(code, os.strerror(code))
    return error


def _setns(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET):
        raise _refuse(ctypes.get_errno(), "enter a network namespace")


def current_namespace() -> int:
    """Return a new descriptor of the calling thread's network namespace."""
    return os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)


def new_namespace() -> int:
    """Return the descriptor of a fresh network namespace, its loopback still down; the caller stays where it is.

    The namespace goes when its last holder closes it. Raises FairleadError where the kernel refuses.
    """
    home = current_namespace()
    try:
        if _libc.unshare(_CLONE_NEWNET):
            raise _refuse(ctypes.get_errno(), "make a network namespace")
        try:
            return current_namespace()
        finally:
            _setns(home)
    finally:
        os.close(home)


@contextmanager
def entered(fd: int) -> Generator[None]:
    """Run the body inside the network namespace `fd`, and come back, whatever it raises.

    The body must not await: the whole thread moves, and other tasks would run in the wrong place. Calls nest. A body
    that itself ends up in a third namespace is a bug, and an assertion says so.
    """
    home = current_namespace()
    try:
        _setns(fd)
        try:
            yield
            assert Path(_CURRENT).stat().st_ino == os.fstat(fd).st_ino, (
                "the body left the namespace it was run in, or awaited"
            )
        finally:
            _setns(home)
    finally:
        os.close(home)


def enter_for_good(fd: int) -> None:
    """Move the calling process, which must have one thread, into the namespace `fd`. Raises FairleadError."""
    _setns(fd)


def namespace_of(opened: socket.socket) -> int:
    """Return a new descriptor of the namespace a socket belongs to, wherever the caller is (SIOCGSKNS)."""
    return fcntl.ioctl(opened.fileno(), _SIOCGSKNS)


def open_socket(fd: int, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """Open a non-blocking socket that belongs to the namespace `fd` for its whole life, wherever it is used."""
    with entered(fd):
        opened = socket.socket(family, kind, protocol)
    opened.setblocking(False)
    return opened


def write_sysctl(fd: int, key: str, value: str) -> None:
    """Set the sysctl `key`, spelt with slashes as `net/ipv4/ip_forward`, inside the namespace `fd`.

    Raises FairleadError naming the key where the kernel lacks it or /proc/sys is read-only.
    """
    write_sysctls(fd, {key: value})


def write_sysctls(fd: int, values: dict[str, str]) -> None:
    """Set several sysctls in order with one visit to the namespace; as `write_sysctl`."""
    with entered(fd):
        for key, value in values.items():
            try:
                knob = os.open(f"/proc/sys/{key}", os.O_WRONLY | os.O_CLOEXEC)
                try:
                    os.write(knob, value.encode())
                finally:
                    os.close(knob)
            except OSError as error:
                raise FairleadError(
                    f"the sysctl {key} cannot be set to {value}: {error.strerror}",
                    "make /proc/sys writable; in a container, use --privileged",
                ) from error


def close_namespaces(fds: list[int]) -> None:
    """Let go of descriptors; ones that are closed already are passed over."""
    for fd in fds:
        with suppress(OSError):
            os.close(fd)


def kernel_has_ipv6() -> bool:
    """Whether this machine's kernel speaks IPv6 at all: booted with `ipv6.disable=1` it has none of its settings."""
    return Path("/proc/sys/net/ipv6/conf/default").exists()
