"""Are exactly those UDP flows ended whose endpoint is gone?"""

import msgspec

from fairlead.agents.node.staleness import Answerers, stale_flows
from fairlead.compile.endpoints import compile_slice
from fairlead.compile.services import NodeFacts, compile_service, udp_backends
from fairlead.drivers.netlink.conntrack import TrackedFlow, parse_flow
from fairlead.kube.core import Service
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.documents import Document, Json
from fairlead.model import Backend, FrontendKey
from fairlead.net import Family, Port, Protocol, parse_address

VIP, POD, OTHER = "10.96.0.10", "10.244.1.2", "10.244.1.3"


def a_flow(destination: str, answerer: str, port: int = 53) -> TrackedFlow:
    return TrackedFlow(parse_address(destination), Port(port), parse_address(answerer), Port(53), b"")


ENDPOINTS = frozenset({Backend(parse_address(POD), Port(53))})
SERVING = Answerers({FrontendKey(parse_address(VIP), Protocol.UDP, Port(53)): ENDPOINTS}, {Port(30053): ENDPOINTS})


def test_a_flow_answered_by_a_serving_endpoint_stays() -> None:
    assert stale_flows(SERVING, [a_flow(VIP, POD)]) == []


def test_a_flow_answered_by_another_or_never_translated_goes() -> None:
    flows = [a_flow(VIP, OTHER), a_flow(VIP, VIP)]
    assert stale_flows(SERVING, flows) == flows


def test_a_node_port_counts_at_every_address() -> None:
    stale = a_flow("192.0.2.7", OTHER, port=30053)
    assert stale_flows(SERVING, [a_flow("192.0.2.7", POD, port=30053), stale]) == [stale]


def test_flows_to_what_is_no_frontend_stay() -> None:
    assert stale_flows(SERVING, [a_flow(VIP, OTHER, port=54), a_flow("10.96.0.11", OTHER)]) == []


def test_who_may_answer_ignores_traffic_policy_and_draining_and_leaves_out_services_without_endpoints() -> None:
    ports: list[Json] = [
        {"name": "dns", "port": 53, "nodePort": 30053, "protocol": "UDP"},
        {"name": "none", "port": 54, "protocol": "UDP"},
        {"name": "tcp", "port": 53, "protocol": "TCP"},
    ]
    spec: Document = {"clusterIP": VIP, "ports": ports, "internalTrafficPolicy": "Local"}
    service = msgspec.convert({"spec": spec}, Service)
    endpoints: list[Json] = [
        {"addresses": [POD], "nodeName": "away"},
        {"addresses": [OTHER], "conditions": {"ready": False, "serving": True, "terminating": True}},
        {"addresses": ["10.244.1.4"], "conditions": {"ready": False, "serving": False}},
    ]
    named: list[Json] = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "tcp", "port": 53, "protocol": "TCP"}]
    document: Document = {"addressType": "IPv4", "endpoints": endpoints, "ports": named}
    pieces = (compile_slice(msgspec.convert(document, EndpointSlice), "node-1"),)
    frontends, _ = compile_service(service, pieces, NodeFacts("node-1", (parse_address("172.18.0.2"),)))
    found = udp_backends(service, pieces, frontends)
    assert {(str(key.address), key.port) for key in found} == {(VIP, 53), ("172.18.0.2", 30053)}
    assert {str(each.address) for each in found[FrontendKey(parse_address(VIP), Protocol.UDP, Port(53))]} == {
        POD,
        OTHER,
    }


def attribute(kind: int, value: bytes) -> bytes:
    return (4 + len(value)).to_bytes(2, "little") + kind.to_bytes(2, "little") + value + bytes(-len(value) % 4)


def a_tuple(source: str, destination: str, protocol: int, source_port: int, destination_port: int) -> bytes:
    ip = attribute(1, parse_address(source).packed) + attribute(2, parse_address(destination).packed)
    ports = attribute(2, source_port.to_bytes(2, "big")) + attribute(3, destination_port.to_bytes(2, "big"))
    return attribute(0x8001, ip) + attribute(0x8002, attribute(1, bytes((protocol,))) + ports)


def test_a_listed_connection_is_read_and_other_protocols_are_passed_over() -> None:
    original = a_tuple("10.244.1.9", VIP, 17, 5001, 53)
    body = attribute(0x8001, original) + attribute(0x8002, a_tuple(POD, "10.244.1.9", 17, 5353, 5001))
    flow = parse_flow(body, Family.IPV4)
    assert flow is not None
    assert (str(flow.destination), flow.destination_port) == (VIP, 53)
    assert (str(flow.answerer), flow.answerer_port) == (POD, 5353)
    assert flow.token == attribute(0x8001, original)
    assert parse_flow(body.replace(bytes((17, 0, 0, 0)), bytes((6, 0, 0, 0))), Family.IPV4) is None
