"""The way into a running cluster: a unix socket that hands out the namespaces of a place, and the caller's side of it.

Comes in: the text of a place, as `client`, `lb`, `node/NAME` or `pod/NAMESPACE/NAME`. Goes out: namespace descriptors
and the files to show there, or which places exist. A request is one JSON line; the answer is one JSON message with
its descriptors attached (SCM_RIGHTS, unix(7)). Refuses to know how places are found: whoever serves passes that in.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from fairlead.drivers.entering import Spaces, run_inside
from fairlead.drivers.errors import FairleadError

_LIMIT = 4096  # bytes of a request


class Place(Struct, frozen=True):
    """Where a command can be run.

    `process` is a process of the place, by its number in the server's PID namespace, whose PID and mount namespaces the
    command joins; 0 means those of the cluster. `binds` are pairs of a file and the path it is laid over.
    """

    netns: int
    process: int = 0
    binds: tuple[tuple[str, str], ...] = ()
    hostname: str = ""
    """What the command finds the host called; empty for this machine's name."""


class _Request(Struct, frozen=True):
    place: str


class _Reply(Struct, frozen=True):
    found: bool
    binds: tuple[tuple[str, str], ...] = ()
    hostname: str = ""
    places: tuple[str, ...] = ()


Find = Callable[[str], Place | None]
"""Returns the place of a text, or None. Its descriptor stays the finder's."""


async def serve_places(path: Path, find: Find, known: Callable[[], Sequence[str]]) -> None:
    """Answer callers on the unix socket `path` until cancelled; a socket file left there is replaced.

    `known` lists the places for a caller who asked for one that is not. Only the cluster's own user may connect.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as calls:
        with _listen(path) as listener:
            while True:
                caller, _ = await loop.sock_accept(listener)
                calls.create_task(_answer(caller, find, known))


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(16)
    listener.setblocking(False)
    return listener


async def _answer(caller: socket.socket, find: Find, known: Callable[[], Sequence[str]]) -> None:
    with caller, suppress(OSError, msgspec.MsgspecError, TimeoutError):
        async with asyncio.timeout(10):
            line = await _read_line(caller)
        place = find(msgspec.json.decode(line, type=_Request).place)
        opened = _open_spaces(place) if place else []
        if place and opened:
            try:
                reply = msgspec.json.encode(_Reply(found=True, binds=place.binds, hostname=place.hostname))
                socket.send_fds(caller, [reply], [*opened, place.netns])
            finally:
                for fd in opened:
                    os.close(fd)
        else:
            caller.send(msgspec.json.encode(_Reply(found=False, places=tuple(known()))))


def _open_spaces(place: Place) -> list[int]:
    """The user, mount and PID namespaces of a place; none when its process has just ended."""
    folder, opened = f"/proc/{place.process or 'self'}/ns", list[int]()
    try:
        for kind in ("user", "mnt", "pid"):
            opened.append(os.open(f"{folder}/{kind}", os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        for fd in opened:
            os.close(fd)
        return []
    return opened


async def _read_line(caller: socket.socket) -> bytes:
    loop, received = asyncio.get_running_loop(), b""
    while not received.endswith(b"\n") and len(received) < _LIMIT:
        chunk = await loop.sock_recv(caller, _LIMIT)
        if not chunk:
            break
        received += chunk
    return received


def open_place(path: Path, place: str) -> Spaces:
    """Ask the cluster whose socket is `path` for a place. The caller owns the descriptors in the answer.

    Raises FairleadError when no cluster answers there, or when it has no such place, naming those it has.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.settimeout(10)
            server.connect(str(path))
            server.sendall(msgspec.json.encode(_Request(place)) + b"\n")
            message, fds, _, _ = socket.recv_fds(server, 1 << 20, 4)
            while chunk := server.recv(1 << 20):
                message += chunk
        reply = msgspec.json.decode(message, type=_Reply)
    except (OSError, msgspec.MsgspecError) as error:
        raise FairleadError(
            f"no cluster answers on {path}: {error}", "see `fairlead status`; start one with `fairlead up`"
        ) from error
    if not reply.found:
        raise FairleadError(f"there is no place {place!r}", "places: " + ", ".join(reply.places))
    user, mount, pid, net = fds
    return Spaces(user=user, mount=mount, pid=pid, net=net, binds=reply.binds, hostname=reply.hostname)


def enter(path: Path, place: str, command: Sequence[str]) -> int:
    """Run `command` at `place` of the cluster whose socket is `path` and return its exit code, as `run_inside`."""
    return run_inside(open_place(path, place), command)
