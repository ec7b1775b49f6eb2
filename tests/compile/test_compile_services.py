"""Does a Service become the frontends that Kubernetes says it has?"""

import msgspec
import pytest

from fairlead.compile.endpoints import EndpointFacts, HintedEndpoint, SliceEndpoints, compile_slice
from fairlead.compile.services import NodeFacts, compile_service
from fairlead.kube.core import Service
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.documents import Document, Json
from fairlead.model import Affinity, Frontend, Masquerade, Refusal
from fairlead.net import Family, Protocol, parse_address

NODE = NodeFacts("node-1", (parse_address("172.18.0.2"),))


def a_service(spec: Document, **more: Json) -> Service:
    ports: list[Json] = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]
    whole: Document = {"type": "ClusterIP", "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "ports": ports}
    document: Document = {"metadata": {"namespace": "shop", "name": "web"}, "spec": {**whole, **spec}, **more}
    return msgspec.convert(document, Service)


def an_endpoint(address: str, node: str = "node-1", **conditions: bool) -> Json:
    known: Json = {**conditions}
    return {"addresses": [address], "nodeName": node, "conditions": known}


def a_slice(*endpoints: Json, port: int = 8080, name: str = "http", kind: str = "IPv4", protocol: str = "TCP"):
    ports: list[Json] = [{"name": name, "port": port, "protocol": protocol}]
    document: Document = {"addressType": kind, "endpoints": list(endpoints), "ports": ports}
    return compile_slice(msgspec.convert(document, EndpointSlice), "node-1")


def frontends(service: Service, *slices: SliceEndpoints, family: Family = Family.IPV4) -> dict[str, Frontend]:
    found, _ = compile_service(service, slices, NODE, family)
    return {f"{each.key.address}:{each.key.port}/{each.key.protocol.name}": each for each in found}


def backends(frontend: Frontend) -> list[str]:
    return [f"{each.address}:{each.port}" for each in frontend.backends]


CLUSTER_IP, NODE_PORT = "10.96.0.10:80/TCP", "172.18.0.2:30080/TCP"
NODE_PORTS: Document = {"ports": [{"name": "http", "port": 80, "nodePort": 30080}]}
NODE_PORT_SPEC: Document = {"type": "NodePort", **NODE_PORTS}


def test_a_cluster_ip_leads_to_the_ready_endpoints_of_every_node_in_order() -> None:
    found = frontends(a_service({}), a_slice(an_endpoint("10.244.2.3", "node-2"), an_endpoint("10.244.1.2")))
    assert list(found) == [CLUSTER_IP]
    assert backends(found[CLUSTER_IP]) == ["10.244.1.2:8080", "10.244.2.3:8080"]
    assert found[CLUSTER_IP].masquerade is Masquerade.UNLESS_LOCAL_POD
    assert str(found[CLUSTER_IP].origin) == "Service shop/web spec.ports[0].port"


def test_a_node_port_opens_on_the_node_and_is_always_masqueraded() -> None:
    found = frontends(a_service(NODE_PORT_SPEC), a_slice(an_endpoint("10.244.2.3", "node-2")))
    assert list(found) == [CLUSTER_IP, NODE_PORT]
    assert found[NODE_PORT].masquerade is Masquerade.ALWAYS
    assert backends(found[NODE_PORT]) == ["10.244.2.3:8080"]


@pytest.mark.parametrize(
    "service",
    [
        a_service({"clusterIP": "None", "clusterIPs": ["None"]}),
        a_service({"clusterIP": "", "clusterIPs": []}),
        a_service({"type": "ExternalName", "externalName": "x.example"}),
        a_service({}, metadata={"name": "web", "labels": {"service.kubernetes.io/service-proxy-name": "other"}}),
    ],
    ids=["headless", "unallocated", "external name", "another proxy"],
)
def test_services_without_a_virtual_ip_of_ours_have_no_frontend(service: Service) -> None:
    assert frontends(service, a_slice(an_endpoint("10.244.1.2"))) == {}


@pytest.mark.parametrize("protocol", ["TCP", "UDP", "SCTP"])
def test_every_protocol_is_carried_and_matches_slices_of_its_own_only(protocol: str) -> None:
    service = a_service({"ports": [{"name": "http", "port": 80, "protocol": protocol}]})
    other = "UDP" if protocol == "TCP" else "TCP"
    pieces = (
        a_slice(an_endpoint("10.244.1.2"), protocol=protocol),
        a_slice(an_endpoint("10.244.1.3"), protocol=other),
    )
    (found,) = frontends(service, *pieces).values()
    assert found.key.protocol is Protocol[protocol]
    assert backends(found) == ["10.244.1.2:8080"]


def test_slices_are_matched_by_port_name_and_may_differ_in_number() -> None:
    pieces = (
        a_slice(an_endpoint("10.244.1.2"), port=8080),
        a_slice(an_endpoint("10.244.1.3"), port=9090),
        a_slice(an_endpoint("10.244.1.4"), name="admin"),
    )
    assert backends(frontends(a_service({}), *pieces)[CLUSTER_IP]) == ["10.244.1.2:8080", "10.244.1.3:9090"]


def test_absent_conditions_mean_ready_and_a_slice_without_a_port_name_is_the_unnamed_port() -> None:
    document: Document = {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.244.1.2", "10.244.1.3"]}],
        "ports": [{"port": 8080}],
    }
    piece = compile_slice(msgspec.convert(document, EndpointSlice), "node-1")
    service = a_service({"ports": [{"port": 80}]})
    assert backends(frontends(service, piece)[CLUSTER_IP]) == ["10.244.1.2:8080"]


GONE = an_endpoint("10.244.1.9", ready=False, serving=False, terminating=True)
DRAINING = an_endpoint("10.244.1.8", ready=False, serving=True, terminating=True)
DRAINING_AWAY = an_endpoint("10.244.2.8", "node-2", ready=False, serving=True, terminating=True)
UNREADY = an_endpoint("10.244.1.7", ready=False, serving=False, terminating=False)
HERE = an_endpoint("10.244.1.2")
AWAY = an_endpoint("10.244.2.2", "node-2")


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        ([HERE, DRAINING], ["10.244.1.2:8080"]),
        ([DRAINING, GONE, UNREADY], ["10.244.1.8:8080"]),
        ([GONE, UNREADY], []),
    ],
    ids=["ready ones only", "draining ones when none is ready", "nothing else"],
)
def test_the_fallback_is_to_serving_and_terminating_endpoints(endpoints: list[Json], expected: list[str]) -> None:
    found = frontends(a_service({}), a_slice(*endpoints))[CLUSTER_IP]
    assert backends(found) == expected
    assert found.when_empty is Refusal.REJECT


@pytest.mark.parametrize("turned", [False, True])
def test_of_an_endpoint_in_two_slices_the_one_that_does_not_terminate_counts(turned: bool) -> None:
    here = an_endpoint("10.244.1.8", ready=True)
    pieces = [a_slice(DRAINING), a_slice(here)]
    found = frontends(a_service({}), *(reversed(pieces) if turned else pieces), a_slice(AWAY))[CLUSTER_IP]
    assert backends(found) == ["10.244.1.8:8080", "10.244.2.2:8080"]


@pytest.mark.parametrize(
    ("endpoints", "internal", "refusal"),
    [
        ([HERE, AWAY], ["10.244.1.2:8080"], None),
        ([DRAINING, AWAY], ["10.244.1.8:8080"], None),
        ([AWAY], [], Refusal.DROP),
        ([DRAINING_AWAY], [], Refusal.DROP),
        ([UNREADY], [], Refusal.REJECT),
        ([], [], Refusal.REJECT),
    ],
)
def test_policy_local_uses_local_endpoints_and_drops_when_only_others_have_some(
    endpoints: list[Json], internal: list[str], refusal: Refusal | None
) -> None:
    service = a_service({"internalTrafficPolicy": "Local", **NODE_PORT_SPEC})
    found = frontends(service, a_slice(*endpoints))
    assert backends(found[CLUSTER_IP]) == internal
    if refusal:
        assert found[CLUSTER_IP].when_empty is refusal
    other = frontends(a_service({"externalTrafficPolicy": "Local", **NODE_PORT_SPEC}), a_slice(*endpoints))
    assert backends(other[NODE_PORT]) == internal
    assert other[NODE_PORT].masquerade is Masquerade.NEVER
    everywhere = frontends(a_service({}), a_slice(*endpoints))
    assert backends(other[CLUSTER_IP]) == backends(everywhere[CLUSTER_IP])
    assert backends(found[NODE_PORT]) == backends(everywhere[CLUSTER_IP])


@pytest.mark.parametrize(
    "endpoints", [[HERE, AWAY], [DRAINING, AWAY], [AWAY], [DRAINING_AWAY], [DRAINING, DRAINING_AWAY]]
)
def test_under_external_policy_local_clients_inside_use_the_endpoints_of_the_whole_cluster(
    endpoints: list[Json],
) -> None:
    service = a_service(
        {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "externalIPs": ["198.51.100.9"], **NODE_PORTS},
        status={"loadBalancer": {"ingress": [{"ip": "203.0.113.5"}]}},
    )
    found = frontends(service, a_slice(*endpoints))
    everywhere = found.pop(CLUSTER_IP)
    assert everywhere.inside == ()
    assert list(found) == [NODE_PORT, "198.51.100.9:80/TCP", "203.0.113.5:80/TCP"]
    assert [each.inside for each in found.values()] == [everywhere.backends] * 3
    assert all(each.backends or each.when_empty is Refusal.DROP for each in found.values())


def test_under_external_policy_local_without_any_endpoint_everybody_is_rejected() -> None:
    found = frontends(a_service({"externalTrafficPolicy": "Local", **NODE_PORT_SPEC}), a_slice(UNREADY))
    assert (found[NODE_PORT].inside, found[NODE_PORT].when_empty) == ((), Refusal.REJECT)


def test_external_addresses_are_frontends_too() -> None:
    status: Document = {
        "loadBalancer": {
            "ingress": [
                {"ip": "203.0.113.5"},
                {"ip": "203.0.113.6", "ipMode": "Proxy"},
                {"hostname": "lb.example"},
                {"ip": "203.0.113.7", "ipMode": "VIP"},
            ]
        }
    }
    service = a_service({"type": "LoadBalancer", "externalIPs": ["198.51.100.9", "no address"]}, status=status)
    found = frontends(service, a_slice(HERE))
    assert list(found) == [CLUSTER_IP, "198.51.100.9:80/TCP", "203.0.113.5:80/TCP", "203.0.113.7:80/TCP"]
    assert found["203.0.113.7:80/TCP"].origin.field == "status.loadBalancer.ingress[3].ip"


def an_lb_service(*ranges: str, ingress: tuple[str, ...] = ("203.0.113.5",), **spec: Json) -> Service:
    written: Json = [*ranges]
    return a_service(
        {"type": "LoadBalancer", "loadBalancerSourceRanges": written, **NODE_PORTS, "externalIPs": ["1.1.1.1"], **spec},
        status={"loadBalancer": {"ingress": [{"ip": each} for each in ingress]}},
    )


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([], None),
        (["10.0.0.0/8"], "10.0.0.0-10.255.255.255"),
        ([" 10.0.0.0/8\t"], "10.0.0.0-10.255.255.255"),
        (["10.1.2.3/8"], "10.0.0.0-10.255.255.255"),
        (["10.0.1.0/24", "10.0.0.0/24", "10.0.0.7/32"], "10.0.0.0-10.0.1.255"),
        (["10.0.0.0/8", "0.0.0.0/0"], None),
        (["10.0.0.0/8", "::/0"], "10.0.0.0-10.255.255.255"),
        (["fd00::/8"], None),
        (["172.18.0.0/16"], "172.18.0.0-172.18.255.255 203.0.113.5-203.0.113.5"),
        (["what"], ""),
        (["what", "192.0.2.1/32"], "192.0.2.1-192.0.2.1"),
    ],
    ids=[
        "none is everybody",
        "a range",
        "white space is nothing",
        "bits behind the prefix are nothing",
        "ranges that touch or overlap are one",
        "a range of everything is everybody",
        "each family has its own",
        "a family without one is open",
        "where the node is inside its virtual addresses are too",
        "what is no range lets nobody in",
        "the others still count",
    ],
)
def test_source_ranges_limit_who_may_reach_load_balancer_addresses(ranges: list[str], expected: str | None) -> None:
    found, findings = compile_service(an_lb_service(*ranges), (a_slice(HERE),), NODE)
    limited = {str(each.key.address): each.sources for each in found}
    sources = limited.pop("203.0.113.5")
    assert set(limited.values()) == {None}
    assert expected == (None if sources is None else " ".join(f"{each.first}-{each.last}" for each in sources))
    assert [finding.origin.field for finding in findings] == (
        ["spec.loadBalancerSourceRanges[0]"] if "what" in ranges else []
    )


@pytest.mark.parametrize(
    ("config", "timeout"),
    [({}, 10800), ({"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}, 60)],
)
def test_session_affinity_is_one_for_all_frontends_of_a_port(config: Document, timeout: int) -> None:
    ports: list[Json] = [{"name": "http", "port": 80, "nodePort": 30080}, {"name": "admin", "port": 81}]
    service = a_service({"type": "NodePort", "sessionAffinity": "ClientIP", "ports": ports, **config})
    found = frontends(service, a_slice(HERE))
    expected = {
        CLUSTER_IP: Affinity(timeout, "shop/web/tcp/http"),
        NODE_PORT: Affinity(timeout, "shop/web/tcp/http"),
        "10.96.0.10:81/TCP": Affinity(timeout, "shop/web/tcp/admin"),
    }
    assert {key: each.affinity for key, each in found.items()} == expected


def a_hinted(address: str, node: str, zones: str = "", nodes: str = "", **conditions: bool) -> Json:
    hints: Document = {
        "forZones": [{"name": each} for each in zones.split()],
        "forNodes": [{"name": each} for each in nodes.split()],
    }
    known: Json = {**conditions}
    return {"addresses": [address], "nodeName": node, "conditions": known, "hints": hints}


MINE = a_hinted("10.244.1.2", "node-1", "a", "node-1")
NEAR = a_hinted("10.244.2.2", "node-2", "a", "node-2")
FAR = a_hinted("10.244.3.2", "node-3", "b", "node-3")
MINE_BY_ZONE = a_hinted("10.244.1.2", "node-1", "a")
NEAR_BY_ZONE = a_hinted("10.244.2.2", "node-2", "c a")
FAR_BY_ZONE = a_hinted("10.244.3.2", "node-3", "b")
FAR_DRAINING = a_hinted("10.244.3.8", "node-3", "b", ready=False, serving=True, terminating=True)


@pytest.mark.parametrize(
    ("endpoints", "zone", "expected"),
    [
        ([MINE, NEAR, FAR], "a", "1.2"),
        ([NEAR, FAR], "a", "2.2"),
        ([MINE_BY_ZONE, NEAR, FAR], "a", "1.2 2.2"),
        ([MINE_BY_ZONE, NEAR_BY_ZONE, FAR_BY_ZONE], "a", "1.2 2.2"),
        ([MINE_BY_ZONE, NEAR_BY_ZONE, FAR_BY_ZONE], "d", "1.2 2.2 3.2"),
        ([MINE_BY_ZONE, NEAR_BY_ZONE, FAR_BY_ZONE], "", "1.2 2.2 3.2"),
        ([MINE_BY_ZONE, AWAY, FAR_BY_ZONE], "a", "1.2 2.2 3.2"),
        ([MINE_BY_ZONE, FAR_DRAINING, UNREADY], "a", "1.2"),
        ([FAR_DRAINING], "a", "3.8"),
    ],
    ids=[
        "hints for nodes come first",
        "without one for this node hints for zones count",
        "hints for nodes count only where all have some",
        "hints for zones keep traffic in the zone",
        "without one for this zone all are used",
        "a node without a zone uses all",
        "hints count only where all ready endpoints have some",
        "endpoints that are not ready need no hints",
        "the fallback to draining ones knows no hints",
    ],
)
def test_topology_hints_choose_near_endpoints(endpoints: list[Json], zone: str, expected: str) -> None:
    node = NodeFacts("node-1", NODE.addresses, zone)
    service = a_service({"externalTrafficPolicy": "Local", **NODE_PORT_SPEC})
    found, _ = compile_service(service, (a_slice(*endpoints),), node)
    wanted = [f"10.244.{each}:8080" for each in expected.split()]
    assert backends(found[0]) == wanted
    assert [f"{each.address}:{each.port}" for each in found[1].inside] == wanted


def test_hints_do_not_count_among_the_endpoints_of_this_node() -> None:
    here = a_hinted("10.244.1.2", "node-1", "b", "node-2")
    also = a_hinted("10.244.1.3", "node-1", "a", "node-1")
    service = a_service({"internalTrafficPolicy": "Local"})
    found, _ = compile_service(service, (a_slice(here, also),), NodeFacts("node-1", (), "a"))
    assert backends(found[0]) == ["10.244.1.2:8080", "10.244.1.3:8080"]


def test_an_endpoint_without_hints_keeps_no_room_for_them_and_equal_hints_are_one() -> None:
    first, second = a_slice(MINE_BY_ZONE, HERE).endpoints, a_slice(a_hinted("10.244.1.9", "node-1", "a")).endpoints
    assert isinstance(first[0], HintedEndpoint)
    assert isinstance(second[0], HintedEndpoint)
    assert first[0].hints is second[0].hints
    assert type(first[1]) is EndpointFacts


def test_each_family_sees_its_own_addresses_and_slices() -> None:
    service = a_service({"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10", "fd00:10::a"]})
    pieces = (
        a_slice(HERE),
        a_slice(an_endpoint("fd00:1::2"), kind="IPv6"),
        a_slice(an_endpoint("x.example"), kind="FQDN"),
    )
    assert backends(frontends(service, *pieces)[CLUSTER_IP]) == ["10.244.1.2:8080"]
    (found,) = frontends(service, *pieces, family=Family.IPV6).values()
    assert str(found.key.address) == "fd00:10::a"
    assert backends(found) == ["fd00:1::2:8080"]


def test_an_endpoint_whose_address_is_none_is_left_out() -> None:
    piece = a_slice(an_endpoint("10.244.1"), an_endpoint("10.244.1.300"), an_endpoint("fd00::1"), HERE)
    assert backends(frontends(a_service({}), piece)[CLUSTER_IP]) == ["10.244.1.2:8080"]
