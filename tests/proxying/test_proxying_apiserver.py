"""The connectors behind the real API server: TLS, certificates and kubectl."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.http import start
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.cluster.apiserver.loopback import InProcessTransport
from fairlead.cluster.apiserver.pki import Pki
from fairlead.cluster.apiserver.proxying import ProxyConnector
from fairlead.cluster.apiserver.store import MemoryLog
from fairlead.drivers.kubeapi import KubeClient
from fairlead.kube.core import Namespace, Pod, Service
from fairlead.kube.documents import Document
from fairlead.kube.resources import resource_of
from fairlead.net import parse_prefix

PROXY = "/api/v1/namespaces/shop/services/web:http/proxy"


class Served(NamedTuple):
    url: str
    kubeconfig: Path
    tls: ssl.SSLContext


async def who(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Upgrade") == "websocket":
        talk = web.WebSocketResponse()
        await talk.prepare(request)
        async for message in talk:
            await talk.send_str(str(message.data)[::-1])
        return talk
    return web.Response(text=f"{request.method} {request.path_qs} {await request.text()}")


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", who)
    server = ApiServer(MemoryLog(), KINDS, service_ranges=(parse_prefix("10.96.0.0/16"),))
    behind: Document = {}

    def get(resource: str, namespace: str, name: str) -> Document | None:
        """The engine refuses Endpoints on loopback, where the test's server listens."""
        return behind if resource == "endpoints" else server.get(resource, namespace, name)

    pki, connector = Pki(tmp_path / "pki"), ProxyConnector(get)
    listener = socket_on_loopback()
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    runner = await start(server, [listener], pki.server_context(), {("services", "proxy"): connector})
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(pki.kubeconfig(url, "kubernetes-admin", ("system:masters",)))
    credential = pki.client("kubernetes-admin", ("system:masters",))
    for name, content in (("c.crt", credential.certificate), ("c.key", credential.key)):
        (tmp_path / name).write_bytes(content)
    tls = ssl.create_default_context(cadata=pki.authority.decode())
    tls.load_cert_chain(tmp_path / "c.crt", tmp_path / "c.key")
    async with TestServer(application) as pod:
        await write_objects(KubeClient(InProcessTransport(server)))
        behind = endpoints(pod.port or 0)
        yield Served(url, kubeconfig, tls)
    await connector.close()
    await runner.cleanup()


def socket_on_loopback() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    return listener


async def write_objects(client: KubeClient) -> None:
    """A service and its pod, which is the test's own HTTP server."""
    await client.create_document(resource_of(Namespace), {"metadata": {"name": "shop"}})
    spec: Document = {"ports": [{"name": "http", "port": 80}]}
    await client.create_document(resource_of(Service), {"metadata": {"name": "web"}, "spec": spec}, "shop")
    pod: Document = {"metadata": {"name": "web-1"}, "spec": {"containers": [{"name": "a", "image": "b"}]}}
    await client.create_document(resource_of(Pod), pod, "shop")
    status: Document = {"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}}
    await client.patch_document(resource_of(Pod), "web-1", "shop", status, subresource="status")


def endpoints(port: int) -> Document:
    subset: Document = {
        "addresses": [{"ip": "127.0.0.1", "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-1"}}],
        "ports": [{"name": "http", "port": port}],
    }
    return {"subsets": [subset]}


async def test_a_request_passes(served: Served):
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{served.url}{PROXY}/a?b=c", data="body", ssl=served.tls) as answer:
            assert (answer.status, await answer.text()) == (200, "POST /a?b=c body")
        async with session.get(f"{served.url}{PROXY}/again", ssl=served.tls) as answer:
            assert await answer.text() == "GET /again "


async def test_a_websocket_passes_through_tls(served: Served):
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{served.url}{PROXY}/ws", ssl=served.tls) as talk:
            for word in ("one", "x" * 300_000):
                await talk.send_str(word)
                assert await talk.receive_str(timeout=5) == word[::-1]
        async with session.get(f"{served.url}{PROXY}/after", ssl=served.tls) as answer:
            assert await answer.text() == "GET /after "


async def test_without_a_certificate_nothing_passes(served: Served):
    anonymous = ssl.create_default_context()
    anonymous.check_hostname, anonymous.verify_mode = False, ssl.CERT_NONE
    async with aiohttp.ClientSession() as session, session.get(f"{served.url}{PROXY}/", ssl=anonymous) as answer:
        assert answer.status == 403


@pytest.mark.kubectl
async def test_kubectl_raw(served: Served):
    command = ["kubectl", f"--kubeconfig={served.kubeconfig}", "get", "--raw", f"{PROXY}/hello"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "GET /hello "), done.stderr


@pytest.mark.kubectl
async def test_kubectl_proxy_passes_requests_and_websockets(served: Served):
    command = ["kubectl", f"--kubeconfig={served.kubeconfig}", "proxy", "--port=0"]
    kubectl = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert kubectl.stdout is not None
    line = (await kubectl.stdout.readline()).decode()
    here = "http://" + line.strip().rpartition(" ")[2]
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{here}{PROXY}/hello?x=1") as answer:
            assert await answer.text() == "GET /hello?x=1 "
        async with session.ws_connect(f"{here}{PROXY}/ws") as talk:
            await talk.send_str("word")
            assert await talk.receive_str(timeout=5) == "drow"
    kubectl.terminate()
    await kubectl.wait()
