"""The records against a real API engine: DNS follows what is written there."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from fairlead.cluster.apiserver.bootstrap import create_first_objects
from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.http import start
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.cluster.apiserver.loopback import InProcessTransport
from fairlead.cluster.apiserver.pki import Pki
from fairlead.cluster.apiserver.store import MemoryLog
from fairlead.cluster.dns.answers import Question, Type, Zone, answer
from fairlead.cluster.dns.app import dns_app
from fairlead.cluster.dns.feeds import feed
from fairlead.cluster.dns.manifests import system_manifests
from fairlead.cluster.dns.messages import ask
from fairlead.cluster.dns.records import Records
from fairlead.drivers.kubeapi import KubeClient
from fairlead.kube.apps import Deployment
from fairlead.kube.core import Namespace, Service
from fairlead.kube.documents import Document
from fairlead.kube.resources import resource_of
from fairlead.net import parse_prefix


@pytest.fixture
async def server() -> ApiServer:
    server = ApiServer(MemoryLog(), KINDS, service_ranges=(parse_prefix("10.96.0.0/16"),))
    await create_first_objects(server, service_address="10.96.0.1", api_address="172.18.0.1", api_port=6443)
    return server


@pytest.fixture
async def client(server: ApiServer) -> KubeClient:
    return KubeClient(InProcessTransport(server))


@pytest.fixture
async def records(client: KubeClient) -> AsyncIterator[Records]:
    followed, filled = Records(), asyncio.Event()
    feeding = asyncio.create_task(feed(client, followed, filled))
    async with asyncio.timeout(5):
        await filled.wait()
    yield followed
    feeding.cancel()
    await asyncio.wait({feeding})


def addresses(records: Records, name: str) -> list[str]:
    reply = answer(Question(f"{name}.svc.cluster.local", Type.A), records, Zone())
    assert reply is not None
    return [str(record.data) for record in reply.answers]


async def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def service(name: str, address: str) -> Document:
    return {"metadata": {"name": name}, "spec": {"clusterIP": address, "ports": [{"port": 80}]}}


async def test_what_was_there_before_is_known(records: Records):
    assert addresses(records, "kubernetes.default") == ["10.96.0.1"]
    assert records.has_namespace("kube-system")


async def test_services_come_change_and_go(client: KubeClient, records: Records):
    await client.create_document(resource_of(Service), service("web", "10.96.0.77"), "default")
    await wait_for(lambda: addresses(records, "web.default") == ["10.96.0.77"])
    await client.delete(Service, "web", "default")
    await wait_for(lambda: addresses(records, "web.default") == [])


async def test_namespaces_come(client: KubeClient, records: Records):
    await client.create_document(resource_of(Namespace), {"metadata": {"name": "shop"}})
    await wait_for(lambda: records.has_namespace("shop"))


async def test_the_api_server_takes_our_own_manifests(client: KubeClient, records: Records):
    kinds = {"Service": resource_of(Service), "Deployment": resource_of(Deployment)}
    for document in system_manifests():
        await client.create_document(kinds[str(document["kind"])], document, "kube-system")
    await wait_for(lambda: addresses(records, "kube-dns.kube-system") == ["10.96.0.10"])


@pytest.mark.kernel
async def test_the_program_follows_the_server_its_kubeconfig_names(server: ApiServer, tmp_path: Path):
    pki, listener = Pki(tmp_path / "pki"), socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(pki.kubeconfig(url, "system:kube-proxy", ("system:nodes",)))
    runner = await start(server, [listener], pki.server_context(), {})
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    datagrams.bind(("127.0.0.1", 0))
    said: list[str] = []
    program = asyncio.create_task(dns_app(kubeconfig)(None, [(None, datagrams)], said.append))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as resolver:
        resolver.connect(datagrams.getsockname())
        await asyncio.get_running_loop().sock_sendall(
            resolver, ask(Question("kubernetes.default.svc.cluster.local", 1), 7)
        )
        async with asyncio.timeout(10):
            reply = await asyncio.get_running_loop().sock_recv(resolver, 512)
    assert reply.endswith(b"\x0a\x60\x00\x01")
    assert said == ["serving cluster.local"]
    program.cancel()
    await asyncio.wait({program})
    await runner.cleanup()
