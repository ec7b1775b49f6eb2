"""Do load balancers and probes get the answers kube-proxy gives?"""

import asyncio
import socket
from collections.abc import AsyncIterator

import msgspec
import pytest
from agent_objects import a_node, a_service, a_slice
from msgspec.structs import replace

from fairlead.agents.events import Notice
from fairlead.agents.node.health import LATE_SECONDS, ProxyHealth
from fairlead.agents.node.healthchecks import HealthChecks, health_check_page, health_check_port
from fairlead.agents.node.metrics import PROGRAMMING_BUCKETS, SYNC_BUCKETS, Counts, Histogram, exposition
from fairlead.agents.node.objects import ServiceObjects
from fairlead.agents.pages import NOT_FOUND, Binding, Page, parse_binding, serve
from fairlead.drivers.kubeapi import Applied, Deleted, Replaced
from fairlead.kube.core import Node, Service, Taint
from fairlead.net import Family

NOW = 1_800_000_000.0


def body_of(page: Page) -> dict[str, object]:
    return msgspec.json.decode(page.body, type=dict[str, object])


def a_proxy() -> ProxyHealth:
    health = ProxyHealth()
    health.queued(Family.IPV4, NOW)
    health.updated(Family.IPV4, NOW + 1)
    return health


def test_a_proxy_that_keeps_up_is_healthy_and_says_so_in_kube_proxys_words() -> None:
    page = a_proxy().page("/healthz", NOW + 5)
    assert (page.status, page.content_type) == (200, "application/json")
    assert body_of(page) == {
        "lastUpdated": "2027-01-15T08:00:05Z",
        "currentTime": "2027-01-15T08:00:05Z",
        "nodeEligible": True,
        "healthy": True,
        "status": {"IPv4": {"lastUpdated": "2027-01-15T08:00:05Z", "healthy": True}},
    }
    assert "nodeEligible" not in body_of(a_proxy().page("/livez", NOW))
    assert a_proxy().page("/", NOW) is NOT_FOUND


def test_a_proxy_that_has_just_started_is_healthy() -> None:
    assert ProxyHealth().page("/healthz", NOW).status == 200


def test_an_update_that_waits_for_too_long_is_an_illness_until_it_is_programmed() -> None:
    health = a_proxy()
    health.queued(Family.IPV4, NOW + 10)
    health.queued(Family.IPV4, NOW + 50)
    assert health.page("/livez", NOW + 9 + LATE_SECONDS).status == 200
    late = health.page("/livez", NOW + 10 + LATE_SECONDS)
    assert late.status == 503
    assert body_of(late)["healthy"] is False
    assert body_of(late)["lastUpdated"] == "2027-01-15T08:00:01Z"
    health.updated(Family.IPV4, NOW + 71)
    assert health.page("/livez", NOW + 71).status == 200


def test_one_late_family_is_enough() -> None:
    health = a_proxy()
    health.queued(Family.IPV6, NOW)
    health.updated(Family.IPV6, NOW)
    health.queued(Family.IPV6, NOW + 1)
    status = body_of(health.page("/healthz", NOW + 1 + LATE_SECONDS))["status"]
    assert isinstance(status, dict)
    assert {name: each["healthy"] for name, each in status.items()} == {"IPv4": True, "IPv6": False}


@pytest.mark.parametrize("going", ["deleted", "being deleted", "scaled down"])
def test_a_node_that_goes_gets_no_new_connections_and_its_proxy_lives(going: str) -> None:
    node: Node | None = a_node()
    assert node is not None
    health = a_proxy()
    health.node(node)
    assert health.page("/healthz", NOW).status == 200
    match going:
        case "deleted":
            node = None
        case "being deleted":
            node = replace(node, metadata=replace(node.metadata, deletion_timestamp="2027-01-15T08:00:00Z"))
        case _:
            taint = Taint(key="ToBeDeletedByClusterAutoscaler", effect="NoSchedule")
            node = replace(node, spec=replace(node.spec, taints=(taint,)))
    health.node(node)
    page = health.page("/healthz", NOW)
    assert page.status == 503
    assert body_of(page)["nodeEligible"] is False
    assert body_of(page)["healthy"] is True
    assert health.page("/livez", NOW).status == 200


def test_where_to_listen_is_read_as_go_writes_it() -> None:
    assert parse_binding("0.0.0.0:10256") == Binding("0.0.0.0", 10256)
    assert parse_binding("[::]:10256") == Binding("::", 10256)
    assert parse_binding(":10256") == Binding("", 10256)
    assert parse_binding("") is None
    for text in ("10256", "::1:10256", "[::1]", "host:port", "a:70000"):
        with pytest.raises(ValueError, match="no address"):
            parse_binding(text)


def test_buckets_are_kube_proxys() -> None:
    assert SYNC_BUCKETS[0] == 0.001
    assert SYNC_BUCKETS[-1] == pytest.approx(16.384)
    assert len(PROGRAMMING_BUCKETS) == 2 + 59 + 12 + 7
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(value)
    assert histogram.cumulative() == [("1.0", 2), ("2.0", 3), ("+Inf", 4)]


def test_metrics_have_kube_proxys_names() -> None:
    counts = Counts()
    counts.family(Family.IPV4).syncs.observe(0.01)
    counts.family(Family.IPV4).failures = 3
    counts.service_changes, counts.endpoint_changes_pending = 7, 2
    counts.answered("healthz", 503)
    counts.synced("policy", 0.5)
    text, kind = exposition(counts)
    lines = text.decode().splitlines()
    assert kind.startswith("text/plain")
    for line in (
        'kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"} 1.0',
        'kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family="IPv4"} 3.0',
        "kubeproxy_sync_proxy_rules_service_changes_total 7.0",
        "kubeproxy_sync_proxy_rules_endpoint_changes_pending 2.0",
        'kubeproxy_proxy_healthz_total{code="503"} 1.0',
        'kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv4",traffic_policy="internal"} 0.0',
        'fairlead_table_sync_duration_seconds_count{table="policy"} 1.0',
    ):
        assert line in lines
    for name in ("full", "partial"):
        assert f'kubeproxy_sync_{name}_proxy_rules_duration_seconds_sum{{ip_family="IPv4"}} 0.0' in lines


async def ask(port: int, path: str = "/", method: str = "GET") -> tuple[str, dict[str, str], bytes]:
    """Status line, headers and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return status, dict(line.split(": ", 1) for line in lines), body


async def test_a_page_is_answered_and_other_methods_are_not() -> None:
    async def pages(path: str) -> Page:
        return Page(path.encode())

    (server,) = await serve([Binding("127.0.0.1", 0)], pages)
    port = server.sockets[0].getsockname()[1]
    status, headers, body = await ask(port, "/a?b=c")
    assert (status, headers["Content-Length"], body) == ("HTTP/1.1 200 OK", "2", b"/a")
    assert (await ask(port, "/a", "HEAD"))[2] == b""
    assert (await ask(port, "/a", "POST"))[0] == "HTTP/1.1 405 Method Not Allowed"
    server.close()


def a_balanced_service(port: int, *, policy: str = "Local", kind: str = "LoadBalancer") -> Service:
    service = a_service("web", "10.96.0.10")
    spec = replace(service.spec, type=kind, external_traffic_policy=policy, health_check_node_port=port)
    return replace(service, spec=spec)


def test_only_balanced_services_with_policy_local_are_asked_for() -> None:
    assert health_check_port(a_balanced_service(30001)) == 30001
    assert health_check_port(a_balanced_service(30001, policy="Cluster")) == 0
    assert health_check_port(a_balanced_service(30001, kind="NodePort")) == 0
    assert health_check_port(None) == 0


@pytest.mark.parametrize(("local", "healthy", "status"), [(2, True, 200), (0, True, 503), (2, False, 503)])
def test_a_node_without_endpoints_or_with_a_late_proxy_answers_503(local: int, healthy: bool, status: int) -> None:
    page = health_check_page(("shop", "web"), local, proxy_healthy=healthy)
    assert page.status == status
    assert body_of(page) == {
        "service": {"namespace": "shop", "name": "web"},
        "localEndpoints": local,
        "serviceProxyHealthy": healthy,
    }
    assert dict(page.headers) == {
        "X-Content-Type-Options": "nosniff",
        "X-Load-Balancing-Endpoint-Weight": str(local),
    }


class Node1:
    """The health checks of a node whose address is loopback."""

    def __init__(self) -> None:
        self.objects = ServiceObjects("node-1")
        self.said: list[Notice] = []
        self.healthy = True
        self.checks = HealthChecks(self.objects, lambda: self.healthy, self.said.append, "node-1")
        self.running = asyncio.create_task(self.checks.run())
        self.objects.take_nodes(Replaced((a_node("127.0.0.1"),)))

    def endpoints(self, *local: str) -> None:
        piece = a_slice("web-1", "web", *local, "10.244.9.9")
        here = tuple(
            replace(each, node_name="node-1" if each.addresses[0] in local else "node-2") for each in piece.endpoints
        )
        self.objects.take_slices(Applied(self.objects.keep_slice(replace(piece, endpoints=here))))

    async def status(self, port: int) -> str:
        """The status, or "refused", once it is another than before or a moment has passed."""
        try:
            return (await ask(port))[0].split(" ", 1)[1]
        except ConnectionError:
            return "refused"

    async def becomes(self, port: int, status: str) -> None:
        async with asyncio.timeout(10):
            while True:
                if await self.status(port) == status:
                    return
                await asyncio.sleep(0.005)

    async def becomes_said(self) -> None:
        async with asyncio.timeout(10):
            while True:
                if self.said:
                    return
                await asyncio.sleep(0.005)


@pytest.fixture
async def node() -> AsyncIterator[Node1]:
    node = Node1()
    yield node
    node.running.cancel()
    node.checks.close()


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


async def test_the_port_of_a_balanced_service_follows_its_ready_endpoints_on_the_node(node: Node1) -> None:
    port = a_free_port()
    node.objects.take_services(Applied(a_balanced_service(port)))
    await node.becomes(port, "503 Service Unavailable")
    node.endpoints("10.244.1.2", "10.244.1.3")
    assert await node.status(port) == "200 OK"
    _, headers, _ = await ask(port, "/any/path")
    assert headers["X-Load-Balancing-Endpoint-Weight"] == "2"
    node.healthy = False
    assert await node.status(port) == "503 Service Unavailable"
    node.healthy = True
    node.endpoints()
    assert await node.status(port) == "503 Service Unavailable"
    another = a_free_port()
    node.objects.take_services(Applied(a_balanced_service(another)))
    await node.becomes(another, "503 Service Unavailable")
    assert await node.status(port) == "refused"
    node.objects.take_services(Deleted(a_balanced_service(another)))
    await node.becomes(another, "refused")


async def test_a_port_that_somebody_else_has_is_told_as_an_event(node: Node1) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        node.objects.take_services(Applied(a_balanced_service(port)))
        await node.becomes_said()
    (notice,) = node.said
    assert (notice.reason, notice.about.name) == ("FailedToStartServiceHealthcheck", "web")
    assert f"on port {port}" in notice.message
    node.objects.take_services(Applied(a_balanced_service(port)))
    await node.becomes(port, "503 Service Unavailable")
