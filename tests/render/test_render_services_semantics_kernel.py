"""Services as their authors write them, compiled, rendered and dialled: real connections between real namespaces."""

import re
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack

import msgspec
import pytest
from services_world import (
    CLIENT,
    EXTERNAL,
    LOCAL_1,
    LOCAL_2,
    NODE,
    PODS,
    REMOTE_1,
    REMOTE_2,
    SECONDS,
    SERVICES,
    VIP,
    Servers,
    World,
    make_world,
    refused_with,
    run_ip,
)

from fairlead.compile.endpoints import SliceEndpoints, compile_slice
from fairlead.compile.services import NodeFacts, compile_service
from fairlead.drivers.netns import entered
from fairlead.kube.core import Service
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.documents import Document, Json
from fairlead.net import Family, parse_address
from fairlead.nft.objects import TableFamily
from fairlead.render.services import ServiceRows

pytestmark = pytest.mark.kernel

FACTS = NodeFacts("node-1", (parse_address(NODE),), "zone-a")
NODES = {LOCAL_1: "node-1", LOCAL_2: "node-1", REMOTE_1: "node-2", REMOTE_2: "node-2"}
ZONES = {LOCAL_1: "zone-a", LOCAL_2: "zone-a", REMOTE_1: "zone-a", REMOTE_2: "zone-b"}
EVERYWHERE = (LOCAL_1, LOCAL_2, REMOTE_1, REMOTE_2)
EXTERNAL_IP = "203.0.113.77"
NODE_PORTS: Document = {"ports": [{"name": "http", "port": 80, "nodePort": 30080}]}


@pytest.fixture
def world() -> Iterator[World]:
    made = make_world()
    yield made
    made.close()


def a_slice(*addresses: str, nodes: bool = False, zones: bool = False) -> SliceEndpoints:
    """Ready endpoints, each with hints for its own node and zone where asked."""

    def hints(address: str) -> Document:
        for_nodes: Json = [{"name": NODES[address]}] if nodes else []
        for_zones: Json = [{"name": ZONES[address]}] if zones else []
        return {"hints": {"forNodes": for_nodes, "forZones": for_zones}} if nodes or zones else {}

    endpoints: list[Json] = [
        {"addresses": [address], "nodeName": NODES[address], **hints(address)} for address in addresses
    ]
    document: Document = {"addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 8080}]}
    return compile_slice(msgspec.convert(document, EndpointSlice), FACTS.name)


def program(world: World, piece: SliceEndpoints, spec: Document | None = None, **more: Json) -> None:
    """Program one Service, in place of what it was before."""
    whole: Document = {"clusterIP": VIP, "clusterIPs": [VIP], "ports": [{"name": "http", "port": 80}], **(spec or {})}
    document: Document = {"metadata": {"namespace": "shop", "name": "web"}, "spec": whole, **more}
    frontends, findings = compile_service(msgspec.convert(document, Service), (piece,), FACTS)
    assert findings == ()
    world.serve_only(*frontends)


@pytest.mark.parametrize(
    ("hints", "used"),
    [
        ({"nodes": True, "zones": True}, {LOCAL_1, LOCAL_2}),
        ({"zones": True}, {LOCAL_1, LOCAL_2, REMOTE_1}),
        ({}, set(EVERYWHERE)),
    ],
    ids=["PreferSameNode", "PreferSameZone", "no hints"],
)
def test_traffic_distribution_keeps_connections_near(world: World, hints: dict[str, bool], used: set[str]) -> None:
    program(world, a_slice(*EVERYWHERE, **hints))
    with ExitStack() as stack:
        servers = Servers(world, stack, *EVERYWHERE)
        assert {servers.connect(CLIENT)[0] for _ in range(80)} == used


def test_without_an_endpoint_near_connections_go_far(world: World) -> None:
    program(world, a_slice(REMOTE_2, nodes=True, zones=True))
    with ExitStack() as stack:
        assert Servers(world, stack, REMOTE_2).connect(CLIENT)[0] == REMOTE_2


LB: Document = {"loadBalancer": {"ingress": [{"ip": EXTERNAL}]}}


def lb_spec(*ranges: str) -> Document:
    written: list[Json] = [*ranges]
    return {"type": "LoadBalancer", "loadBalancerSourceRanges": written, "externalIPs": [EXTERNAL_IP], **NODE_PORTS}


def dials(world: World, source: str, address: str, port: int = 80) -> bool:
    return refused_with(world, source, address, port, seconds=0.3) == "connected"


def test_source_ranges_admit_clients_to_load_balancer_addresses_and_to_nothing_else(world: World) -> None:
    """1.5: dropped before DNAT for outside clients, local pods and the node; other frontends stay open."""
    with ExitStack() as stack:
        Servers(world, stack, REMOTE_1)
        everybody = (CLIENT, LOCAL_1, REMOTE_2, NODE)
        for ranges, admitted in (
            (["198.51.100.0/24"], {CLIENT}),
            ([" 10.244.0.0/16", "fd00::/8"], {LOCAL_1, REMOTE_2}),
            (["10.244.1.0/24", "10.244.1.0/25", "198.51.100.2/32"], {LOCAL_1, CLIENT}),
            (["10.0.0.0/8", "0.0.0.0/0"], set(everybody)),
            (["192.0.2.0/24"], set[str]()),
            ([], set(everybody)),
        ):
            program(world, a_slice(REMOTE_1), lb_spec(*ranges), status=LB)
            assert {each for each in everybody if dials(world, each, EXTERNAL)} == admitted
            assert dials(world, CLIENT, EXTERNAL_IP)
            assert dials(world, CLIENT, NODE, 30080)
            assert dials(world, CLIENT, VIP)


def test_a_node_in_the_source_ranges_may_come_from_the_load_balancer_address_it_holds(world: World) -> None:
    run_ip(world.node, f"address add {EXTERNAL}/32 dev lo")
    with ExitStack() as stack:
        Servers(world, stack, REMOTE_1)
        for ranges, reached in ((["172.18.0.0/16"], True), (["192.0.2.0/24"], False)):
            program(world, a_slice(REMOTE_1), lb_spec(*ranges), status=LB)
            assert dials(world, NODE, EXTERNAL) is reached


def sticky(seconds: int = 3600, **spec: Json) -> Document:
    return {
        "type": "LoadBalancer",
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}},
        **NODE_PORTS,
        **spec,
    }


def clients(world: World) -> str:
    with entered(world.node):
        return subprocess.run(["nft", "list", "ruleset"], text=True, check=True, capture_output=True).stdout


def test_a_client_stays_with_one_backend_at_all_frontends_of_a_port(world: World) -> None:
    """1.6: keyed by client address per service port, shared by its frontends."""
    program(world, a_slice(*EVERYWHERE), sticky(), status=LB)
    with ExitStack() as stack:
        servers = Servers(world, stack, *EVERYWHERE)
        frontends = ((VIP, 80), (NODE, 30080), (EXTERNAL, 80))
        chosen: set[str] = set()
        for source in (CLIENT, LOCAL_1, REMOTE_2, NODE):
            mine = {servers.connect(source, *frontends[number % 3])[0] for number in range(12)}
            assert len(mine) == 1, source
            chosen |= mine
        many = {servers.connect(f"198.51.100.{host}", VIP)[0] for host in extra_clients(world, 30)}
    assert many == set(EVERYWHERE)
    assert f". {LOCAL_1} timeout 1h" in clients(world)


def extra_clients(world: World, count: int) -> Iterator[int]:
    """Give the client's host more addresses, and yield the last numbers of these."""
    hosts = range(10, 10 + count)
    run_ip(world.hosts[CLIENT], *(f"address add 198.51.100.{host}/32 dev eth0" for host in hosts))
    run_ip(world.node, *(f"route add 198.51.100.{host} dev h4" for host in hosts))
    for host in hosts:
        world.aliases[f"198.51.100.{host}"] = CLIENT
        yield host


def test_affinity_ends_at_once_with_its_backend_and_survives_everything_else(world: World) -> None:
    """1.6: an endpoint that is not reachable any more ends the affinity; other changes, and a new agent, do not."""
    program(world, a_slice(LOCAL_1, REMOTE_1), sticky(), status=LB)
    with ExitStack() as stack:
        servers = Servers(world, stack, *EVERYWHERE)
        held, _ = servers.connect(CLIENT)
        for others in ((LOCAL_1, REMOTE_1, REMOTE_2), EVERYWHERE, (held,), (LOCAL_2, held), EVERYWHERE):
            program(world, a_slice(*others), sticky(), status=LB)
            assert {servers.connect(CLIENT)[0] for _ in range(8)} == {held}
        adopted = ServiceRows(Family.IPV4, PODS, SERVICES)
        adopted.replace(world.frontends)
        difference = adopted.adopt(world.nft.list_table(TableFamily.IP, "fairlead"))
        assert not difference
        world.rows = adopted
        program(world, a_slice(*EVERYWHERE), sticky(7200), status=LB)
        assert {servers.connect(CLIENT)[0] for _ in range(8)} == {held}
        rest = [each for each in EVERYWHERE if each != held]
        program(world, a_slice(*rest), sticky(), status=LB)
        new, _ = servers.connect(CLIENT)
        assert new in rest
        program(world, a_slice(*EVERYWHERE), sticky(), status=LB)
        assert {servers.connect(CLIENT, EXTERNAL)[0] for _ in range(8)} == {new}


def test_affinity_expires_after_its_time_and_every_new_connection_renews_it(world: World) -> None:
    program(world, a_slice(*EVERYWHERE), sticky(2))
    with ExitStack() as stack:
        servers = Servers(world, stack, *EVERYWHERE)
        held, _ = servers.connect(CLIENT)
        begun = time.monotonic()
        while time.monotonic() < begun + 3:
            assert servers.connect(CLIENT)[0] == held
            time.sleep(0.2)
        assert f". {CLIENT} timeout 2s" in clients(world)
        deadline = time.monotonic() + SECONDS
        while CLIENT in clients(world) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert CLIENT not in clients(world)
        drawn: set[str] = set()
        for _ in range(12):
            program(world, a_slice(*EVERYWHERE), {"sessionAffinity": "None"})
            program(world, a_slice(*EVERYWHERE), sticky(2))
            drawn.add(servers.connect(CLIENT)[0])
    assert len(drawn) > 1


def test_affinity_keeps_to_the_local_backends_where_a_policy_asks_for_these(world: World) -> None:
    """1.6: combined with external and internal traffic policy Local."""
    both = sticky(externalTrafficPolicy="Local", internalTrafficPolicy="Local")
    program(world, a_slice(*EVERYWHERE), both, status=LB)
    with ExitStack() as stack:
        servers = Servers(world, stack, *EVERYWHERE)
        for address, source in ((EXTERNAL, CLIENT), (NODE, REMOTE_2), (VIP, CLIENT)):
            port = 30080 if address == NODE else 80
            met = {servers.connect(source, address, port) for _ in range(10)}
            assert len(met) == 1
            assert met.pop()[0] in (LOCAL_1, LOCAL_2)
        inside = {servers.connect(LOCAL_1, EXTERNAL) for _ in range(10)}
        assert len(inside) == 1


def test_udp_clients_stay_too(world: World) -> None:
    spec = sticky(ports=[{"name": "http", "port": 53, "protocol": "UDP"}])
    document: Document = {
        "addressType": "IPv4",
        "endpoints": [{"addresses": [each], "nodeName": NODES[each]} for each in EVERYWHERE],
        "ports": [{"name": "http", "port": 8080, "protocol": "UDP"}],
    }
    program(world, compile_slice(msgspec.convert(document, EndpointSlice), FACTS.name), spec)
    with ExitStack() as stack:
        listeners: dict[str, socket.socket] = {}
        for each in EVERYWHERE:
            with entered(world.hosts[each]):
                listeners[each] = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            listeners[each].bind((each, 8080))
        for _ in range(12):
            with entered(world.hosts[CLIENT]):
                caller = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            caller.sendto(b"?", (VIP, 53))
        met = [each for each, listener in listeners.items() if select.select([listener], [], [], 0.2)[0]]
        assert len(met) == 1


def test_a_packet_that_leaves_carries_no_number(world: World) -> None:
    """The priority that carries a backend's number through the rules is none of those who queue packets."""
    program(world, a_slice(REMOTE_1), sticky())
    watch = """table ip watch {
        counter numbered { }
        counter seen { }
        chain leaving {
            type filter hook postrouting priority 200; tcp flags syn counter name seen
            meta priority & c000:0 == c000:0 counter name numbered
        }
    }"""
    with entered(world.node):
        subprocess.run(["nft", "-f", "-"], input=watch, text=True, check=True)
    with ExitStack() as stack:
        servers = Servers(world, stack, REMOTE_1)
        for source in (NODE, CLIENT, LOCAL_1):
            servers.connect(source)
    with entered(world.node):
        shown = subprocess.run(["nft", "list", "counters"], text=True, check=True, capture_output=True).stdout
    numbered, seen = (re.search(rf"counter {name} {{\s+packets (\d+)", shown) for name in ("numbered", "seen"))
    assert seen is not None
    assert int(seen[1]) >= 3
    assert numbered is not None
    assert int(numbered[1]) == 0
