"""Exec and attach sessions over SPDY: each channel is a stream whose header `streamtype` names it.

Comes in: an upgraded connection. Goes out: a Carrier. Source: cri-streaming/pkg/streaming/remotecommand/httpstream.go.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

import msgspec
from aiohttp import web

from fairlead.cluster.apiserver.statuses import StatusError
from fairlead.cluster.apiserver.streaming.channels import Channel, Received
from fairlead.cluster.apiserver.streaming.spdy import SpdyConnection, SpdyStream
from fairlead.cluster.apiserver.streaming.spdy_frames import SpdyError
from fairlead.cluster.apiserver.streaming.takeover import taken_over
from fairlead.kube.documents import Document, text_at

PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
_OFFER = "X-Stream-Protocol-Version"
_PIECE = 64 * 1024
_STREAMS_WITHIN = 30.0  # seconds for the client to open what it asked for


def choose_protocol(request: web.Request, served: tuple[str, ...]) -> str:
    """The first protocol the client offers that is served; "" if it offers none at all. Raises StatusError."""
    offered = [name.strip() for line in request.headers.getall(_OFFER, []) for name in line.split(",")]
    for name in offered:
        if name in served:
            return name
    if not offered:
        return ""
    told = f"unable to upgrade: unable to negotiate protocol: client supports {offered}, server accepts {list(served)}"
    raise StatusError(403, "Forbidden", told, {})


@asynccontextmanager
async def spdy_connection(request: web.Request, protocol: str) -> AsyncGenerator[SpdyConnection]:
    """Upgrade to SPDY and serve its streams for the time of the body."""
    async with taken_over(request) as (reader, writer):

        async def send(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: SPDY/3.1"]
        lines += [f"{_OFFER}: {protocol}"] if protocol else []
        await send("\r\n".join([*lines, "", ""]).encode())
        async with running(SpdyConnection(send), _pieces(reader)) as connection:
            yield connection


@asynccontextmanager
async def running(connection: SpdyConnection, pieces: AsyncIterator[bytes]) -> AsyncGenerator[SpdyConnection]:
    """Serve a connection's streams for the time of the body."""
    serving = asyncio.create_task(connection.run(pieces))
    try:
        yield connection
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError, SpdyError, OSError):
            await serving


async def _pieces(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while piece := await reader.read(_PIECE):
        yield piece


class SpdyCarrier:
    """A session over the streams of one connection."""

    def __init__(self, connection: SpdyConnection, streams: dict[Channel, SpdyStream], protocol: str) -> None:
        self._connection = connection
        self._streams = streams
        self._protocol = protocol
        self._received: asyncio.Queue[tuple[Channel, bytes | None] | None] = asyncio.Queue(1)
        inward = [channel for channel in (Channel.STDIN, Channel.RESIZE) if channel in streams]
        self._readers = [asyncio.create_task(self._read(channel)) for channel in inward]
        self._watching = asyncio.create_task(self._watch())

    async def receive(self) -> tuple[Channel, bytes | None]:
        """As Carrier."""
        got = await self._received.get()
        if got is None:
            raise Received
        return got

    async def send(self, channel: Channel, data: bytes) -> None:
        """As Carrier. What goes to a channel the client did not open is left out."""
        stream = self._streams.get(channel)
        if stream is not None and data:
            await stream.write(data)

    async def finish(self, status: Document) -> None:
        """As Carrier. Before version 4 only a failure is told, as text."""
        if self._protocol.startswith("v4"):
            await self.send(Channel.ERROR, msgspec.json.encode(status))
        elif text_at(status, "status") != "Success":
            await self.send(Channel.ERROR, text_at(status, "message").encode())
        for channel in (Channel.STDOUT, Channel.STDERR, Channel.ERROR):
            if channel in self._streams:
                await self._streams[channel].end()

    def close(self) -> None:
        """Stop reading."""
        for task in (*self._readers, self._watching):
            task.cancel()

    async def _read(self, channel: Channel) -> None:
        while piece := await self._streams[channel].read():
            await self._received.put((channel, piece))
        await self._received.put((channel, None))

    async def _watch(self) -> None:
        await self._connection.gone.wait()
        await self._received.put(None)


async def open_carrier(connection: SpdyConnection, wanted: Iterable[Channel], protocol: str) -> SpdyCarrier:
    """Wait for the client to open the channels it asked for. Raises TimeoutError."""
    streams: dict[Channel, SpdyStream] = {}
    missing = {Channel.ERROR, *wanted}
    async with asyncio.timeout(_STREAMS_WITHIN):
        while missing:
            stream = await connection.opened.get()
            name = stream.headers.get("streamtype", "").upper()
            if name in Channel.__members__:
                streams[Channel[name]] = stream
                missing.discard(Channel[name])
    return SpdyCarrier(connection, streams, protocol)
