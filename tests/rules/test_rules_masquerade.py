"""Whose address an endpoint sees, each rule on real packets. Source: reference, section 1.4."""

from typing import Any

import pytest
from rule_hosts import HOSTS, NODE, SECONDARY
from rule_rig import Document, Rig, a_port, a_service, a_slice, an_endpoint

from fairlead.nft.expressions import Masquerade

pytestmark = pytest.mark.kernel

IP, IP6 = "10.96.0.10", "fd00:96::10"
EXTERNAL, VIP = "192.0.2.7", "203.0.113.7"
FRONTENDS = ((EXTERNAL, 80), (VIP, 80), (NODE[0], 30080))


def everything(**spec: Any) -> Document:
    ports = [a_port(node_port=30080)]
    return a_service(ports=ports, type="LoadBalancer", externalIPs=[EXTERNAL], ingress=[{"ip": VIP}], **spec)


def seen(rig: Rig, place: str, address: str, port: int, times: int = 8, source: str = "") -> set[tuple[str, str]]:
    answers = [each.hear() for each in [rig.open(place, address, port, source=source) for _ in range(times)]]
    return {(answer.by, answer.seen) for answer in answers}


def test_a_pod_keeps_its_address_towards_a_cluster_ip_also_across_nodes(rig: Rig) -> None:
    """1.4: pod to ClusterIP keeps the pod's source address, wherever the endpoint is, in both families."""
    six = a_slice(an_endpoint("web-1", 1), an_endpoint("far-1", 1))
    rig.begin(a_service(), a_slice("web-1", "far-1"), six)
    four_own, six_own = HOSTS["web-2"]
    assert seen(rig, "web-2", IP, 80, 24) == {("web-1", four_own), ("far-1", four_own)}
    assert seen(rig, "web-2", IP6, 80, 24) == {("web-1", six_own), ("far-1", six_own)}


@pytest.mark.parametrize("place", ["client", "far-2", "node-2"])
def test_cluster_ip_traffic_that_is_of_no_local_pod_is_masqueraded(rig: Rig, place: str) -> None:
    """1.4: the source is not a local pod: the answer must come back this way."""
    rig.begin(a_service(), a_slice("web-1", "far-1"), a_slice(an_endpoint("web-1", 1), an_endpoint("far-1", 1)))
    assert seen(rig, place, IP, 80, 24) == {("web-1", NODE[0]), ("far-1", NODE[0])}
    assert seen(rig, place, IP6, 80, 24) == {("web-1", NODE[1]), ("far-1", NODE[1])}


def test_the_node_itself_reaches_a_cluster_ip(rig: Rig) -> None:
    """1.4: from the node, in the output hook, with the node's address."""
    rig.begin(a_service(), a_slice("web-1", "far-1"), a_slice(an_endpoint("far-1", 1)))
    for source in (NODE[0], SECONDARY[0]):
        assert seen(rig, "node", IP, 80, 24, source) == {("web-1", NODE[0]), ("far-1", NODE[0])}, source
    assert seen(rig, "node", IP6, 80) == {("far-1", NODE[1])}


def test_a_pod_that_comes_to_itself_sees_its_node(rig: Rig) -> None:
    """1.4: hairpin, in both families: without masquerade the answer would never leave the pod."""
    rig.begin(a_service(), a_slice("web-1"), a_slice(an_endpoint("web-1", 1)))
    assert seen(rig, "web-1", IP, 80) == {("web-1", NODE[0])}
    assert seen(rig, "web-1", IP6, 80) == {("web-1", NODE[1])}
    rig.apply(a_slice("web-1", "web-2"))
    assert seen(rig, "web-1", IP, 80, 24) == {("web-1", NODE[0]), ("web-2", HOSTS["web-1"][0])}


def test_a_pod_that_speaks_to_itself_without_a_service_is_left_alone(rig: Rig) -> None:
    """1.4: hairpin needs `ct status dnat`: pod to pod traffic is never touched."""
    rig.begin(a_service(), a_slice("web-1"))
    assert seen(rig, "web-2", HOSTS["web-1"][0], 8080) == {("web-1", HOSTS["web-2"][0])}
    assert seen(rig, "web-1", HOSTS["web-1"][0], 8080) == {("web-1", HOSTS["web-1"][0])}


@pytest.mark.parametrize("place", ["client", "node-2", "web-2", "node"])
def test_external_policy_cluster_always_masquerades(rig: Rig, place: str) -> None:
    """1.4: all external frontends, from everybody, pods included."""
    rig.begin(everything(), a_slice("web-1", "far-1"))
    for address, port in FRONTENDS:
        assert seen(rig, place, address, port, 24) == {("web-1", NODE[0]), ("far-1", NODE[0])}, address


@pytest.mark.parametrize("place", ["client", "node-2"])
def test_external_policy_local_keeps_the_address_of_a_client_outside(rig: Rig, place: str) -> None:
    """1.4: the local chain only, client address preserved, no masquerade."""
    rig.begin(everything(externalTrafficPolicy="Local"), a_slice("web-1", "far-1"))
    for address, port in FRONTENDS:
        assert seen(rig, place, address, port) == {("web-1", HOSTS[place][0])}, address


def test_external_policy_local_gives_local_pods_every_endpoint_and_no_masquerade(rig: Rig) -> None:
    """1.4: the short circuit from a pod to its own load balancer or node port ignores both policies."""
    service = everything(externalTrafficPolicy="Local", internalTrafficPolicy="Local")
    rig.begin(service, a_slice("web-1", "far-1"))
    own = HOSTS["web-2"][0]
    for address, port in FRONTENDS:
        assert seen(rig, "web-2", address, port, 24) == {("web-1", own), ("far-1", own)}, address


def test_external_policy_local_gives_the_node_every_endpoint_and_masquerades_it(rig: Rig) -> None:
    """1.4: `fib saddr type local`: masquerade, and all endpoints, whichever of its addresses it comes from."""
    rig.begin(everything(externalTrafficPolicy="Local"), a_slice("web-1", "far-1"))
    for address, port in FRONTENDS:
        for source in (NODE[0], SECONDARY[0]):
            found = seen(rig, "node", address, port, 24, source)
            assert found == {("web-1", NODE[0]), ("far-1", NODE[0])}, (address, source)


def test_hairpin_holds_on_every_external_frontend(rig: Rig) -> None:
    """1.4: a pod that dials its own load balancer comes to itself as its node, under either policy."""
    for policy in ("Cluster", "Local"):
        rig.begin(everything(externalTrafficPolicy=policy), a_slice("web-1"))
        for address, port in FRONTENDS:
            assert seen(rig, "web-1", address, port) == {("web-1", NODE[0])}, (policy, address)


@pytest.mark.parametrize("place", ["web-2", "client", "node"])
def test_masquerade_all_masquerades_every_cluster_ip_packet(rig: Rig, place: str) -> None:
    """1.4: `--masquerade-all`: local pods too, in both families."""
    six = a_slice(an_endpoint("web-1", 1), an_endpoint("far-1", 1))
    rig.begin(a_service(), a_slice("web-1", "far-1"), six, masquerade_all=True)
    assert seen(rig, place, IP, 80, 24) == {("web-1", NODE[0]), ("far-1", NODE[0])}
    assert seen(rig, place, IP6, 80, 24) == {("web-1", NODE[1]), ("far-1", NODE[1])}


def test_the_mark_is_bit_fourteen_and_is_taken_back_in_postrouting(rig: Rig) -> None:
    """1.4: 0x4000 is set on the way in, cleared by `xor` in postrouting, where `masquerade fully-random` follows."""
    rig.begin(everything(), a_slice("web-1"))
    chains = rig.table().chains
    (after,) = (held for held in chains.values() if held.chain.base and held.chain.base.hook.name == "POSTROUTING")
    masquerading = [step for rule in after.rules for step in rule.expressions if isinstance(step, Masquerade)]
    assert masquerading
    assert all(step.fully_random for step in masquerading)
    text = rig.run("nft", "list", "table", "ip", "fairlead")
    assert "meta mark set meta mark | 0x00004000" in text
    watch = "add chain ip watch after { type filter hook postrouting priority 200; }"
    counting = ("add rule ip watch after meta mark & 0x4000 == 0x4000 counter", "add rule ip watch after counter")
    rig.run("nft", "; ".join(("add table ip watch", watch, *counting)))
    try:
        assert seen(rig, "client", EXTERNAL, 80) == {("web-1", NODE[0])}
        marked, every = (
            line for line in rig.run("nft", "list", "table", "ip", "watch").splitlines() if "packets" in line
        )
        assert "packets 0" in marked
        assert "packets 0" not in every
    finally:
        rig.run("nft", "delete table ip watch")
