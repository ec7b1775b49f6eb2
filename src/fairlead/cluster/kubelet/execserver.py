"""Commands in containers, on request over a unix socket: an order with descriptors comes in, the exit code goes out.

The asker holds the other ends of the descriptors. When it closes the connection, the command is ended. Without a
command the log of the container is followed on the descriptors instead (attach). Refuses to know clients and their
protocols.
"""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from fairlead.cluster.kubelet.inside import Inside, start_inside
from fairlead.cluster.orders import Order, Outcome

_LONGEST_ORDER = 1024 * 1024

Find = Callable[[Order], Awaitable[Inside | str]]
"""Where a container's commands run, or the words for why none can be."""

Follow = Callable[[Order], AsyncIterator[tuple[str, bytes]]]
"""What a container writes from now on, as pairs of stream name and text, until it ends."""


Talked = Callable[[Order, int], None]
"""Told of the exit code of what ran in place of a stand-in."""


async def serve_commands(path: Path, find: Find, follow: Follow, talked: Talked) -> None:
    """Answer on the unix socket `path` until cancelled; a socket file left there is replaced."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as sessions:
        with _listen(path) as listener:
            while True:
                asker, _ = await loop.sock_accept(listener)
                sessions.create_task(_serve(asker, find, follow, talked))


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(64)
    listener.setblocking(False)
    return listener


async def _serve(asker: socket.socket, find: Find, follow: Follow, talked: Talked) -> None:
    fds: list[int] = []
    with asker, suppress(OSError, msgspec.MsgspecError, ValueError):
        asker.setblocking(False)
        try:
            order = await _receive(asker, fds)
            outcome = await _run(asker, order, fds, find, follow)
            _close(fds)
            if order.typing and not order.command and not outcome.refused:
                talked(order, outcome.code)
            await asyncio.get_running_loop().sock_sendall(asker, msgspec.json.encode(outcome) + b"\n")
        finally:
            _close(fds)


async def _run(asker: socket.socket, order: Order, fds: list[int], find: Find, follow: Follow) -> Outcome:
    stdin, stdout, stderr = fds
    where = await find(order)
    if isinstance(where, str):
        return Outcome(refused=where)
    gone = asyncio.create_task(_wait_for_end(asker))
    words = order.command or (where.words if order.typing else ())
    if words:
        try:
            pid = start_inside(where, words, (stdin, stdout, stderr), terminal=order.tty)
        except OSError as error:
            gone.cancel()
            return Outcome(refused=f"cannot fork: {error.strerror}")
        _close(fds)
        work = asyncio.create_task(_code_of(pid))
    else:
        work = asyncio.create_task(_follow(follow(order), {"stdout": stdout, "stderr": stderr}))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ConnectionResetError
        return Outcome(code=work.result())
    finally:
        for task in (work, gone):
            task.cancel()
        await asyncio.wait({work, gone})


async def _receive(asker: socket.socket, fds: list[int]) -> Order:
    """Read one line and the descriptors that come with it, which are then the caller's, whatever happens."""
    loop, line = asyncio.get_running_loop(), b""
    while not line.endswith(b"\n") and len(line) < _LONGEST_ORDER:
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(asker, lambda ready=ready: ready.done() or ready.set_result(None))
        try:
            async with asyncio.timeout(10):
                await ready
        finally:
            loop.remove_reader(asker)
        piece, received, _, _ = socket.recv_fds(asker, 65536, 3)
        fds += received
        for fd in received:
            os.set_inheritable(fd, False)
        if not piece:
            break
        line += piece
    return msgspec.json.decode(line, type=Order)


async def _wait_for_end(asker: socket.socket) -> None:
    """The asker says nothing more; that it can be read means that it has gone."""
    with suppress(OSError):
        await asyncio.get_running_loop().sock_recv(asker, 1)


async def _code_of(pid: int) -> int:
    """Wait for a child; cancelled, end it."""
    loop = asyncio.get_running_loop()
    watch = os.pidfd_open(pid)
    ended: asyncio.Future[None] = loop.create_future()
    loop.add_reader(watch, lambda: ended.done() or ended.set_result(None))
    try:
        await ended
    finally:
        loop.remove_reader(watch)
        os.close(watch)
        if not ended.done() or ended.cancelled():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        code = _reap(pid)
    return code if code >= 0 else 128 - code


def _reap(pid: int) -> int:
    """The exit code of a child that has ended, or is about to."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def _follow(pieces: AsyncIterator[tuple[str, bytes]], targets: dict[str, int]) -> int:
    with suppress(BrokenPipeError):
        async for stream, text in pieces:
            left = memoryview(text)
            while left:
                try:
                    left = left[os.write(targets[stream], left) :]
                except BlockingIOError:
                    await asyncio.sleep(0.01)
    return 0


def _close(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())
