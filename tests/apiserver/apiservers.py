"""Engines and servers for the tests of the API server: in memory, or on a socket of 127.0.0.1."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from fairlead.cluster.apiserver.bootstrap import create_first_objects
from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.http import start
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.cluster.apiserver.pki import Pki
from fairlead.cluster.apiserver.store import Log, MemoryLog
from fairlead.cluster.apiserver.users import ADMIN, User
from fairlead.cluster.apiserver.watch import WatchStream
from fairlead.drivers.kubeapi.transport import ApiRequest
from fairlead.net import parse_prefix

SERVICE_RANGES = (parse_prefix("10.96.0.0/16"),)


class Answer:
    """What came back: a status, headers, and the body decoded."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    def __repr__(self) -> str:
        return f"{self.status} {self.body[:600].decode()}"


class Api:
    """Short words for requests to an engine."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        kind: str = "application/json",
        accept: str = "",
        user: User = ADMIN,
    ) -> Answer:
        path, _, text = path.partition("?")
        query = tuple(parse_qsl(text, keep_blank_values=True))
        raw = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        sent = {"Content-Type": kind, "Accept": accept, **(headers or {})}
        answer = await self.server.handle(
            ApiRequest(method=method, path=path, query=query, headers=sent, body=raw), user
        )
        assert not isinstance(answer, WatchStream)
        return Answer(answer.status, answer.headers, answer.body)

    async def watch(self, path: str, accept: str = "") -> WatchStream:
        path, _, text = path.partition("?")
        query = [("watch", "true")]
        query += parse_qsl(text, keep_blank_values=True)
        sent = {"Accept": accept}
        answer = await self.server.handle(ApiRequest(method="GET", path=path, query=tuple(query), headers=sent), ADMIN)
        assert isinstance(answer, WatchStream), answer
        return answer


async def lines(stream: WatchStream, count: int) -> list[Any]:
    """Return the next events of a watch, at least `count` of them."""
    found: list[Any] = []
    async with asyncio.timeout(5):
        while len(found) < count:
            ready = await stream.next()
            if ready is None:
                break
            found += [msgspec.json.decode(line) for line in ready.splitlines()]
    return found


async def engine(log: Log | None = None) -> ApiServer:
    """Return an engine with the first objects of a cluster."""
    server = ApiServer(log or MemoryLog(), KINDS, service_ranges=SERVICE_RANGES)
    await create_first_objects(server, service_address="10.96.0.1", api_address="172.18.0.1", api_port=6443)
    return server


@asynccontextmanager
async def served(folder: Path, log: Log | None = None) -> AsyncGenerator[tuple[ApiServer, str, Pki]]:
    """Serve an engine on a port of 127.0.0.1; yield it, its URL and its certificates."""
    server = await engine(log)
    pki = Pki(folder / "pki")
    listening = socket.create_server(("127.0.0.1", 0))
    runner = await start(server, [listening], pki.server_context(), {})
    try:
        yield server, f"https://127.0.0.1:{listening.getsockname()[1]}", pki
    finally:
        await runner.cleanup()
        server.close()
