"""One command of an exec session: descriptors for it, and bytes between them and the client's channels.

Comes in: what to run and a Carrier. Goes out: the Status to end with. The kubelet gets one JSON line with the
descriptors attached (SCM_RIGHTS, unix(7)) and answers one JSON line when the command has ended; closing the socket
before that ends the command. Refuses to know what carries the channels.
"""

import asyncio
import fcntl
import os
import pty
import socket
import struct
import termios
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from fairlead.cluster.apiserver.streaming.channels import Carrier, Channel, Received, exited, failed, success
from fairlead.cluster.orders import Order, Outcome
from fairlead.kube.documents import Document

_PIECE = 32 * 1024
_LAST_OUTPUT = 0.5  # seconds to wait for the end of output that a child left behind holds open


class CommandRun(Struct, frozen=True):
    """What is run: a command in a container, or nothing, to see what the container writes (attach)."""

    namespace: str
    pod: str
    container: str
    command: tuple[str, ...]
    tty: bool
    channels: frozenset[Channel]


class _Size(Struct, frozen=True, rename="pascal"):
    width: int
    height: int


async def run_command(kubelet: Path, run: CommandRun, carrier: Carrier) -> Document | None:
    """Run it to its end; None when the client went first. Raises OSError when the kubelet cannot be reached."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(channel, str(kubelet))
        ends = _open_terminal() if run.tty else _open_pipes(run.channels)
        try:
            typing = Channel.STDIN in run.channels
            order = Order(run.namespace, run.pod, run.container, run.command, run.tty, typing)
            socket.send_fds(channel, [msgspec.json.encode(order) + b"\n"], ends.given)
        except BaseException:
            ends.close()
            raise
        finally:
            for fd in set(ends.given):
                os.close(fd)
        return await _Session(carrier, ends, channel).run()


class _Ends(Struct):
    """Our ends of a command's descriptors, -1 where there is none, and those to give away."""

    given: list[int]
    into: int
    out: int
    error: int = -1
    terminal: bool = False

    def close(self) -> None:
        """Close what is still open of ours."""
        for fd in {self.into, self.out, self.error} - {-1}:
            os.close(fd)
        self.into = self.out = self.error = -1


def _open_terminal() -> _Ends:
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    return _Ends([theirs, theirs, theirs], ours, ours, terminal=True)


def _open_pipes(channels: frozenset[Channel]) -> _Ends:
    """A pipe for each channel the client has; nothing to read and nowhere to write for the others."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    given, ours = [nothing, nothing, nothing], [-1, -1, -1]
    for number in (Channel.STDIN, Channel.STDOUT, Channel.STDERR):
        if number in channels:
            reader, writer = os.pipe2(os.O_CLOEXEC)
            given[number], ours[number] = (reader, writer) if number is Channel.STDIN else (writer, reader)
            os.set_blocking(ours[number], False)
    if nothing not in given:
        os.close(nothing)
    return _Ends(given, into=ours[0], out=ours[1], error=ours[2])


class _Session:
    def __init__(self, carrier: Carrier, ends: _Ends, kubelet: socket.socket) -> None:
        self._carrier = carrier
        self._ends = ends
        self._kubelet = kubelet

    async def run(self) -> Document | None:
        outward = [asyncio.create_task(self._pump(self._ends.out, Channel.STDOUT))]
        if self._ends.error >= 0:
            outward.append(asyncio.create_task(self._pump(self._ends.error, Channel.STDERR)))
        inward = asyncio.create_task(self._receive())
        ended = asyncio.create_task(self._wait())
        try:
            await asyncio.wait({inward, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                return None
            await asyncio.wait(outward, timeout=_LAST_OUTPUT)
            outcome = ended.result()
            if outcome.refused:
                return failed(outcome.refused)
            return exited(outcome.code) if outcome.code else success()
        except ConnectionError:
            return None
        finally:
            for task in (*outward, inward, ended):
                task.cancel()
            await asyncio.wait({*outward, inward, ended})
            self._ends.close()

    async def _wait(self) -> Outcome:
        loop, answer = asyncio.get_running_loop(), b""
        while not answer.endswith(b"\n"):
            piece = await loop.sock_recv(self._kubelet, 4096)
            if not piece:
                return Outcome(refused="the kubelet ended")
            answer += piece
        return msgspec.json.decode(answer, type=Outcome)

    async def _pump(self, fd: int, channel: Channel) -> None:
        """Send what the command writes, until everybody who could write has gone or the client has."""
        if fd < 0:
            return
        with suppress(ConnectionError):
            while True:
                try:
                    piece = os.read(fd, _PIECE)
                except BlockingIOError:
                    await _ready(fd, write=False)
                    continue
                except OSError:  # EIO: nobody holds the terminal's other end any more
                    break
                if not piece:
                    break
                await self._carrier.send(channel, piece)

    async def _receive(self) -> None:
        """Hand on what the client sends, until it has gone."""
        with suppress(Received):
            while True:
                channel, data = await self._carrier.receive()
                if channel is Channel.RESIZE and data and self._ends.terminal:
                    self._resize(data)
                elif channel is Channel.STDIN:
                    await self._type(data)

    async def _type(self, data: bytes | None) -> None:
        fd = self._ends.into
        if fd < 0:
            return
        if data is None:
            if self._ends.terminal:
                data = b"\x04"  # a terminal has no end: its reader sees one when told so
            else:
                os.close(fd)
                self._ends.into = -1
                return
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(fd, left) :]
            except BlockingIOError:
                await _ready(fd, write=True)
            except OSError:  # the command reads no more
                return

    def _resize(self, data: bytes) -> None:
        with suppress(msgspec.MsgspecError, OSError, struct.error):
            size = msgspec.json.decode(data, type=_Size)
            fcntl.ioctl(self._ends.into, termios.TIOCSWINSZ, struct.pack("HHHH", size.height, size.width, 0, 0))


async def _ready(fd: int, *, write: bool) -> None:
    """Wait until a descriptor can be read or written."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    (loop.add_writer if write else loop.add_reader)(fd, tell)
    try:
        await ready
    finally:
        (loop.remove_writer if write else loop.remove_reader)(fd)
