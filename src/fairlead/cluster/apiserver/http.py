"""The API server on TLS sockets: the one place where its bytes come in and go out.

In: HTTP/1.1 requests with or without a client certificate. Out: the engine's answers, watches as chunked lines that
leave as soon as nothing more is queued, and streaming subresources handed to their connectors. It decides nothing
about objects.
"""

import asyncio
import gzip
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache

from aiohttp import web
from msgspec import Struct

from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.paths import parse_path
from fairlead.cluster.apiserver.statuses import StatusError, too_large_body
from fairlead.cluster.apiserver.users import ANONYMOUS, User, user_of_certificate
from fairlead.cluster.apiserver.watch import WatchStream
from fairlead.drivers.kubeapi.transport import ApiRequest

BODY_LIMIT = 3 * 1024 * 1024
COMPRESS_FROM = 128 * 1024
STALLED_AFTER = 60.0
"""Seconds a watcher may leave its lines unread before the connection is cut."""

_KEEP_ALIVE = 3600.0
_LAST_WORDS = 0.5


class ConnectTarget(Struct, frozen=True):
    """What a streaming subresource is asked of; `path` follows the subresource, with its slash, "" for none."""

    resource: str
    namespace: str
    name: str
    path: str


Connector = Callable[[web.Request, ConnectTarget], Awaitable[web.StreamResponse]]
"""Serves one streaming subresource."""


class HttpFront:
    """Takes requests apart for the engine, and puts its answers on the wire."""

    def __init__(self, server: ApiServer, connectors: Mapping[tuple[str, str], Connector]) -> None:
        self._server = server
        self._connectors = connectors

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, whatever it is."""
        path = request.rel_url.raw_path
        try:
            user = self._server.acting(self._user(request), request.headers.items())
            target = parse_path(path)
            if target and target.subresource:
                connector = self._connectors.get((target.plural, target.subresource))
                if connector is not None:
                    self._server.admit(user, request.method, path, dict(request.query))
                    asked = ConnectTarget(target.plural, target.namespace, target.name, target.rest)
                    return await connector(request, asked)
            return await self._of_engine(request, path, user)
        except StatusError as error:
            return _status(error)
        except web.HTTPRequestEntityTooLarge:
            return _status(too_large_body(BODY_LIMIT))

    def _user(self, request: web.Request) -> User:
        """Return who sends the request, by certificate or else by token; raise 401 for a token that is nobody's."""
        transport = request.transport
        certificate: Mapping[str, object] | None = transport.get_extra_info("peercert") if transport else None
        if certificate:
            return user_of_certificate(certificate)
        if "Authorization" in request.headers:
            return self._server.accounts.authenticate(request.headers["Authorization"])
        return ANONYMOUS

    async def _of_engine(self, request: web.Request, path: str, user: User) -> web.StreamResponse:
        body = await request.read() if request.body_exists else b""
        asked = ApiRequest(
            method=request.method,
            path=path,
            query=tuple(request.query.items()),
            headers=dict(request.headers),
            body=body,
        )
        answer = await self._server.handle(asked, user)
        if isinstance(answer, WatchStream):
            return await _send_watch(request, answer)
        headers = dict(answer.headers)
        content = answer.body
        if len(content) >= COMPRESS_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
            content = _kept_compressed(content) if "ETag" in headers else gzip.compress(content, 1)
            headers["Content-Encoding"] = "gzip"
        return web.Response(status=answer.status, headers=headers, body=content)


def _status(error: StatusError) -> web.Response:
    return web.Response(status=error.code, body=error.body(), content_type="application/json")


@lru_cache(maxsize=32)
def _kept_compressed(body: bytes) -> bytes:
    return gzip.compress(body, 6)


async def _send_watch(request: web.Request, stream: WatchStream) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": stream.content_type, "Cache-Control": "no-cache, private"})
    response.enable_chunked_encoding()
    try:
        await response.prepare(request)
        while (ready := await stream.next()) is not None:
            async with asyncio.timeout(STALLED_AFTER):
                await response.write(ready)
        await response.write_eof()
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    except ConnectionError:
        pass  # the client has gone
    finally:
        stream.close()
    return response


async def start(
    server: ApiServer,
    sockets: Sequence[socket.socket],
    tls: ssl.SSLContext,
    connectors: Mapping[tuple[str, str], Connector],
) -> web.AppRunner:
    """Serve on listening sockets from now on; `cleanup()` of what is returned ends it."""
    front = HttpFront(server, connectors)
    application = web.Application(client_max_size=BODY_LIMIT)
    application.router.add_route("*", "/{path:.*}", front.answer)
    runner = web.AppRunner(
        application,
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=_KEEP_ALIVE,
        shutdown_timeout=_LAST_WORDS,
        auto_decompress=True,
    )
    await runner.setup()
    for each in sockets:
        await web.SockSite(runner, each, ssl_context=tls).start()
    return runner


async def serve(
    server: ApiServer,
    sockets: Sequence[socket.socket],
    tls: ssl.SSLContext,
    connectors: Mapping[tuple[str, str], Connector],
) -> None:
    """Serve on listening sockets until cancelled."""
    runner = await start(server, sockets, tls, connectors)
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
