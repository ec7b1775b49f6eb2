"""The proxy subresources: passes a request on to a pod, or to a pod of a service, and the answer back.

Comes in: a request below `.../proxy`. Goes out: the application's answer, bodies streaming both ways, links led back
through the proxy. Refuses to know who may do this. Source: apimachinery/pkg/util/proxy/upgradeaware.go.
"""

import os
import random
import ssl
import zlib
from collections.abc import AsyncIterator
from typing import Protocol

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from fairlead.cluster.apiserver.destinations import Choose, Destination, Get, find_destination, unavailable
from fairlead.cluster.apiserver.rewriting import HtmlLinks, Inflating, ProxiedUrls
from fairlead.cluster.apiserver.splicing import splice
from fairlead.cluster.apiserver.statuses import StatusError
from fairlead.cluster.apiserver.streaming.takeover import wants_upgrade

_DIAL_SECONDS = 30
_HOP_BY_HOP = frozenset(  # RFC 9110 7.6.1: of one connection, not of the message
    (
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade"),
    )
)
_NOT_PASSED_ON = frozenset(("authorization", "expect", "x-forwarded-uri", "x-forwarded-host", "x-forwarded-proto"))
_DECODED = ("gzip", "deflate", "br", "zstd")  # the HTTP server has undone these by the time a body is read
_CORS = tuple(
    f"Access-Control-{word}"
    for word in ("Allow-Credentials", "Allow-Headers", "Allow-Methods", "Allow-Origin", "Expose-Headers", "Max-Age")
)


class ProxyTarget(Protocol):
    """What the API server found in the request's path; `name` is `[scheme:]name[:port]`."""

    @property
    def resource(self) -> str:
        """`services`, `pods` or `nodes`."""
        ...

    @property
    def namespace(self) -> str:
        """Empty for nodes."""
        ...

    @property
    def name(self) -> str:
        """As in the path."""
        ...


class ProxyConnector:
    """Serves `services/proxy`, `pods/proxy` and `nodes/proxy`. Holds no connection open between requests."""

    def __init__(self, get: Get, choose: Choose = random.randrange) -> None:
        self._get = get
        self._choose = choose
        self._session: aiohttp.ClientSession | None = None
        self._unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the default context reads the system's CAs: 45 ms
        self._unverified.check_hostname = False
        self._unverified.verify_mode = ssl.CERT_NONE  # as upstream: pods have no certificates the cluster knows

    async def __call__(self, request: web.Request, target: ProxyTarget) -> web.StreamResponse:
        """Answer one request. A refusal is answered as a Status."""
        try:
            destination = find_destination(target.resource, target.namespace, target.name, self._get, self._choose)
            prefix, path, query = split_path(request.raw_path, namespaced=bool(target.namespace))
            if wants_upgrade(request):
                head = _upgrade_head(request, destination, prefix, path or "/", query)
                tls = self._unverified if destination.scheme == "https" else None
                return await splice(request, destination, head, tls)
            if not path and request.method in ("GET", "HEAD"):
                return web.Response(status=301, headers={"Location": f"{prefix}/{query}"})
            return await self._pass_on(request, destination, prefix, path or "/", query)
        except StatusError as refusal:
            return refusal_response(refusal)

    async def close(self) -> None:
        """Let go of the connections in use."""
        if self._session is not None:
            await self._session.close()

    async def _pass_on(
        self, request: web.Request, destination: Destination, prefix: str, path: str, query: str
    ) -> web.StreamResponse:
        session = self._session = self._session or aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True, ssl=self._unverified),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_DIAL_SECONDS),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        try:
            answer = await session.request(
                request.method,
                URL(f"{destination.scheme}://{destination.authority}{path}{query}", encoded=True),
                headers=forwarded_headers(request, prefix + path),
                data=request.content if request.can_read_body else None,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise unavailable(f"error trying to reach service: {_explain(error, destination)}") from error
        async with answer:
            urls = ProxiedUrls(prefix, frozenset((destination.authority, destination.host, request.host)))
            return await _give_back(request, answer, urls)


def split_path(raw_path: str, *, namespaced: bool) -> tuple[str, str, str]:
    """Split the raw path of a request into the proxy's own path, the application's and the query with its mark.

    The application's path is as the client spelt it, and empty where the URL ends with `proxy`.
    """
    path, mark, query = raw_path.partition("?")
    parts = path.split("/")
    own = 8 if namespaced else 6  # /api/v1/namespaces/N/services/S/proxy, or /api/v1/nodes/N/proxy
    return "/".join(parts[:own]), "".join(f"/{part}" for part in parts[own:]), mark + query


def forwarded_headers(request: web.Request, uri: str) -> CIMultiDict[str]:
    """The headers of `request` for the next hop, its Host kept, with who asked for what added."""
    named = {token.strip().lower() for token in request.headers.get("Connection", "").split(",")}
    dropped = _HOP_BY_HOP | _NOT_PASSED_ON | named
    headers = CIMultiDict((key, value) for key, value in request.headers.items() if key.lower() not in dropped)
    if headers.get("Content-Encoding", "").lower() in _DECODED:
        headers.popall("Content-Length", None)
        headers.popall("Content-Encoding")
    if request.headers.get("TE", "").lower() == "trailers":
        headers["TE"] = "trailers"
    client = [*headers.popall("X-Forwarded-For", []), request.remote or ""]
    headers["X-Forwarded-For"] = ", ".join(filter(None, client))
    headers["X-Forwarded-Uri"] = uri
    headers["X-Forwarded-Host"] = request.host
    headers["X-Forwarded-Proto"] = request.scheme
    return headers


def _upgrade_head(request: web.Request, destination: Destination, prefix: str, path: str, query: str) -> bytes:
    headers = forwarded_headers(request, prefix + path)
    headers["Connection"] = request.headers["Connection"]
    headers["Upgrade"] = request.headers["Upgrade"]
    headers.setdefault("Host", destination.authority)
    lines = [f"{request.method} {path}{query} HTTP/1.1", *(f"{key}: {value}" for key, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


async def _give_back(request: web.Request, answer: aiohttp.ClientResponse, urls: ProxiedUrls) -> web.StreamResponse:
    named = {token.strip().lower() for token in answer.headers.get("Connection", "").split(",")}
    dropped = _HOP_BY_HOP | named
    headers = CIMultiDict((key, value) for key, value in answer.headers.items() if key.lower() not in dropped)
    for name in _CORS:
        headers.popall(name, None)
    body = answer.content.iter_any()
    if "Location" in headers:
        headers["Location"] = urls.rewrite(headers["Location"])
    elif answer.content_type == "text/html" and request.method != "HEAD" and answer.status not in (204, 206, 304):
        encoding = headers.get("Content-Encoding", "").lower()
        if encoding in ("", "identity", "gzip", "deflate"):
            for name in ("Content-Length", "Content-Encoding", "ETag", "Content-MD5"):  # those of another body
                headers.popall(name, None)
            body = _rewritten(body, encoding, urls)
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    await response.prepare(request)
    try:
        async for chunk in body:
            if chunk:
                await response.write(chunk)
    except (aiohttp.ClientError, zlib.error, OSError):
        response.force_close()
        if request.transport is not None:
            request.transport.abort()  # the only way left to say that the body is not whole
        return response
    await response.write_eof()
    return response


async def _rewritten(body: AsyncIterator[bytes], encoding: str, urls: ProxiedUrls) -> AsyncIterator[bytes]:
    links = HtmlLinks(urls)
    inflating = Inflating(encoding) if encoding in ("gzip", "deflate") else None
    async for chunk in body:
        plain = inflating.feed(chunk) if inflating else chunk
        yield links.pass_through(plain.decode("latin-1")).encode("latin-1", "xmlcharrefreplace")
    yield links.pass_through("", last=True).encode("latin-1", "xmlcharrefreplace")


def _explain(error: Exception, destination: Destination) -> str:
    """Say why dialling failed in the words of Go's net package, which people search for."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"dial tcp {destination.authority}: connect: {os.strerror(error.os_error.errno or 0).lower()}"
    if isinstance(error, TimeoutError):
        return f"dial tcp {destination.authority}: i/o timeout"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    return str(error)


def refusal_response(refusal: StatusError) -> web.Response:
    """A refusal as an answer of the API."""
    return web.Response(status=refusal.code, body=refusal.body(), content_type="application/json")
