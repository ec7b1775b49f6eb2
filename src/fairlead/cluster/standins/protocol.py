"""How the kubelet tells the stand-ins' process what to serve: packets of JSON, a pod's namespace attached to each start.

Comes in: starts and stops. Goes out: the same, at the other end of a unix socket of type SOCK_SEQPACKET (unix(7)), each answered
by one packet. The client reconnects when the process was started again, and says so, since the new process serves nothing.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from fairlead.drivers.errors import FairleadError

PACKET_LIMIT = 1 << 18
_RECONNECT_SECONDS = 0.05


class StandInPort(Struct, frozen=True):
    """A declared container port; `protocol` is TCP, UDP or SCTP."""

    port: int
    protocol: str = "TCP"
    name: str = ""


class StartStandIn(Struct, frozen=True, kw_only=True, tag="start"):
    """Serve a container. An earlier one of the same pod and name is replaced. `log` is the file its lines go to."""

    pod_uid: str
    pod: str
    namespace: str
    node: str
    container: str
    image: str
    pod_ips: tuple[str, ...]
    ports: tuple[StandInPort, ...]
    log: str


class StopStandIn(Struct, frozen=True, kw_only=True, tag="stop"):
    """End a container; the answer comes when its connections are done, or after `grace` seconds."""

    pod_uid: str
    container: str
    grace: float


class Numbered(Struct, frozen=True):
    """A packet to the process; the answer carries the same number."""

    number: int
    body: StartStandIn | StopStandIn


class Answer(Struct, frozen=True):
    """A packet from the process; `error` is empty when it was done."""

    number: int
    error: str = ""


class StandInClient:
    """The kubelet's end. Use within one event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._number = 0
        self._connecting = asyncio.Lock()
        self._connected_before = False
        self._tasks: set[asyncio.Future[None]] = set()
        self.on_reconnect: Callable[[], Awaitable[None]] | None = None
        """Awaited after a connection to a new process: nothing that was started before runs there."""

    async def start(self, request: StartStandIn, netns: int) -> None:
        """Serve a container in the namespace `netns`. Raises FairleadError when a port cannot be opened."""
        await self._call(request, [netns])

    async def stop(self, pod_uid: str, container: str, grace: float) -> None:
        """End a container and wait until it has ended. Ending what does not run is done at once."""
        await self._call(StopStandIn(pod_uid=pod_uid, container=container, grace=grace), [])

    async def close(self) -> None:
        """Disconnect; what runs goes on."""
        self._disconnect(FairleadError("the connection to the stand-ins was closed"))

    async def _call(self, body: StartStandIn | StopStandIn, fds: list[int]) -> None:
        loop = asyncio.get_running_loop()
        connection = await self._connect()
        self._number += 1
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting[self._number] = answer
        packet = msgspec.json.encode(Numbered(self._number, body))
        while True:
            try:
                socket.send_fds(connection, [packet], fds)
                break
            except BlockingIOError:
                await asyncio.sleep(0.001)  # the process is busy; a packet is sent whole or not at all
            except OSError as error:
                self._disconnect(FairleadError(f"the stand-ins do not answer: {error}"))
                break
        found = await answer
        if found.error:
            raise FairleadError(found.error)

    async def _connect(self) -> socket.socket:
        async with self._connecting:
            while self._socket is None:
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
                connection.setblocking(False)
                try:
                    await asyncio.get_running_loop().sock_connect(connection, str(self._path))
                except OSError:
                    connection.close()
                    await asyncio.sleep(_RECONNECT_SECONDS)
                    continue
                self._socket = connection
                asyncio.get_running_loop().add_reader(connection.fileno(), self._read)
                if self._connected_before and self.on_reconnect is not None:
                    task = asyncio.ensure_future(self.on_reconnect())
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                self._connected_before = True
            return self._socket

    def _read(self) -> None:
        assert self._socket is not None
        try:
            packet = self._socket.recv(PACKET_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._disconnect(FairleadError("the stand-ins' process has ended"))
            task = asyncio.ensure_future(self._reconnect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        answer = msgspec.json.decode(packet, type=Answer)
        waiting = self._waiting.pop(answer.number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    async def _reconnect(self) -> None:
        await self._connect()

    def _disconnect(self, reason: FairleadError) -> None:
        if self._socket is not None:
            with suppress(ValueError, OSError):
                asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(reason)
