"""One stand-in container: its ports opened inside the pod's network namespace, and served from this process's loop.

Comes in: a Start order and the namespace. Goes out: listening sockets, connections, log lines. Sockets are opened
while the thread is inside the namespace and stay of it wherever they are used.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress

from fairlead.cluster.standins.answers import Identity, datagram, opening
from fairlead.cluster.standins.connections import Connection, Datagrams
from fairlead.cluster.standins.controls import UNASKED, Controls
from fairlead.cluster.standins.course import Course
from fairlead.cluster.standins.messages import PortSpec
from fairlead.cluster.standins.tls import server_context
from fairlead.drivers.netns import entered

BACKLOG = 4096
"""Clients that may wait to be taken in."""

_BATCH = 64  # connections accepted in one go


def open_ports(
    netns: int, pod_ips: tuple[str, ...], ports: tuple[PortSpec, ...], *, listen: bool = True
) -> list[tuple[PortSpec, socket.socket]]:
    """Bind every TCP and UDP port of a pod, on all addresses of the families it has. Raises OSError, leaving none open.

    With both families one socket serves both (IPV6_V6ONLY off). A port may be declared several times, with a host port
    each: it is bound once. Where it does not `listen` yet, clients are refused.
    """
    dual = any(":" in address for address in pod_ips)
    family = socket.AF_INET6 if dual else socket.AF_INET
    opened: list[tuple[PortSpec, socket.socket]] = []
    try:
        with entered(netns):
            for spec in ports:
                known = any((spec.protocol, spec.port) == (other.protocol, other.port) for other, _ in opened)
                if known or spec.protocol not in ("TCP", "UDP"):
                    continue
                kind = socket.SOCK_STREAM if spec.protocol == "TCP" else socket.SOCK_DGRAM
                sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
                opened.append((spec, sock))
                if dual:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                if kind == socket.SOCK_STREAM:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(("::" if dual else "", spec.port))
                if kind == socket.SOCK_STREAM and listen:
                    sock.listen(BACKLOG)
    except BaseException:
        for _, sock in opened:
            sock.close()
        raise
    return opened


class Listener:
    """One TCP port."""

    def __init__(
        self, sock: socket.socket, opened: bytes, tls: bool, log: Callable[[str], None], course: Course
    ) -> None:
        self.opened = opened
        self.course = course
        self.connections: set[Connection] = set()
        self.ending = False
        self.log = log
        self._sock = sock
        self._tls = server_context() if tls else None
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop.add_reader(sock.fileno(), self._accept)

    def close(self) -> None:
        """Take in who is already in the queue, then accept nothing more."""
        if self._closed:
            return
        while self._accept():
            pass
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        self.ending = self._closed = True
        for connection in tuple(self.connections):
            connection.finish()

    def abort(self) -> None:
        """Reset whatever is left."""
        self.close()
        for task in tuple(self._tasks):
            task.cancel()
        for connection in tuple(self.connections):
            connection.abort()

    @property
    def busy(self) -> bool:
        """Whether clients are still being served."""
        return bool(self.connections or self._tasks)

    def _accept(self) -> bool:
        """Take in a batch of clients; whether there may be more."""
        for _ in range(_BATCH):
            try:
                client, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return False
            except OSError as error:  # out of descriptors: leave the rest in the queue for a moment
                self.log(f"accept: {os.strerror(error.errno or 0)}")
                return False
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = self._loop.create_task(self._serve(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return True

    async def _serve(self, client: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: Connection(self), client, ssl=self._tls)
        except OSError as error:  # ssl.SSLError is one
            self.log(f"connection: {error}")
            client.close()


class StandIn:
    """A stand-in that runs from its making to `stop`."""

    def __init__(
        self,
        identity: Identity,
        opened: list[tuple[PortSpec, socket.socket]],
        log: Callable[[str], None],
        controls: Controls = UNASKED,
    ) -> None:
        self.course = Course(controls)
        self._waking: asyncio.TimerHandle | None = None
        self._listeners: list[Listener] = []
        self._datagrams: list[asyncio.DatagramTransport] = []
        self._identity = identity
        self._opened = opened
        self._log = log

    async def start(self) -> None:
        """Serve the opened sockets; TCP only once the slow start is over."""
        slow = self.course.controls.slow_start
        if slow:
            self._waking = asyncio.get_running_loop().call_later(slow, self._listen)
        for spec, sock in self._opened:
            said = opening(self._identity, spec.port)
            if spec.protocol == "TCP" and not slow:
                self._listeners.append(Listener(sock, said, spec.tls, self._log, self.course))
            elif spec.protocol == "UDP":
                transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                    lambda said=said: Datagrams(
                        lambda client, data: datagram(said, client, data), self._log, self.course
                    ),
                    sock=sock,
                )
                self._datagrams.append(transport)

    def _listen(self) -> None:
        self._waking = None
        for spec, sock in self._opened:
            if spec.protocol == "TCP":
                sock.listen(BACKLOG)
                said = opening(self._identity, spec.port)
                self._listeners.append(Listener(sock, said, spec.tls, self._log, self.course))
        self._log("the slow start is over")

    async def stop(self, grace: float) -> int:
        """Serve on for the shutdown delay, each answer a connection's last, as programs do whose preStop hook sleeps;
        then accept nothing more, give open requests the rest of `grace` seconds and reset what is left. Returns an
        exit code.
        """
        deadline = asyncio.get_running_loop().time() + grace
        for listener in self._listeners:
            listener.ending = True
        if self._opened:
            await asyncio.sleep(min(grace, self.course.controls.shutdown_delay))
        for listener in self._listeners:
            listener.close()
        while any(listener.busy for listener in self._listeners):
            if asyncio.get_running_loop().time() >= deadline:
                break
            await asyncio.sleep(0.02)
        killed = any(listener.busy for listener in self._listeners)
        self.kill()
        return 137 if killed else 0

    def kill(self) -> None:
        """End at once."""
        if self._waking is not None:
            self._waking.cancel()
            for spec, sock in self._opened:
                if spec.protocol == "TCP":
                    sock.close()
        for listener in self._listeners:
            listener.abort()
        for transport in self._datagrams:
            with suppress(RuntimeError):
                transport.abort()
