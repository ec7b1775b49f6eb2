"""The kubelet's end of the stand-ins' control socket: orders go out, containers that ended are told about.

Comes in: orders, with the descriptor of a pod's network namespace. Goes out: packets, and a call for each
container that ends. When the process at the other end is gone all its containers have ended; the connection is made
anew by itself.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fairlead.cluster.standins.controls import Controls
from fairlead.cluster.standins.messages import (
    MOST,
    Count,
    Counted,
    Ended,
    Report,
    Served,
    Start,
    Started,
    Stop,
    Tune,
    decode_report,
    encode,
)

_RETRY = 0.02  # seconds between attempts to connect
PROCESS_GONE = "the stand-ins process ended"


class StandinsClient:
    """One connection. `on_ended` is called for containers that ran and ended, not for those that did not start."""

    def __init__(self, path: Path, on_ended: Callable[[Ended], None]) -> None:
        self._path = path
        self._on_ended = on_ended
        self._control: socket.socket | None = None
        self._connected = asyncio.Event()
        self._outgoing: deque[tuple[bytes, int]] = deque()
        self._starting: dict[str, asyncio.Future[Started | Ended]] = {}
        self._running: set[str] = set()
        self._counting: list[asyncio.Future[tuple[Served, ...]]] = []
        self._counted: list[Served] = []

    async def run(self) -> None:
        """Connect, follow the reports, and connect again, until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                control = await self._connect()
                self._control = control
                self._connected.set()
                with suppress(OSError):
                    while data := await loop.sock_recv(control, MOST):
                        self._take(decode_report(data))
                self._lose()
        finally:
            self._lose()

    async def start(self, order: Start, netns: int) -> Started | Ended:
        """Start a container in the namespace `netns`; Started, or Ended with the reason why it did not."""
        await self._connected.wait()
        future = asyncio.get_running_loop().create_future()
        self._starting[order.id] = future
        self._queue(encode(order), os.dup(netns))
        return await future

    def stop(self, container: str, grace: float) -> None:
        """End a container within `grace` seconds; asked again with 0 it ends at once. `on_ended` tells when it has."""
        if container in self._running or container in self._starting:
            self._queue(encode(Stop(container, grace)), -1)

    def tune(self, container: str, controls: Controls) -> None:
        """Have a container behave so from now on."""
        if container in self._running:
            self._queue(encode(Tune(container, controls)), -1)

    async def count(self) -> tuple[Served, ...]:
        """Return what every container has served; nothing while the process is not there."""
        if self._control is None:
            return ()
        future: asyncio.Future[tuple[Served, ...]] = asyncio.get_running_loop().create_future()
        self._counting.append(future)
        self._queue(encode(Count()), -1)
        return await future

    async def _connect(self) -> socket.socket:
        while True:
            control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
            try:
                await asyncio.get_running_loop().sock_connect(control, str(self._path))
            except OSError:  # not there yet, or just being started again
                control.close()
                await asyncio.sleep(_RETRY)
            except BaseException:
                control.close()
                raise
            else:
                return control

    def _take(self, report: Report) -> None:
        if isinstance(report, Counted):
            self._counted += report.served
            if report.last and self._counting:
                waiting, served = self._counting.pop(0), tuple(self._counted)
                self._counted = []
                if not waiting.done():
                    waiting.set_result(served)
            return
        future = self._starting.pop(report.id, None)
        if isinstance(report, Started):
            self._running.add(report.id)
        else:
            self._running.discard(report.id)
            if future is None:
                self._on_ended(report)
        if future is not None and not future.done():
            future.set_result(report)

    def _queue(self, data: bytes, fd: int) -> None:
        self._outgoing.append((data, fd))
        if len(self._outgoing) == 1:
            self._flush()

    def _flush(self) -> None:
        control = self._control
        loop = asyncio.get_running_loop()
        while control is not None and self._outgoing:
            data, fd = self._outgoing[0]
            try:
                socket.send_fds(control, [data], [fd] if fd >= 0 else [])
            except BlockingIOError:
                loop.add_writer(control.fileno(), self._flush)
                return
            except OSError:  # the reader sees the end as well, and ends the containers
                return
            self._outgoing.popleft()
            if fd >= 0:
                os.close(fd)
        if control is not None:
            loop.remove_writer(control.fileno())

    def _lose(self) -> None:
        control, self._control = self._control, None
        self._connected.clear()
        if control is not None:
            asyncio.get_running_loop().remove_writer(control.fileno())
            control.close()
        for _, fd in self._outgoing:
            if fd >= 0:
                os.close(fd)
        self._outgoing.clear()
        counting, self._counting, self._counted = self._counting, [], []
        for waiting in counting:
            if not waiting.done():
                waiting.set_result(())
        starting, self._starting = self._starting, {}
        running, self._running = self._running, set()
        for container, future in starting.items():
            if not future.done():
                future.set_result(Ended(container, 137, PROCESS_GONE))
        for container in running:
            self._on_ended(Ended(container, 137, PROCESS_GONE))
