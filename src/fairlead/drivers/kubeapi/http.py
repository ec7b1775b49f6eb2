"""Requests to an API server over HTTPS, as a kubeconfig says.

Comes in: requests. Goes out: answers and streams of lines. The only place where bytes for an
API server leave the process.
"""

import asyncio
import base64
import os
import ssl
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import aiohttp
import yaml
from yarl import URL

from fairlead.drivers.errors import FairleadError
from fairlead.drivers.kubeapi.transport import ApiError, ApiRequest, ApiResponse

_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 60.0
_SILENT_SECONDS = 330.0  # servers end a watch earlier; one that says nothing for longer is dead
_LONGEST_LINE = 64 * 1024 * 1024
_TOKEN_SECONDS = 60.0  # a token in a file is good for at least ten minutes more when it is renewed
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds the credentials of its service account."""
_MOST_REQUESTS = 8  # under way at once: one more connection costs both ends a handshake, some 3 ms, and buffers


class HttpTransport:
    """One server, with connections kept alive. Must be used within one event loop."""

    def __init__(
        self, server: str, tls: ssl.SSLContext | None = None, token: str = "", token_file: Path | None = None
    ) -> None:
        self._server = server.rstrip("/")
        self._tls = tls
        self._token = token
        self._token_file = token_file
        self._read_token_at = 0.0
        self._opened: dict[int, aiohttp.ClientSession] = {}

    @classmethod
    def from_kubeconfig(cls, path: Path, context: str = "") -> "HttpTransport":
        """The server and user of a context, the current one by default. Raises FairleadError when it says neither."""
        try:
            config = cast("dict[str, Any]", yaml.load(path.read_text(), yaml.CSafeLoader))
            chosen = _named(config, "contexts", context or str(config["current-context"]))["context"]
            cluster = _named(config, "clusters", chosen["cluster"])["cluster"]
            user = _named(config, "users", chosen["user"])["user"]
            server = str(cluster["server"])
        except (OSError, yaml.YAMLError, KeyError, TypeError, StopIteration) as error:
            raise FairleadError(
                f"the kubeconfig {path} cannot be used: {error!r}", "name a file with a current context"
            ) from error
        tls = _tls_context(cluster, user, path.parent) if server.startswith("https:") else None
        file = path.parent / str(user["tokenFile"]) if user.get("tokenFile") else None
        return cls(server, tls, str(user.get("token", "")), file)

    @classmethod
    def in_cluster(cls, folder: Path = ACCOUNT) -> "HttpTransport":
        """The API server as a pod reaches it, with the pod's service account. Raises FairleadError outside a pod.

        Source: client-go rest.InClusterConfig; the environment names the server, the folder holds token and authority.
        """
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
        token, authority = folder / "token", folder / "ca.crt"
        if not host or not port or not token.is_file():
            raise FairleadError("this is no pod with a service account", "name a kubeconfig with --kubeconfig")
        try:
            tls = ssl.create_default_context(cadata=authority.read_text())
        except (OSError, ssl.SSLError) as error:
            raise FairleadError(f"the authority in {authority} cannot be used: {error}") from error
        return cls(f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}", tls, token_file=token)

    def _session(self, limit: int) -> aiohttp.ClientSession:
        """The session whose connections are at most `limit`, 0 for any number: watches hold theirs."""
        opened = self._opened.get(limit)
        if opened is None or opened.closed:
            headers = {"User-Agent": "fairlead", "Accept": "application/json"}
            opened = self._opened[limit] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls or False, limit=limit, use_dns_cache=False),
                headers=headers,
                auto_decompress=True,
                skip_auto_headers=["Accept-Encoding"],
            )
        return opened

    def _headers(self, request: ApiRequest) -> dict[str, str]:
        """The request's headers and the bearer token; one in a file is renewed there, so it is read again."""
        if self._token_file is not None and time.monotonic() >= self._read_token_at:
            try:
                self._token = self._token_file.read_text().strip()
            except OSError as error:
                raise unreachable(self._server, error) from error
            self._read_token_at = time.monotonic() + _TOKEN_SECONDS
        return {**request.headers, "Authorization": f"Bearer {self._token}"} if self._token else {**request.headers}

    def _url(self, request: ApiRequest) -> URL:
        return URL(self._server + request.path, encoded=True).update_query(list(request.query))

    async def send(self, request: ApiRequest) -> ApiResponse:
        """Return the answer, whatever its status. Raises ApiError with status 0 when none came."""
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS, sock_connect=_CONNECT_SECONDS)
        try:
            async with self._session(_MOST_REQUESTS).request(
                request.method,
                self._url(request),
                data=request.body or None,
                headers=self._headers(request),
                timeout=timeout,
            ) as response:
                return ApiResponse(response.status, dict(response.headers), await response.read())
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise unreachable(self._server, error) from error

    async def stream(self, request: ApiRequest) -> AsyncGenerator[bytes, None]:
        """Yield the answer's lines until the server ends it. Raises ApiError on a refusal or a broken connection."""
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS)
        try:
            async with self._session(0).request(
                request.method, self._url(request), headers=self._headers(request), timeout=timeout
            ) as response:
                if response.status >= 400:
                    body = await response.read()
                    raise ApiError(response.status, "", body[:500].decode(errors="replace"))
                held = b""
                async for chunk in response.content.iter_any():
                    *lines, held = (held + chunk).split(b"\n")
                    for line in lines:
                        if line:
                            yield line
                    if len(held) > _LONGEST_LINE:
                        raise ApiError(0, "Unreachable", "a watch event without end")
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise unreachable(self._server, error) from error

    async def close(self) -> None:
        """Close every connection."""
        for opened in self._opened.values():
            await opened.close()
        if self._opened:
            await asyncio.sleep(0)  # aiohttp closes TLS connections in the next turn of the loop


def unreachable(server: str, error: Exception) -> ApiError:
    """What to say when no answer came."""
    found = ApiError(0, "Unreachable", f"the API server at {server} does not answer: {error or type(error).__name__}")
    found.remedy = "see `fairlead status`, or the server line of the kubeconfig"
    return found


def _named(config: dict[str, Any], section: str, name: str) -> dict[str, Any]:
    return next(entry for entry in config[section] if entry["name"] == name)


def _tls_context(cluster: dict[str, Any], user: dict[str, Any], folder: Path) -> ssl.SSLContext:
    if cluster.get("insecure-skip-tls-verify"):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        authority = _material(cluster, "certificate-authority", folder)
        context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    certificate, key = _material(user, "client-certificate", folder), _material(user, "client-key", folder)
    if certificate and key:
        with os.fdopen(
            os.memfd_create("client"), "wb"
        ) as pair:  # ssl loads keys from files only; this one is no disk's
            pair.write(certificate + b"\n" + key)
            pair.flush()
            context.load_cert_chain(f"/proc/self/fd/{pair.fileno()}")
    return context


def _material(section: dict[str, Any], key: str, folder: Path) -> bytes:
    if data := section.get(f"{key}-data"):
        return base64.b64decode(data)
    if name := section.get(key):
        return (folder / str(name)).read_bytes()
    return b""
