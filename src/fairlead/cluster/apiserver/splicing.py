"""Upgraded connections (WebSocket, SPDY and any other): after the 101, bytes go both ways as they come.

Comes in: a request that asks for an upgrade, and whom to dial. Goes out: the other side's answer, and then its bytes.
Refuses to know what the bytes mean. Source: tryUpgrade in apimachinery/pkg/util/proxy/upgradeaware.go; RFC 9110 7.8.
"""

import asyncio
import ssl
from contextlib import suppress

from aiohttp import web

from fairlead.cluster.apiserver.destinations import Destination, unavailable
from fairlead.cluster.apiserver.statuses import internal
from fairlead.cluster.apiserver.streaming.takeover import Answered, taken_over

_LONGEST_HEAD = 64 * 1024
_DIAL_SECONDS = 30
_PIECE = 64 * 1024


async def splice(
    request: web.Request, destination: Destination, head: bytes, tls: ssl.SSLContext | None
) -> web.StreamResponse:
    """Dial, send `head`, and join the connections when the answer is 101.

    An answer of 400 or more is handed to the client as it is. Raises StatusError when nobody answers, and for any other
    answer.
    """
    try:
        async with asyncio.timeout(_DIAL_SECONDS):
            far_reader, far_writer = await asyncio.open_connection(
                destination.host, destination.port, ssl=tls, limit=_LONGEST_HEAD
            )
            far_writer.write(head)
            answer = await far_reader.readuntil(b"\r\n\r\n")
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise unavailable(f"error trying to reach service: {error}") from error
    status = answer[9:12]
    if status != b"101" and status < b"400":
        far_writer.close()
        raise internal(f"invalid upgrade response: status code {status.decode(errors='replace')}")
    await _join(request, answer, far_reader, far_writer)
    return Answered()


async def _join(
    request: web.Request, answer: bytes, far_reader: asyncio.StreamReader, far_writer: asyncio.StreamWriter
) -> None:
    """Take the client's connection over from the HTTP server and copy until both sides have ended."""
    try:
        async with taken_over(request) as (reader, writer):
            writer.write(answer)
            towards = asyncio.create_task(_copy(reader, far_writer))
            back = asyncio.create_task(_copy(far_reader, writer))
            await asyncio.wait({towards, back}, return_when=asyncio.FIRST_COMPLETED)
            if back.done():
                towards.cancel()
            await asyncio.wait({towards, back})
    except ConnectionResetError:
        pass  # the client has gone
    finally:
        far_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
