"""One TCP connection to a stand-in: the first bytes decide whether it is HTTP, gRPC health or an echo.

Comes in: bytes of a client. Goes out: answers, and a line per request for the container's log. A client that waits for
the server to speak first hears nothing, as from any echo server; what it says then comes back.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from fairlead.cluster.standins.answers import CONTINUE, answer, failure, refusal
from fairlead.cluster.standins.course import Course, Fate
from fairlead.cluster.standins.health import PREFACE, HealthServer
from fairlead.cluster.standins.http1 import (
    ExpectsContinue,
    Malformed,
    Request,
    RequestReader,
    looks_like_http,
)
from fairlead.cluster.standins.websocket import GOING_AWAY, Echo, accept, wants_websocket

_PROBE = "kube-probe/"
_UNDECIDED_FOR = 0.2  # seconds that bytes such as "GE" may wait for the rest of a method


class Serving(Protocol):
    """What a connection needs of the listener that accepted it."""

    opened: bytes
    """The JSON that every answer begins with."""
    connections: "set[Connection]"
    ending: bool
    course: Course

    def log(self, line: str, /) -> None: ...


class Connection(asyncio.Protocol):
    """Serves one client until it leaves, or until the container stops and nothing is half answered."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._transport: asyncio.Transport | None = None
        self._client = ("", 0)
        self._first = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._receive: Callable[[bytes], None] = self._decide
        self._reader: RequestReader | None = None
        self._websocket: Echo | None = None
        self._waiting: asyncio.TimerHandle | None = None
        """Runs while an answer is held back, and with it all that come after it."""
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._client = (peer[0].removeprefix("::ffff:"), peer[1]) if peer else ("", 0)
        self._serving.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        for timer in (self._timer, self._waiting):
            if timer is not None:
                timer.cancel()
        self._serving.connections.discard(self)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._receive(data)

    def eof_received(self) -> bool:
        """Answer what is still buffered, then close as well."""
        if self._reader is None:
            self._become_echo()
        self._ended = True
        return self._waiting is not None

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again."""
        if self._transport is not None:
            self._transport.resume_reading()

    def finish(self) -> None:
        """The container stops: close at once when idle, after the answer when a request is half read."""
        if self._websocket is not None:
            self._send(GOING_AWAY)
            self._close()
        elif self._reader is not None and self._reader.idle and self._waiting is None:
            self._close()

    def abort(self) -> None:
        """Reset the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _send(self, data: bytes) -> None:
        if self._transport is not None and data:
            self._transport.write(data)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _decide(self, data: bytes) -> None:
        self._first += data
        first = bytes(self._first)
        if first.startswith(PREFACE):
            return self._become_health(first[len(PREFACE) :])
        if PREFACE.startswith(first):
            return self._wait_for_more()
        verdict = looks_like_http(first)
        if verdict is None:
            return self._wait_for_more()
        if self._timer is not None:
            self._timer.cancel()
        if not verdict:
            return self._become_echo()
        self._reader = RequestReader()
        self._receive = self._serve_http
        return self._serve_http(first)

    def _wait_for_more(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_UNDECIDED_FOR, self._become_echo)

    def _become_echo(self) -> None:
        if self._receive != self._decide:
            return
        self._receive = self._send
        self._serving.course.take()
        self._serving.log(f"{self._client[0]}:{self._client[1]} tcp echo")
        self._send(bytes(self._first))

    def _become_health(self, rest: bytes) -> None:
        if self._timer is not None:
            self._timer.cancel()
        server = HealthServer()
        self._receive = lambda data: self._send(server.receive(data))
        self._send(server.greeting)
        self._receive(rest)

    def _serve_http(self, data: bytes) -> None:
        assert self._reader is not None
        self._reader.feed(data)
        if self._waiting is None:
            self._serve_requests()

    def _serve_requests(self) -> None:
        """Answer every whole request, up to one whose answer has to wait."""
        reader = self._reader
        assert reader is not None
        out: list[bytes] = []
        while True:
            event = reader.next_event()
            if isinstance(event, Request):
                if wants_websocket(event):
                    self._send(b"".join(out))
                    return self._become_websocket(event, reader.rest)
                fate = self._serving.course.take(probe=event.lower.get("user-agent", "").startswith(_PROBE))
                if fate.wait:
                    self._send(b"".join(out))
                    self._waiting = asyncio.get_running_loop().call_later(fate.wait, self._answer_late, event, fate)
                    return None
                said, close = self._answer(event, fate)
                out.append(said)
                if close:
                    break
            elif isinstance(event, ExpectsContinue):
                out.append(CONTINUE)
            elif isinstance(event, Malformed):
                out.append(refusal(event.status, event.reason))
                self._serving.log(f"{self._client[0]}:{self._client[1]} malformed request {event.status}")
                break
            else:
                return self._send(b"".join(out))
        self._send(b"".join(out))
        return self._serve_no_more()

    def _serve_no_more(self) -> None:
        self._receive = lambda _: None
        self._close()

    def _answer(self, request: Request, fate: Fate) -> tuple[bytes, bool]:
        """The answer to a request, and whether it is the connection's last."""
        close = self._serving.ending or not request.keep_alive
        opened = self._serving.opened
        if fate.status:
            said = failure(opened, request, fate.status, close=close)
        else:
            said = answer(opened, self._client, request, close=close)
        told = fate.status or 200
        self._serving.log(f'{self._client[0]}:{self._client[1]} "{request.method} {request.target}" {told}')
        return said, close

    def _answer_late(self, request: Request, fate: Fate) -> None:
        self._waiting = None
        said, close = self._answer(request, fate)
        self._send(said)
        if close:
            return self._serve_no_more()
        self._serve_requests()
        if self._ended and self._waiting is None:
            self._close()
        return None

    def _become_websocket(self, request: Request, rest: bytes) -> None:
        self._serving.course.take()
        self._serving.log(f'{self._client[0]}:{self._client[1]} "{request.method} {request.target}" websocket')
        response = accept(request)
        self._send(response)
        if not response.startswith(b"HTTP/1.1 101"):
            return self._close()
        echo = self._websocket = Echo()

        def serve(data: bytes) -> None:
            self._send(echo.receive(data))
            if echo.closed:
                self._close()

        self._receive = serve
        return serve(rest)


class Datagrams(asyncio.DatagramProtocol):
    """Answers each datagram with one JSON line about who received it from whom."""

    def __init__(
        self, reply: Callable[[tuple[str, int], bytes], bytes], log: Callable[[str], None], course: Course
    ) -> None:
        self._reply = reply
        self._course = course
        self._log = log
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # the selector loop's is none by its class

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None:
            client = (addr[0].removeprefix("::ffff:"), addr[1])
            self._course.take()
            self._transport.sendto(self._reply(client, data), addr)
            self._log(f"{client[0]}:{client[1]} udp {len(data)} bytes")
