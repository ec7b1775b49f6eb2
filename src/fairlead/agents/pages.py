"""A few pages over HTTP: health and metrics for whoever asks, and nothing else.

Comes in: a function from a path to a page. Goes out: answers, one a connection. It speaks as much HTTP/1.1 as probes
and scrapers need, so that an agent needs no web framework in its memory.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from http import HTTPStatus

from msgspec import Struct

from fairlead.agents.lines import log

_LONGEST_HEAD, _SECONDS = 16384, 10.0
_AGAIN_SECONDS = 5.0
JSON, TEXT = "application/json", "text/plain; charset=utf-8"


class Page(Struct, frozen=True):
    """What is answered."""

    body: bytes
    content_type: str = TEXT
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("X-Content-Type-Options", "nosniff"),)


NOT_FOUND = Page(b"404 page not found\n", status=404)

Pages = Callable[[str], Awaitable[Page]]
"""The page of a path; NOT_FOUND where there is none."""


class Binding(Struct, frozen=True):
    """Where to listen; an empty host is every address of both families."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_binding(text: str) -> Binding | None:
    """Where `text`, as `0.0.0.0:10256`, `[::]:10256` or `:10256`, says to listen; None for the empty text.

    Raises ValueError for any other text.
    """
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 <= int(port) <= 65535 or (":" in host) != host.startswith("["):
        raise ValueError(f"{text!r} is no address to listen on: write it as 0.0.0.0:10256 or [::]:10256")
    return Binding(host.removeprefix("[").removesuffix("]"), int(port))


async def serve(bindings: Sequence[Binding], pages: Pages) -> Sequence[asyncio.Server]:
    """Start to answer on all bindings. Raises OSError when one cannot be had, and then listens on none."""
    servers: list[asyncio.Server] = []
    try:
        for binding in bindings:
            servers.append(await asyncio.start_server(_answering(pages), binding.host or None, binding.port))  # noqa: PERF401
    except OSError:
        for server in servers:
            server.close()
        raise
    return servers


async def keep_serving(what: str, binding: Binding, pages: Pages) -> None:
    """Answer for ever; where the address cannot be had, say so once and try again every few seconds."""
    told = False
    while True:
        try:
            (server,) = await serve([binding], pages)
        except OSError as error:
            if not told:
                log(event="not-listening", what=what, address=str(binding), error=error.strerror or str(error))
                told = True
            await asyncio.sleep(_AGAIN_SECONDS)
            continue
        async with server:
            await server.serve_forever()


def _answering(pages: Pages) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await _response(head, pages))
                await writer.drain()
        writer.close()

    return answer


async def _response(head: bytes, pages: Pages) -> bytes:
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0].decode(errors="replace")
    page = await pages(path) if method in (b"GET", b"HEAD") else Page(b"method not allowed\n", status=405)
    lines = [
        f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}",
        f"Content-Type: {page.content_type}",
        f"Content-Length: {len(page.body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in page.headers),
        "\r\n",
    ]
    return "\r\n".join(lines).encode() + (b"" if method == b"HEAD" else page.body)
