"""Takes a connection over from the HTTP server, for what is no HTTP: from then on its bytes are the caller's.

Comes in: a request that asks for an upgrade. Goes out: a reader and a writer of its connection. Refuses to know what
the bytes mean.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter


class Answered(web.StreamResponse):
    """An answer that has gone to the client already: the server has nothing to send and ends the connection."""

    def __init__(self) -> None:
        super().__init__()
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send nothing."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Send nothing."""


class _Early:
    """Collects what the client sent before the connection was taken over from the HTTP parser."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Keep a piece."""
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """Nothing to do: the end is seen again on the transport."""


@asynccontextmanager
async def taken_over(request: web.Request) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Lend the connection of `request`; it is closed at the end. Raises ConnectionError when it has gone already."""
    transport, server = request.transport, request.protocol
    if transport is None:
        raise ConnectionResetError
    early = _Early()
    server.set_parser(cast("Any", early))  # only the two methods are used
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if early.data:
        reader.feed_data(early.data)
    writer = asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.connection_lost(None)  # the server still counts the connection


def wants_upgrade(request: web.Request) -> bool:
    """Whether the client asks to change the protocol of the connection."""
    tokens = {token.strip().lower() for token in request.headers.get("Connection", "").split(",")}
    return "upgrade" in tokens and "Upgrade" in request.headers
