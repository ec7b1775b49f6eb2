"""Requests nobody honest sends, over real TLS sockets: each gets its status, and the server answers the next one."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from fairlead.cluster.apiserver.bootstrap import create_first_objects
from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.http import start
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.cluster.apiserver.pki import Pki
from fairlead.cluster.apiserver.store import MemoryLog
from fairlead.net import parse_prefix

CM = "/api/v1/namespaces/default/configmaps"
JSON = {"Content-Type": "application/json"}


class Target:
    """A server under attack: its port, the administrator's TLS, and a session."""

    def __init__(self, port: int, tls: ssl.SSLContext, session: aiohttp.ClientSession) -> None:
        self.port = port
        self.tls = tls
        self.session = session
        self.url = f"https://127.0.0.1:{port}"

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, self.url + path, data=body or None, headers=sent) as answer:
            return answer.status, await answer.read()

    async def raw(self, *pieces: bytes) -> bytes:
        """Send bytes as they are; return the first line of what comes back, empty when the server hangs up."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.tls, server_hostname="127.0.0.1"
        )
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await asyncio.wait_for(reader.readline(), 10)
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def is_well(self) -> bool:
        async with asyncio.timeout(10):
            return (await self.ask("GET", "/readyz"))[0] == 200


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[Target]:
    """A server of the real engine and kinds; whatever the test did to it, it must answer in the end."""
    server = ApiServer(MemoryLog(), KINDS, service_ranges=(parse_prefix("10.96.0.0/16"),))
    await create_first_objects(server, service_address="10.96.0.1", api_address="172.18.0.1", api_port=6443)
    pki = Pki(tmp_path / "pki")
    listening = socket.create_server(("127.0.0.1", 0))
    runner = await start(server, [listening], pki.server_context(), {})
    credential = pki.client("kubernetes-admin", ("system:masters",))
    tls = ssl.create_default_context(cadata=pki.authority.decode())
    for name, content in (("c.crt", credential.certificate), ("c.key", credential.key)):
        (tmp_path / name).write_bytes(content)
    tls.load_cert_chain(tmp_path / "c.crt", tmp_path / "c.key")
    connector = aiohttp.TCPConnector(ssl=tls, limit=0)
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            found = Target(listening.getsockname()[1], tls, session)
            yield found
            assert await found.is_well()
    finally:
        await runner.cleanup()
        server.close()


NESTED = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001
LISTS = b"[" * 200_000


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe\x00",
        b'{"apiVersion":"v1","kind":"ConfigMap"} trailing',
        b'{"apiVersion":"v1","kind":"ConfigMap","metadata":7}',
        b'{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}',
        b"k8s\x00\xff\xff\xff\xff",
        NESTED,
        LISTS,
    ],
    ids=lambda body: body[:24].decode("latin-1").encode("unicode_escape").decode(),
)
async def test_bodies_that_are_no_objects_are_bad_requests(target: Target, body: bytes) -> None:
    assert (await target.ask("POST", CM, body, **JSON))[0] == 400


async def test_ten_megabytes_are_too_large_whether_announced_or_not(target: Target) -> None:
    huge = b'{"data":{"k":"' + b"x" * 10_000_000 + b'"}}'
    assert (await target.ask("POST", CM, huge, **JSON))[0] == 413

    async def pieces() -> AsyncIterator[bytes]:
        for start_ in range(0, len(huge), 65536):
            yield huge[start_ : start_ + 65536]

    async with target.session.post(target.url + CM, data=pieces(), headers=JSON) as answer:
        assert answer.status == 413


@pytest.mark.parametrize("kind", ["application/xml", "text/plain", "multipart/form-data; boundary=x", "a/b"])
async def test_unknown_content_types_are_415(target: Target, kind: str) -> None:
    assert (await target.ask("POST", CM, b"<x/>", Content_Type=kind))[0] == 415


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/namespaces/default/../../../../etc/passwd", 404),
        ("/api/v1/namespaces/default%2f..%2fkube-system/configmaps", 404),
        ("/api/v1/namespaces/%00/configmaps", 404),
        ("/api/v1/namespaces//configmaps", 404),
        ("/api/v1//configmaps", 404),
        ("/api/v1/namespaces/default/configmaps/%2e%2e", 404),
        ("/api/v1/namespaces/default/configmaps/" + "x" * 5000, 404),
        ("/nowhere", 404),
    ],
)
async def test_tricks_with_paths_find_nothing(target: Target, path: str, status: int) -> None:
    line = await target.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert line.split()[1] == str(status).encode()


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=abc", 400),
        ("limit=-1", 200),
        ("limit=99999999999999999999999", 400),
        ("continue=%00%ff", 400),
        ("continue=e30=", 400),
        ("resourceVersion=abc", 400),
        ("resourceVersion=99999999999", 504),
        ("resourceVersionMatch=Exact", 400),
        ("labelSelector=a%20in%20(", 400),
        ("fieldSelector=spec.nope%3dx", 400),
        ("watch=true&timeoutSeconds=abc", 400),
        ("watch=true&resourceVersion=-5", 400),
    ],
)
async def test_bad_values_of_parameters_are_refused(target: Target, query: str, status: int) -> None:
    assert (await target.ask("GET", f"{CM}?{query}"))[0] == status


async def test_a_range_of_bytes_is_not_ours_to_cut(target: Target) -> None:
    assert (await target.ask("GET", CM, Range="bytes=5-1"))[0] == 200


async def test_headers_and_lines_without_end_are_refused(target: Target) -> None:
    huge = b"GET /readyz HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 200_000 + b"\r\n\r\n"
    assert (await target.raw(huge)).split()[1:2] == [b"400"]
    assert (await target.raw(b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")).split()[1:2] == [b"400"]


@pytest.mark.parametrize(
    "words",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n",
    ],
    ids=["bytes", "version", "length", "smuggled", "name"],
)
async def test_what_is_no_http_is_a_bad_request(target: Target, words: bytes) -> None:
    assert (await target.raw(words)).split()[1:2] == [b"400"]


async def test_slow_clients_do_not_hold_up_the_others(target: Target) -> None:
    opened = [
        await asyncio.open_connection("127.0.0.1", target.port, ssl=target.tls, server_hostname="127.0.0.1")
        for _ in range(200)
    ]
    silent = [await asyncio.open_connection("127.0.0.1", target.port) for _ in range(200)]
    for _, writer in opened:
        writer.write(b"POST " + CM.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        await writer.drain()
    for number in range(20):
        assert (await target.ask("POST", CM, f'{{"metadata":{{"name":"n{number}"}}}}'.encode(), **JSON))[0] == 201
    for _, writer in (*opened, *silent):
        writer.close()


async def test_a_thousand_idle_watches_leave_room_for_a_write_and_see_it(target: Target) -> None:
    watches = await asyncio.gather(*(target.session.get(f"{target.url}{CM}?watch=true") for _ in range(1000)))
    assert {each.status for each in watches} == {200}
    assert (await target.ask("POST", CM, b'{"metadata":{"name":"seen"}}', **JSON))[0] == 201

    async def sees(answer: aiohttp.ClientResponse) -> bool:
        async for line in answer.content:
            if b'"seen"' in line:
                return True
        return False

    async with asyncio.timeout(60):
        assert all(await asyncio.gather(*map(sees, watches)))
    for each in watches:
        each.close()
