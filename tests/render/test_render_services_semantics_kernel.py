"""Services as their authors write them, compiled, rendered and dialled: real connections between real namespaces."""

from collections.abc import Iterator
from contextlib import ExitStack

import msgspec
import pytest
from services_world import CLIENT, LOCAL_1, LOCAL_2, NODE, REMOTE_1, REMOTE_2, VIP, Servers, World, make_world

from fairlead.compile.endpoints import SliceEndpoints, compile_slice
from fairlead.compile.services import NodeFacts, compile_service
from fairlead.kube.core import Service
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.documents import Document, Json
from fairlead.net import parse_address

pytestmark = pytest.mark.kernel

FACTS = NodeFacts("node-1", (parse_address(NODE),), "zone-a")
NODES = {LOCAL_1: "node-1", LOCAL_2: "node-1", REMOTE_1: "node-2", REMOTE_2: "node-2"}
ZONES = {LOCAL_1: "zone-a", LOCAL_2: "zone-a", REMOTE_1: "zone-a", REMOTE_2: "zone-b"}
EVERYWHERE = (LOCAL_1, LOCAL_2, REMOTE_1, REMOTE_2)


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
    world.serve(*frontends)


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
