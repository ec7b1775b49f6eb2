"""The stand-ins process: orders of the kubelet come in over a unix socket, containers are served, reports go out.

One loop serves every container of every pod, so that a thousand pods are one process. Refuses to know the API. Built-in
programs (such as the cluster's DNS) are registered by name and get the opened sockets of their ports.
"""

import asyncio
import resource
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import assert_never

import msgspec
from msgspec import Struct, field

from fairlead.cluster.standins.containers import StandIn, open_ports
from fairlead.cluster.standins.controls import PAUSE
from fairlead.cluster.standins.logbook import LogBook
from fairlead.cluster.standins.messages import (
    MOST,
    Count,
    Counted,
    Ended,
    Order,
    PortSpec,
    Report,
    Served,
    Start,
    Started,
    Stop,
    Tune,
    decode_order,
    encode,
)
from fairlead.drivers.netns import close_namespaces

App = Callable[[Start, Sequence[tuple[PortSpec, socket.socket]], Callable[[str], None]], Awaitable[None]]
"""A built-in program: served until cancelled, with its order, its opened sockets and its log."""

_PIECE = 1000  # containers in one Counted: a packet holds several times as many


class StandinsConfig(Struct, frozen=True, kw_only=True):
    """Where to listen for the kubelet, and the built-in programs by name."""

    socket_path: Path
    apps: Mapping[str, App] = field(default_factory=dict[str, App])


def open_control(path: Path) -> socket.socket:
    """Listen on a unix socket of packets at `path`, replacing what an earlier process left there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(4)
    return listener


def raise_descriptor_limit() -> None:
    """Allow as many open files as the hard limit does: each pod needs a few."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def main(config: StandinsConfig) -> None:
    """Serve for ever."""
    raise_descriptor_limit()
    book = LogBook(time.time)
    loop = asyncio.get_running_loop()
    listener = open_control(config.socket_path)
    sessions: set[asyncio.Task[None]] = set()
    try:
        while True:
            control, _ = await loop.sock_accept(listener)
            control.setblocking(False)
            task = loop.create_task(Session(control, book, config.apps).run())
            sessions.add(task)
            task.add_done_callback(sessions.discard)
    finally:
        listener.close()
        for task in sessions:
            task.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)
        book.flush()


class Session:
    """The containers of one kubelet; when it goes, they go."""

    def __init__(self, control: socket.socket, book: LogBook, apps: Mapping[str, App]) -> None:
        self._control = control
        self._book = book
        self._apps = apps
        self._running: dict[str, StandIn] = {}
        self._programs: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._outgoing: asyncio.Queue[Report] = asyncio.Queue()

    async def run(self) -> None:
        """Follow orders until the other side closes."""
        loop = asyncio.get_running_loop()
        closed = loop.create_future()
        loop.add_reader(self._control.fileno(), self._read, closed)
        sender = loop.create_task(self._send())
        try:
            await closed
        finally:
            loop.remove_reader(self._control.fileno())
            sender.cancel()
            for task in (*self._tasks, *self._programs.values()):
                task.cancel()
            for container in self._running.values():
                container.kill()
            self._control.close()

    def _read(self, closed: "asyncio.Future[None]") -> None:
        for _ in range(64):
            try:
                data, fds, _, _ = socket.recv_fds(self._control, MOST, 4)
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", []
            if not data:
                if not closed.done():
                    closed.set_result(None)
                return
            try:
                order = decode_order(data)
            except msgspec.DecodeError as error:
                sys.stderr.write(f"component=standins order=refused reason={error}\n")
                close_namespaces(fds)
                continue
            self._take(order, fds)

    def _take(self, order: Order, fds: list[int]) -> None:
        match order:
            case Start():
                self._spawn(self._start(order, fds))
            case Stop():
                self._spawn(self._stop(order))
            case Tune():
                container = self._running.get(order.id)
                if container is not None:
                    container.course.controls = order.controls
            case Count():
                self._count()
            case _:
                assert_never(order)

    def _count(self) -> None:
        served = [
            Served(name, each.course.requests, each.course.errors, each.course.cpu)
            for name, each in self._running.items()
        ]
        for first in range(0, max(1, len(served)), _PIECE):
            last = first + _PIECE >= len(served)
            self._outgoing.put_nowait(Counted(tuple(served[first : first + _PIECE]), last))

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            report = await self._outgoing.get()
            with suppress(BrokenPipeError, ConnectionResetError):
                await loop.sock_sendall(self._control, encode(report))

    async def _start(self, order: Start, fds: list[int]) -> None:
        path = Path(order.log)

        def log(line: str) -> None:
            self._book.write(path, line)

        try:
            slow = bool(order.controls.slow_start) and not order.app
            opened = open_ports(fds[0], order.identity.pod_ips, order.ports, listen=not slow)
        except OSError as error:
            return self._outgoing.put_nowait(Ended(order.id, 128, f"listen: {error.strerror}"))
        finally:
            close_namespaces(fds)
        if order.app:
            self._programs[order.id] = asyncio.ensure_future(self._run_app(order, opened, log))
        else:
            container = self._running[order.id] = StandIn(order.identity, opened, log, order.controls)
            await container.start()
        for spec in order.ports:
            if spec.protocol in ("TCP", "UDP"):
                log(f"listening on {spec.protocol.lower()} {spec.port}{' with TLS' if spec.tls else ''}")
            else:
                log(f"{spec.protocol} {spec.port} is declared but not served: stand-ins speak TCP and UDP")
        return self._outgoing.put_nowait(Started(order.id))

    async def _run_app(
        self, order: Start, opened: list[tuple[PortSpec, socket.socket]], log: Callable[[str], None]
    ) -> None:
        code, reason = 0, ""
        try:
            await self._apps[order.app](order, opened, log)
        except asyncio.CancelledError:
            pass
        except KeyError:
            code, reason = 127, f"there is no built-in program {order.app}"
        except Exception as error:
            code, reason = 1, f"{type(error).__name__}: {error}"
            log(reason)
        finally:
            for _, sock in opened:
                sock.close()
        self._programs.pop(order.id, None)
        self._outgoing.put_nowait(Ended(order.id, code, reason))

    async def _stop(self, order: Stop) -> None:
        program = self._programs.get(order.id)
        if program is not None:
            await asyncio.sleep(min(order.grace, PAUSE))
            program.cancel()
            return
        container = self._running.get(order.id)
        if container is None:
            return
        code = await container.stop(order.grace)
        if self._running.pop(order.id, None) is not None:
            self._outgoing.put_nowait(Ended(order.id, code))
