"""The proxy subresource against a real HTTP server: what arrives there, and what comes back."""

import asyncio
import gzip
import socket
import zlib
from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from fairlead.cluster.apiserver.proxying import ProxyConnector
from fairlead.kube.documents import Document

BASE = "/api/v1/namespaces/shop/services"
PAGE = b'<a href="/about">\xe4</a><img src=/logo.png><a href="next">'
REWRITTEN = (
    b'<a href="/api/v1/namespaces/shop/services/web:http/proxy/about">\xe4</a>'
    b'<img src="/api/v1/namespaces/shop/services/web:http/proxy/logo.png"><a href="next">'
)


class Target(NamedTuple):
    resource: str
    namespace: str
    name: str


class Cluster(NamedTuple):
    client: TestClient[web.Request, web.Application]
    objects: dict[tuple[str, str, str], Document]


async def show(request: web.Request) -> web.Response:
    body = await request.read()
    headers = [[key, value] for key, value in request.headers.items()]
    shown = {"method": request.method, "path": request.raw_path, "headers": headers, "body": body.decode()}
    return web.json_response(shown, headers={"Access-Control-Allow-Origin": "*", "X-Own": "kept"})


async def page(request: web.Request) -> web.Response:
    encodings = {
        "gzip": gzip.compress(PAGE),
        "deflate": zlib.compress(PAGE),
        "br": b"not touched",
    }
    encoding = request.query.get("encoding", "")
    headers = {"Content-Type": "text/html; charset=latin-1"}
    if encoding:
        headers["Content-Encoding"] = encoding
    return web.Response(body=encodings.get(encoding, PAGE), headers=headers)


async def redirect(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": request.query["to"]})


async def drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    async for piece in request.content.iter_any():
        await response.write(piece.upper())
    return response


async def websocket(request: web.Request) -> web.WebSocketResponse:
    socket_ = web.WebSocketResponse()
    await socket_.prepare(request)
    async for message in socket_:
        await socket_.send_str(f"echo {message.data}")
    return socket_


async def torn(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"half")
    assert request.transport is not None
    request.transport.abort()
    return response


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    application = web.Application()
    routes = [("/page", page), ("/redirect", redirect), ("/drip", drip), ("/ws", websocket), ("/torn", torn)]
    for path, serve in [*routes, ("/{rest:.*}", show)]:
        application.router.add_route("*", path, serve)
    objects: dict[tuple[str, str, str], Document] = {}
    connector = ProxyConnector(lambda resource, namespace, name: objects.get((resource, namespace, name)))

    async def connect(request: web.Request) -> web.StreamResponse:
        parts = request.path.split("/")
        return await connector(request, Target(parts[5], parts[4], parts[6]))

    front = web.Application()
    front.router.add_route("*", "/api/v1/namespaces/{rest:.*}", connect)
    async with TestServer(application) as pod, TestClient(TestServer(front)) as client:
        objects["services", "shop", "web"] = {"spec": {"ports": [{"name": "http", "port": 80}]}}
        objects["endpoints", "shop", "web"] = endpoints("127.0.0.1", pod.port or 0)
        objects["pods", "shop", "web-1"] = {"status": {"podIPs": [{"ip": "127.0.0.1"}]}}
        yield Cluster(client, objects)
        await connector.close()


def endpoints(ip: str, port: int) -> Document:
    address: Document = {"ip": ip, "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-1"}}
    return {"subsets": [{"addresses": [address], "ports": [{"name": "http", "port": port}]}]}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_every_method_arrives_with_its_body(cluster: Cluster, method: str):
    sent = None if method == "GET" else "some body"
    async with cluster.client.request(method, f"{BASE}/web:http/proxy/a%2Fb/?x=1&y=%20", data=sent) as answer:
        seen = await answer.json()
    assert (seen["method"], seen["path"], seen["body"]) == (method, "/a%2Fb/?x=1&y=%20", sent or "")
    assert answer.headers["X-Own"] == "kept"
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_compressed_body_arrives_readable(cluster: Cluster):
    sent = gzip.compress(b"some body")
    headers = {"Content-Encoding": "gzip"}
    async with cluster.client.post(f"{BASE}/web:http/proxy/", data=sent, headers=headers) as answer:
        seen = await answer.json()
    assert seen["body"] == "some body"


async def test_head_has_no_body(cluster: Cluster):
    async with cluster.client.head(f"{BASE}/web:http/proxy/page") as answer:
        assert (answer.status, answer.content_type, await answer.read()) == (200, "text/html", b"")


async def test_headers_say_who_asked_and_secrets_stay(cluster: Cluster):
    sent = {
        "Authorization": "Bearer secret",
        "X-Forwarded-For": "9.9.9.9",
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "1",
    }
    async with cluster.client.get(f"{BASE}/web:http/proxy/who", headers={**sent, "Host": "shop.example"}) as answer:
        headers = dict((await answer.json())["headers"])
    assert headers["X-Forwarded-For"] == "9.9.9.9, 127.0.0.1"
    assert headers["X-Forwarded-Uri"] == f"{BASE}/web:http/proxy/who"
    assert headers["X-Forwarded-Host"] == headers["Host"] == "shop.example"
    assert headers["X-Forwarded-Proto"] == "http"
    assert not {"Authorization", "X-Hop"} & set(headers)


async def test_without_a_slash_the_client_is_sent_to_the_one_with(cluster: Cluster):
    async with cluster.client.get(f"{BASE}/web:80/proxy?q=1", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (301, f"{BASE}/web:80/proxy/?q=1")
    async with cluster.client.post(f"{BASE}/web:80/proxy?q=1") as answer:
        assert (await answer.json())["path"] == "/?q=1"


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
async def test_links_of_a_page_lead_back_through_the_proxy(cluster: Cluster, encoding: str):
    async with cluster.client.get(f"{BASE}/web:http/proxy/page?encoding={encoding}") as answer:
        assert await answer.read() == REWRITTEN


async def test_an_encoding_that_is_not_known_passes_as_it_is(cluster: Cluster):
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        url = cluster.client.make_url(f"{BASE}/web:http/proxy/page?encoding=br")
        async with session.get(url) as answer:
            assert (answer.headers["Content-Encoding"], await answer.read()) == ("br", b"not touched")


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("/login", f"{BASE}/web:http/proxy/login"),
        ("/login/?a=/b", f"{BASE}/web:http/proxy/login/?a=/b"),
        ("deeper", "deeper"),
        ("http://elsewhere.example/x", "http://elsewhere.example/x"),
        (f"{BASE}/web:http/proxy/there", f"{BASE}/web:http/proxy/there"),
    ],
)
async def test_redirects_are_led_back_and_not_followed(cluster: Cluster, to: str, expected: str):
    url = f"{BASE}/web:http/proxy/redirect"
    async with cluster.client.get(url, params={"to": to}, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, expected)


async def test_bodies_stream_both_ways(cluster: Cluster):
    go_on = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await go_on.wait()
        yield b"second"

    async with cluster.client.post(f"{BASE}/web:http/proxy/drip", data=pieces()) as answer:
        assert await answer.content.readany() == b"FIRST"  # before the request has ended
        go_on.set()
        assert await answer.content.read() == b"SECOND"


async def test_an_answer_cut_short_is_cut_short_for_the_client(cluster: Cluster):
    async with cluster.client.get(f"{BASE}/web:http/proxy/torn") as answer:
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_websockets_pass(cluster: Cluster):
    async with cluster.client.ws_connect(f"{BASE}/web:http/proxy/ws") as talk:
        for word in ("one", "two"):
            await talk.send_str(word)
            assert (await talk.receive_str(timeout=5)) == f"echo {word}"


async def test_any_upgrade_is_spliced_byte_for_byte(cluster: Cluster):
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: X/1\r\n\r\nhello")
        while piece := await reader.read(100):
            writer.write(piece[::-1])
        writer.write(b"bye")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    cluster.objects["endpoints", "shop", "web"] = endpoints("127.0.0.1", server.sockets[0].getsockname()[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.client.port)
    writer.write(
        f"POST {BASE}/web:http/proxy/up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: X/1\r\n\r\n".encode()
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    assert await reader.readexactly(5) == b"hello"
    writer.write(b"\0GET / HTTP/9\r\n\r\n")
    assert await reader.readexactly(17) == b"\n\r\n\r9/PTTH / TEG\0"
    writer.write_eof()
    assert await reader.read() == b"bye"
    assert heads[0].startswith(b"POST /up HTTP/1.1\r\n")
    assert b"X-Forwarded-For: 127.0.0.1\r\n" in heads[0]
    writer.close()
    server.close()


async def test_an_upgrade_that_is_refused_is_answered(cluster: Cluster):
    ask = {"Connection": "Upgrade", "Upgrade": "X/1"}
    async with cluster.client.get(f"{BASE}/web:http/proxy/plain", headers=ask) as answer:
        status = await answer.json()
    assert (answer.status, "invalid upgrade response: status code 200" in status["message"]) == (500, True)


async def test_nobody_listening_is_told(cluster: Cluster):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        cluster.objects["endpoints", "shop", "web"] = endpoints("127.0.0.1", port)
        async with cluster.client.get(f"{BASE}/web:http/proxy/") as answer:
            status = await answer.json()
    assert (answer.status, status["reason"]) == (503, "ServiceUnavailable")
    expected = f"error trying to reach service: dial tcp 127.0.0.1:{port}: connect: connection refused"
    assert status["message"] == expected


async def test_refusals_are_statuses(cluster: Cluster):
    async with cluster.client.get(f"{BASE}/web:99/proxy/") as answer:
        status = await answer.json()
    assert (answer.status, status["kind"], status["message"]) == (
        503,
        "Status",
        'no service port 99 found for service "web"',
    )
