"""Does the loop that gives addresses write what it decides, whatever the API server does, and only while it may?"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from fairlead.agents.events import Notice
from fairlead.agents.leases import LeaseName
from fairlead.agents.loadbalancer.allocation import Allocation, AllocationSettings
from fairlead.agents.loadbalancer.following import World
from fairlead.agents.loadbalancer.metrics import Metrics
from fairlead.agents.loadbalancer.program import allocate
from fairlead.cluster.apiserver.bootstrap import create_first_objects
from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.cluster.apiserver.log import SqliteLog
from fairlead.cluster.apiserver.loopback import InProcessTransport
from fairlead.drivers.kubeapi import ApiRequest, ApiResponse, KubeClient
from fairlead.kube.core import Service
from fairlead.kube.documents import Document
from fairlead.kube.resources import resource_of
from fairlead.net import parse_prefix

LEASE = LeaseName("metallb-system", "fairlead-load-balancer")


class Moody(InProcessTransport):
    """A way to the API server on which some writes of statuses fail."""

    failures = 0

    async def send(self, request: ApiRequest) -> ApiResponse:
        if self.failures and request.method == "PATCH" and request.path.endswith("/status"):
            self.failures -= 1
            return ApiResponse(500, {}, b'{"kind": "Status", "code": 500, "message": "not now"}')
        return await super().send(request)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    server = ApiServer(SqliteLog(tmp_path / "data.sqlite"), KINDS, service_ranges=(parse_prefix("10.96.0.0/16"),))
    await create_first_objects(server, service_address="10.96.0.1", api_address="172.18.0.1", api_port=6443)
    yield server
    server.close()


async def create(client: KubeClient, name: str) -> None:
    document: Document = {"metadata": {"name": name}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}
    await client.create_document(resource_of(Service), document, "default")


async def address(client: KubeClient, name: str) -> str:
    """The address a Service is given, waiting for it."""
    async with asyncio.timeout(10):
        while not (ingress := (await client.get(Service, name, "default")).status.load_balancer.ingress):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return ingress[0].ip


@asynccontextmanager
async def allocating(client: KubeClient, host: str = "", lease: LeaseName | None = None) -> AsyncGenerator[Allocation]:
    told: list[Notice] = []
    world = World("metallb-system")
    settings = AllocationSettings(default_addresses=("203.0.113.1-203.0.113.9",))
    allocation = Allocation(world, client, settings, told.append, time.time)

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            world.follow(client, tasks)
            tasks.create_task(allocate(allocation, client, lease, host))

    running = asyncio.create_task(run())
    try:
        yield allocation
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_a_status_that_could_not_be_written_is_written_later(server: ApiServer) -> None:
    transport = Moody(server)
    transport.failures = 2
    client = KubeClient(transport)
    async with allocating(client) as allocation:
        await create(client, "web")
        assert await address(client, "web") == "203.0.113.1"
        assert allocation.failed_updates >= 1
        page = await Metrics(allocation, None).page("/metrics")
        assert b"metallb_k8s_client_update_errors_total" in page.body
        assert b'metallb_allocator_services_allocated_total{pool="default"} 1' in page.body


async def test_what_somebody_wiped_from_a_status_is_written_again(server: ApiServer) -> None:
    client = KubeClient(InProcessTransport(server))
    async with allocating(client):
        await create(client, "web")
        given = await address(client, "web")
        nothing: Document = {"status": {"loadBalancer": {"ingress": None}}}
        await client.patch_document(resource_of(Service), "web", "default", nothing, subresource="status")
        assert await address(client, "web") == given


async def test_of_two_agents_one_gives_addresses_and_the_other_takes_over(server: ApiServer) -> None:
    client = KubeClient(InProcessTransport(server))
    async with allocating(client, "first", LEASE) as first:
        await create(client, "one")
        assert await address(client, "one") == "203.0.113.1"
        async with allocating(client, "second", LEASE) as second:
            await create(client, "two")
            assert await address(client, "two") == "203.0.113.2"
            assert (first.updates, second.updates) == (2, 0)
    async with allocating(client, "third", LEASE) as third:
        await create(client, "three")
        assert await address(client, "three") == "203.0.113.3"
        assert third.updates == 1, "what the others gave stays"
