"""Is the rule right: pools, wishes, providers and the frontends of the load-balancer host, from objects alone."""

from typing import Any

import msgspec
import pytest
from book_cases import pool, texts

from fairlead.compile.external import NodeState, Outside, Target, answering, compile_external, compile_target
from fairlead.compile.loadbalancers import allocation_of, compile_wish, is_ours
from fairlead.compile.pools import compile_pools, parse_range, spell_range
from fairlead.kube.core import Node, Service
from fairlead.kube.metallb import BGPAdvertisement, IPAddressPool, L2Advertisement
from fairlead.model import Masquerade
from fairlead.model.loadbalancers import Provider
from fairlead.net import Family, parse_address

OUTSIDE = Outside(addresses=(parse_address("172.18.255.2"),), answers_return=True)


def a_pool(name: str, *addresses: str, **spec: Any) -> IPAddressPool:
    document = {"metadata": {"name": name, "labels": {"zone": name}}, "spec": {"addresses": addresses, **spec}}
    return msgspec.convert(document, IPAddressPool)


def a_service(annotations: dict[str, str] | None = None, ips: tuple[str, ...] = (), **spec: Any) -> Service:
    ports = [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]
    status = {"loadBalancer": {"ingress": [{"ip": each} for each in ips]}}
    whole = {"type": "LoadBalancer", "ports": ports, "ipFamilies": ["IPv4"], "selector": {"app": "web"}, **spec}
    metadata = {"name": "web", "namespace": "default", "annotations": annotations or {}, "labels": {"tier": "front"}}
    return msgspec.convert({"metadata": metadata, "spec": whole, "status": status}, Service)


def a_node(name: str, address: str, *, ready: str = "True", **more: Any) -> Node:
    status = {
        "conditions": [{"type": "Ready", "status": ready}],
        "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
    }
    metadata = {"name": name, "labels": more.pop("labels", {})}
    return msgspec.convert({"metadata": metadata, "spec": more, "status": status}, Node)


def messages(*pools: IPAddressPool) -> list[str]:
    return [finding.message for finding in compile_pools(pools)[1]]


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("203.0.113.0/30", "203.0.113.0-203.0.113.3"),
        ("203.0.113.9/30", "203.0.113.8-203.0.113.11"),
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.1 - 203.0.113.5 ", "203.0.113.1-203.0.113.5"),
        ("2001:db8::/127", "2001:db8::-2001:db8::1"),
    ],
)
def test_a_range_is_a_prefix_or_two_ends(text: str, spelled: str) -> None:
    assert spell_range(parse_range(text)) == spelled


@pytest.mark.parametrize(
    "text", ["", "x", "203.0.113.0/33", "203.0.113.5-203.0.113.1", "203.0.113.1-2001:db8::1", "1-2-3"]
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no prefix|ends before|different families"):
        parse_range(text)


def test_ranges_of_one_pool_are_joined() -> None:
    (found,), findings = compile_pools([a_pool("a", "203.0.113.4-203.0.113.9", "203.0.113.0/29", "2001:db8::1")])
    assert not findings
    assert [spell_range(each) for each in found.ranges] == ["203.0.113.0-203.0.113.9", "2001:db8::1"]


def test_overlapping_pools_are_refused_by_name() -> None:
    wide, inside, apart = a_pool("a", "203.0.113.0/24"), a_pool("b", "203.0.113.8/31"), a_pool("c", "203.0.114.0/24")
    assert messages(wide, apart) == []
    assert messages(inside, wide, apart) == [
        "203.0.113.8-203.0.113.9 overlaps with 203.0.113.0-203.0.113.255 of the pool a"
    ]


def test_two_pools_inside_a_wide_one_are_both_named() -> None:
    assert len(messages(a_pool("a", "10.0.0.0/8"), a_pool("b", "10.1.0.0/16"), a_pool("c", "10.9.0.0/16"))) == 2


def test_a_pool_without_addresses_or_with_nonsense_is_told_with_its_field() -> None:
    _, findings = compile_pools([a_pool("a"), a_pool("b", "203.0.113.0/24", "nonsense")])
    assert [str(each.origin) for each in findings] == [
        "IPAddressPool a spec.addresses",
        "IPAddressPool b spec.addresses[1]",
    ]


def test_an_unknown_operator_makes_the_pool_invalid() -> None:
    selectors = [{"matchExpressions": [{"key": "a", "operator": "Near"}]}]
    _, findings = compile_pools([a_pool("a", "203.0.113.1", serviceAllocation={"serviceSelectors": selectors})])
    assert findings[0].origin.field == "spec.serviceAllocation"


def test_priority_zero_is_none() -> None:
    (some, none), _ = compile_pools(
        [
            a_pool("a", "203.0.113.1", serviceAllocation={"priority": 5}),
            a_pool("b", "203.0.113.2", serviceAllocation={"priority": 0}),
        ]
    )
    assert (some.priority, none.priority, none.dedicated) == (5, None, True)


@pytest.mark.parametrize(
    ("named", "classes", "ours"),
    [
        (None, frozenset(), True),
        ("fairlead.dev/l2", frozenset(), True),
        ("example.com/other", frozenset(), False),
        ("example.com/other", frozenset({"example.com/other"}), True),
        (None, frozenset({"example.com/other"}), False),
    ],
)
def test_a_class_says_whose_the_service_is(named: str | None, classes: frozenset[str], ours: bool) -> None:
    assert is_ours(a_service(loadBalancerClass=named), classes) is ours
    assert not is_ours(a_service(type="NodePort"))


@pytest.mark.parametrize(
    ("service", "addresses"),
    [
        (a_service(loadBalancerIP="203.0.113.9"), ("203.0.113.9",)),
        (a_service({"metallb.io/loadBalancerIPs": "203.0.113.7"}, loadBalancerIP="203.0.113.9"), ("203.0.113.7",)),
        (a_service({"metallb.universe.tf/loadBalancerIPs": "203.0.113.7"}), ("203.0.113.7",)),
        (
            a_service({"metallb.io/loadBalancerIPs": "2001:db8::1, 203.0.113.7"}, ipFamilies=["IPv4", "IPv6"]),
            ("203.0.113.7", "2001:db8::1"),
        ),
    ],
)
def test_an_address_is_asked_for_by_field_or_annotation(service: Service, addresses: tuple[str, ...]) -> None:
    wish, findings = compile_wish(service)
    assert (texts(wish.addresses), findings) == (addresses, ())


@pytest.mark.parametrize(
    ("service", "message"),
    [
        (a_service(loadBalancerIP="nonsense"), "'nonsense' is no address"),
        (a_service(loadBalancerIP="2001:db8::1"), "asks for 2001:db8::1, but the Service is IPv4"),
        (a_service({"metallb.io/loadBalancerIPs": "203.0.113.7,203.0.113.8"}), "two addresses of one family"),
    ],
)
def test_an_address_that_makes_no_sense_is_told_and_asks_for_nothing(service: Service, message: str) -> None:
    wish, findings = compile_wish(service)
    assert message in wish.wrong
    assert wish.addresses == ()
    assert len(findings) == 1


def test_pods_count_for_sharing_under_policy_local_alone() -> None:
    assert compile_wish(a_service())[0].behind == ""
    assert compile_wish(a_service(externalTrafficPolicy="Local"))[0].behind == "app=web"


POOLS = (pool("a", "203.0.113.1-203.0.113.9"),)


@pytest.mark.parametrize(
    ("named", "l2", "bgp", "providers"),
    [
        ("fairlead.dev/bgp", [{}], [], (Provider.BGP,)),
        (None, [], [], (Provider.EXTERNAL,)),
        (None, [{}], [], (Provider.L2,)),
        (None, [{"ipAddressPools": ["other"]}], [{"ipAddressPools": ["a"]}], (Provider.BGP,)),
        (None, [{}], [{}], (Provider.L2, Provider.BGP)),
        (None, [{"serviceSelectors": [{"matchLabels": {"tier": "back"}}]}], [], (Provider.EXTERNAL,)),
        (None, [{"ipAddressPoolSelectors": [{"matchLabels": {"x": "y"}}]}], [], (Provider.EXTERNAL,)),
    ],
)
def test_the_class_decides_who_announces_then_the_advertisements(
    named: str | None, l2: list[dict[str, Any]], bgp: list[dict[str, Any]], providers: tuple[Provider, ...]
) -> None:
    service = a_service(ips=("203.0.113.4",), loadBalancerClass=named)
    allocation = allocation_of(
        service,
        POOLS,
        [msgspec.convert({"spec": each}, L2Advertisement) for each in l2],
        [msgspec.convert({"spec": each}, BGPAdvertisement) for each in bgp],
        Provider.EXTERNAL,
    )
    assert allocation is not None
    assert allocation.providers == providers
    assert allocation.pool == "a"


@pytest.mark.parametrize(
    ("node", "state"),
    [
        (a_node("n", "172.18.0.2"), NodeState.SERVING),
        (a_node("n", "172.18.0.2", unschedulable=True), NodeState.DRAINING),
        (a_node("n", "172.18.0.2", taints=[{"key": "ToBeDeletedByClusterAutoscaler"}]), NodeState.DRAINING),
        (a_node("n", "172.18.0.2", ready="Unknown"), NodeState.OUT),
        (
            a_node("n", "172.18.0.2", labels={"node.kubernetes.io/exclude-from-external-load-balancers": ""}),
            NodeState.OUT,
        ),
    ],
)
def test_a_node_serves_drains_or_is_out(node: Node, state: NodeState) -> None:
    assert compile_target(node).state is state


def targets(*states: NodeState) -> tuple[Target, ...]:
    return tuple(
        Target(f"node-{number}", (parse_address(f"172.18.0.{number + 1}"),), state)
        for number, state in enumerate(states, 1)
    )


def backends(service: Service, nodes: tuple[Target, ...], healthy: set[tuple[str, int]] | None = None) -> list[str]:
    def answers(name: str, port: int) -> bool:
        return healthy is None or (name, port) in healthy

    frontends, _ = compile_external(service, nodes, answers, OUTSIDE, Family.IPV4)
    return [f"{each.address}:{each.port}" for each in frontends[0].backends] if frontends else []


def test_connections_go_to_the_node_ports_of_nodes_that_serve() -> None:
    service = a_service(ips=("203.0.113.4",))
    nodes = targets(NodeState.SERVING, NodeState.DRAINING, NodeState.OUT)
    assert backends(service, nodes) == ["172.18.0.2:30080"]


def test_where_no_node_serves_those_that_drain_do() -> None:
    assert backends(a_service(ips=("203.0.113.4",)), targets(NodeState.DRAINING, NodeState.OUT)) == ["172.18.0.2:30080"]


def test_a_node_that_does_not_answer_is_left_out_unless_none_answers() -> None:
    service, nodes = a_service(ips=("203.0.113.4",)), targets(NodeState.SERVING, NodeState.SERVING)
    assert backends(service, nodes, {("node-2", 0)}) == ["172.18.0.3:30080"]
    assert backends(service, nodes, set()) == ["172.18.0.2:30080", "172.18.0.3:30080"]


def test_under_policy_local_only_the_health_check_counts() -> None:
    service = a_service(ips=("203.0.113.4",), externalTrafficPolicy="Local", healthCheckNodePort=31000)
    nodes = targets(NodeState.SERVING, NodeState.SERVING)
    assert backends(service, nodes, {("node-2", 31000), ("node-1", 0)}) == ["172.18.0.3:30080"]
    assert backends(service, nodes, {("node-1", 0)}) == []


def test_under_policy_local_nodes_whose_pods_are_all_ending_are_used_until_another_has_a_ready_one() -> None:
    service = a_service(ips=("203.0.113.4",), externalTrafficPolicy="Local", healthCheckNodePort=31000)
    nodes = targets(NodeState.SERVING, NodeState.DRAINING, NodeState.SERVING)
    for healthy, expected in ((set[str](), ["172.18.0.3:30080"]), ({"node-3"}, ["172.18.0.4:30080"])):
        frontends, _ = compile_external(
            service,
            nodes,
            lambda name, port, healthy=healthy: name in healthy,
            OUTSIDE,
            Family.IPV4,
            lambda name, port: name == "node-2",
        )
        assert [f"{each.address}:{each.port}" for each in frontends[0].backends] == expected


def test_old_flows_go_on_through_nodes_that_drain_and_not_through_dead_ones() -> None:
    nodes = targets(NodeState.SERVING, NodeState.DRAINING, NodeState.OUT)
    found = answering(a_service(ips=("203.0.113.4",)), nodes, lambda name, port: True, Family.IPV4)
    assert sorted(map(str, found)) == ["172.18.0.2", "172.18.0.3"]


def test_clients_are_masqueraded_only_where_answers_would_not_come_back() -> None:
    service, nodes = a_service(ips=("203.0.113.4",)), targets(NodeState.SERVING)
    away = Outside(addresses=OUTSIDE.addresses, answers_return=False)
    for outside, masquerade in ((OUTSIDE, Masquerade.NEVER), (away, Masquerade.ALWAYS)):
        (frontend,), findings = compile_external(service, nodes, lambda name, port: True, outside, Family.IPV4)
        assert (frontend.masquerade, findings) == (masquerade, ())


def test_policy_local_without_the_way_back_is_told() -> None:
    service = a_service(ips=("203.0.113.4",), externalTrafficPolicy="Local", healthCheckNodePort=31000)
    away = Outside(addresses=(), answers_return=False)
    _, findings = compile_external(service, (), lambda name, port: True, away, Family.IPV4)
    assert "--return-through" in findings[0].remedy


@pytest.mark.parametrize(
    ("service", "word"),
    [
        (a_service(ips=("203.0.113.4",), ports=[{"port": 80}]), "node ports"),
        (a_service({"fairlead.dev/proxy-protocol": "v3"}, ips=("203.0.113.4",)), "PROXY"),
    ],
)
def test_what_the_external_provider_cannot_do_is_refused(service: Service, word: str) -> None:
    frontends, findings = compile_external(
        service, targets(NodeState.SERVING), lambda name, port: True, OUTSIDE, Family.IPV4
    )
    assert frontends == ()
    assert word in findings[0].message


@pytest.mark.parametrize(
    ("service", "seconds"),
    [
        (a_service(ips=("203.0.113.4",)), None),
        (a_service({"fairlead.dev/spread": "source"}, ips=("203.0.113.4",)), 10_800),
        (a_service(ips=("203.0.113.4",), sessionAffinity="ClientIP"), 10_800),
    ],
)
def test_clients_keep_their_node_where_asked(service: Service, seconds: int | None) -> None:
    (frontend,), _ = compile_external(
        service, targets(NodeState.SERVING), lambda name, port: True, OUTSIDE, Family.IPV4
    )
    assert (frontend.affinity.timeout if frontend.affinity else None) == seconds
