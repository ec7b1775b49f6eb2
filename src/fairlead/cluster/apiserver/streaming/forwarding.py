"""The portforward subresource of pods: connections of the client, made again inside the pod's network to its loopback.

Comes in: an upgrade request. Goes out: bytes both ways, over SPDY (raw, or inside a WebSocket), or over a WebSocket
with two channels for each port. The pod's network comes from the kubelet's socket. Source:
cri-streaming/pkg/streaming/portforward/{httpstream,websocket}.go, apiserver/pkg/util/proxy/streamtunnel.go.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from aiohttp import WSMsgType, web

from fairlead.cluster.apiserver.destinations import Get
from fairlead.cluster.apiserver.proxying import ProxyTarget, refusal_response
from fairlead.cluster.apiserver.statuses import StatusError, bad_request
from fairlead.cluster.apiserver.streaming.executing import find_pod
from fairlead.cluster.apiserver.streaming.spdy import SpdyConnection, SpdyStream
from fairlead.cluster.apiserver.streaming.spdy_sessions import choose_protocol, running, spdy_connection
from fairlead.cluster.apiserver.streaming.takeover import Answered, wants_upgrade
from fairlead.cluster.apiserver.streaming.websockets import open_websocket
from fairlead.cluster.places import open_place
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.netns import entered
from fairlead.kube.documents import text_at

_PROTOCOL = "portforward.k8s.io"
_TUNNEL = "SPDY/3.1+portforward.k8s.io"
_CHANNELS = ("v4.channel.k8s.io", "channel.k8s.io")
_PIECE = 32 * 1024
_LOOPBACKS = (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6))


class PortForwardConnector:
    """Serves `pods/portforward`."""

    def __init__(self, get: Get, places: Path) -> None:
        self._get = get
        self._places = places

    async def __call__(self, request: web.Request, target: ProxyTarget) -> web.StreamResponse:
        """Answer one request. A refusal is answered as a Status."""
        try:
            pod = find_pod(self._get, target)
            phase = text_at(pod, "status", "phase")
            if phase != "Running":
                raise bad_request(f"unable to forward port because pod is not running. Current status={phase}")
            if not wants_upgrade(request):
                raise bad_request("Upgrade request required")
            dial = _Dial(self._places, f"pod/{target.namespace}/{target.name}", target.name)
            if request.headers["Upgrade"].lower() == "websocket":
                return await _over_websocket(request, dial)
            protocol = choose_protocol(request, (_PROTOCOL,))
            async with spdy_connection(request, protocol) as connection:
                await _serve(connection, dial)
            return Answered()
        except StatusError as refusal:
            return refusal_response(refusal)


class _Dial:
    """Connects to ports of one pod."""

    def __init__(self, places: Path, place: str, pod: str) -> None:
        self._places = places
        self._place = place
        self._pod = pod

    async def __call__(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the pod's loopback, as programs in it would. Raises OSError or FairleadError."""
        spaces = await asyncio.to_thread(open_place, self._places, self._place)
        failure = OSError()
        try:
            for address, family in _LOOPBACKS:
                with entered(spaces.net):
                    made = socket.socket(family, socket.SOCK_STREAM)
                made.setblocking(False)
                try:
                    await asyncio.get_running_loop().sock_connect(made, (address, port))
                except OSError as error:
                    made.close()
                    failure = error if family == socket.AF_INET else failure
                else:
                    return await asyncio.open_connection(sock=made)
        finally:
            for fd in (spaces.user, spaces.mount, spaces.pid, spaces.net):
                os.close(fd)
        raise failure

    def explain(self, port: int, error: Exception) -> str:
        """Say why a port could not be reached, in the kubelet's words."""
        reason = os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)
        return f"error forwarding port {port} to pod {self._pod}: dial tcp4 127.0.0.1:{port}: connect: {reason}"


async def _over_websocket(request: web.Request, dial: _Dial) -> web.StreamResponse:
    ports = [part for line in request.query.getall("ports", []) for part in line.split(",")]
    protocols = (_TUNNEL, *(_CHANNELS if ports else ()))
    numbers = [int(part) for part in ports if part.isascii() and part.isdigit() and 0 < int(part) < 65536]
    if len(numbers) != len(ports):
        raise bad_request(f"port in {','.join(ports)} is not a number from 1 to 65535")
    socket_ = await open_websocket(request, protocols)
    if socket_.ws_protocol == _TUNNEL:
        async with running(SpdyConnection(socket_.send_bytes), _messages(socket_)) as connection:
            await _serve(connection, dial)
        await socket_.close()
    elif socket_.ws_protocol:
        await _serve_channels(socket_, numbers, dial)
    else:
        await socket_.close(code=1002, message=b"no protocol in common")
    return socket_


async def _messages(socket_: web.WebSocketResponse) -> AsyncIterator[bytes]:
    async for message in socket_:
        if message.type is WSMsgType.BINARY:
            yield message.data


async def _serve(connection: SpdyConnection, dial: _Dial) -> None:
    """Join each pair of streams, an error stream and a data stream of one request, with a connection."""
    waiting: dict[str, dict[str, SpdyStream]] = {}
    gone = asyncio.create_task(connection.gone.wait())
    tasks: set[asyncio.Task[None]] = set()
    try:
        while True:
            opened = asyncio.create_task(connection.opened.get())
            await asyncio.wait({opened, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not opened.done():
                opened.cancel()
                return
            stream = opened.result()
            kind, request = stream.headers.get("streamtype", ""), _request_of(stream)
            pair = waiting.setdefault(request, {})
            pair[kind] = stream
            if "error" in pair and "data" in pair:
                del waiting[request]
                task = asyncio.create_task(_forward(connection, pair["data"], pair["error"], dial))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
    finally:
        for task in (*tasks, gone):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _request_of(stream: SpdyStream) -> str:
    """Streams without a request id belong to the error stream two numbers before (older clients)."""
    named = stream.headers.get("requestid", "")
    return named or str(stream.number - (2 if stream.headers.get("streamtype") == "data" else 0))


async def _forward(connection: SpdyConnection, data: SpdyStream, error: SpdyStream, dial: _Dial) -> None:
    with suppress(ConnectionError):
        text = data.headers.get("port", "")
        port = int(text) if text.isascii() and text.isdigit() else 0
        try:
            reader, writer = await dial(port)
        except (OSError, FairleadError, OverflowError) as failure:
            await error.write(dial.explain(port, failure).encode())
            await data.reset()
        else:
            try:
                await _join(data, reader, writer)
            finally:
                writer.close()
        await error.end()
    connection.forget(data, error)


async def _join(data: SpdyStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async def towards() -> None:
        with suppress(OSError):
            while piece := await data.read():
                writer.write(piece)
                await writer.drain()
            writer.write_eof()

    async def back() -> None:
        with suppress(OSError):
            while piece := await reader.read(_PIECE):
                await data.write(piece)
        await data.end()

    sending = asyncio.create_task(towards())
    try:
        await back()
    finally:
        sending.cancel()
        await asyncio.wait({sending})


async def _serve_channels(socket_: web.WebSocketResponse, ports: list[int], dial: _Dial) -> None:
    """Two channels a port: data, and errors of the port; each begins with the port's number, little-endian."""
    writers: dict[int, asyncio.StreamWriter] = {}
    tasks: list[asyncio.Task[None]] = []
    for index, port in enumerate(ports):
        for channel in (2 * index, 2 * index + 1):
            await socket_.send_bytes(bytes((channel,)) + port.to_bytes(2, "little"))
        try:
            reader, writer = await dial(port)
        except (OSError, FairleadError) as failure:
            await socket_.send_bytes(bytes((2 * index + 1,)) + dial.explain(port, failure).encode())
        else:
            writers[2 * index] = writer
            tasks.append(asyncio.create_task(_send_back(socket_, 2 * index, reader)))
    try:
        async for message in socket_:
            if message.type is WSMsgType.BINARY and message.data and (into := writers.get(message.data[0])):
                with suppress(OSError):
                    into.write(message.data[1:])
                    await into.drain()
    finally:
        for task in tasks:
            task.cancel()
        for each in writers.values():
            each.close()


async def _send_back(socket_: web.WebSocketResponse, channel: int, reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while piece := await reader.read(_PIECE):
            await socket_.send_bytes(bytes((channel,)) + piece)
