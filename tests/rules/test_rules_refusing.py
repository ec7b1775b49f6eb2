"""What a connection gets where there is no endpoint, each rule on real packets. Source: reference, section 1.3."""

from typing import Any

import pytest
from rule_hosts import HOSTS, NODE, Answer
from rule_rig import Rig, a_port, a_service, a_slice, an_endpoint

pytestmark = pytest.mark.kernel

IP, IP6 = "10.96.0.10", "fd00:96::10"
EXTERNAL, VIP = "192.0.2.7", "203.0.113.7"
REFUSED = Answer("refused")
ALL: dict[str, Any] = {"type": "LoadBalancer", "externalIPs": [EXTERNAL], "ingress": [{"ip": VIP}]}
PORTS = [a_port(node_port=30080), a_port(53, "dns", "UDP", 30053)]
FRONTENDS = ((IP, 80, 53), (EXTERNAL, 80, 53), (VIP, 80, 53), (NODE[0], 30080, 30053))


@pytest.mark.parametrize("conditions", [None, {"ready": False}], ids=["no endpoint", "none that is ready"])
@pytest.mark.parametrize("place", ["web-1", "node", "client", "node-2"])
def test_without_any_endpoint_every_frontend_is_rejected(
    rig: Rig, place: str, conditions: dict[str, bool] | None
) -> None:
    """1.3: TCP gets a reset, UDP an ICMP port unreachable, at all frontends, from everywhere."""
    slices = [] if conditions is None else [a_slice(an_endpoint("web-1", **conditions))]
    rig.begin(a_service(ports=PORTS, **ALL), *slices)
    for address, tcp, udp in FRONTENDS:
        assert rig.ask(place, address, tcp) == REFUSED, address
        assert rig.ask(place, address, udp, "UDP") == REFUSED, address


def test_rejecting_works_the_same_for_ipv6(rig: Rig) -> None:
    """1.3: a reset, and ICMPv6 port unreachable."""
    rig.begin(a_service(ports=PORTS))
    assert rig.ask("web-1", IP6, 80) == REFUSED
    assert rig.ask("web-1", IP6, 53, "UDP") == REFUSED
    assert rig.ask("node", IP6, 80) == REFUSED


def test_a_service_with_endpoints_again_is_no_longer_rejected(rig: Rig) -> None:
    """1.3: the verdict follows the endpoints, both ways."""
    rig.begin(a_service())
    assert rig.ask("web-2", IP, 80) == REFUSED
    rig.apply(a_slice("web-1"))
    assert rig.ask("web-2", IP, 80).by == "web-1"
    rig.apply(a_slice())
    assert rig.ask("web-2", IP, 80) == REFUSED


def test_internal_policy_local_without_a_local_endpoint_drops(rig: Rig) -> None:
    """1.3: endpoints exist, none here: drop, and not reject, for the client may try another node."""
    rig.begin(a_service(internalTrafficPolicy="Local"), a_slice("far-1"), a_slice(an_endpoint("far-1", 1)))
    assert rig.is_silent("web-1", IP, 80)
    assert rig.is_silent("web-1", IP6, 80)
    assert rig.is_silent("node", IP, 80)


def test_external_policy_local_without_a_local_endpoint_drops_what_comes_from_outside(rig: Rig) -> None:
    """1.3: node port, external IP and load-balancer address; another node is outside too."""
    rig.begin(a_service(ports=PORTS, externalTrafficPolicy="Local", **ALL), a_slice("far-1"))
    for place in ("client", "node-2"):
        for address, tcp, _ in FRONTENDS[1:]:
            assert rig.is_silent(place, address, tcp), (place, address)
    assert rig.ask("client", IP, 80).by == "far-1"  # the cluster IP goes by the internal policy


def test_external_policy_local_without_a_local_endpoint_still_serves_local_pods_and_the_node(rig: Rig) -> None:
    """1.3: they take the way of policy Cluster."""
    rig.begin(a_service(ports=PORTS, externalTrafficPolicy="Local", **ALL), a_slice("far-1"))
    for place in ("web-1", "node"):
        for address, tcp, _ in FRONTENDS[1:]:
            assert rig.ask(place, address, tcp).by == "far-1", (place, address)


def test_external_policy_local_without_any_endpoint_rejects(rig: Rig) -> None:
    """1.3: no endpoint anywhere is rejected whatever the policy."""
    rig.begin(a_service(ports=PORTS, externalTrafficPolicy="Local", internalTrafficPolicy="Local", **ALL))
    for address, tcp, _ in FRONTENDS:
        assert rig.ask("client", address, tcp) == REFUSED, address


@pytest.mark.parametrize("place", ["web-2", "client", "node"])
def test_another_port_of_a_known_cluster_ip_is_rejected(rig: Rig, place: str) -> None:
    """1.3: in forward and output."""
    rig.begin(a_service(), a_slice("web-1"))
    assert rig.ask(place, IP, 81) == REFUSED
    assert rig.ask(place, IP, 80, "UDP") == REFUSED
    assert rig.ask(place, IP6, 81) == REFUSED


@pytest.mark.parametrize("place", ["web-1", "client", "node"])
def test_an_address_of_the_service_range_that_nobody_has_is_dropped(rig: Rig, place: str) -> None:
    """1.3: inside the ServiceCIDR but not allocated."""
    rig.begin(a_service(), a_slice("web-1"))
    assert rig.is_silent(place, "10.96.99.99", 80)
    assert rig.is_silent(place, "fd00:96::99", 80)
    rig.delete(a_service())
    assert rig.is_silent(place, IP, 80)


def test_only_new_connections_are_refused(rig: Rig) -> None:
    """1.3: `ct state new` comes first: a conversation outlives its service's last endpoint."""
    rig.begin(a_service(), a_slice("web-1"))
    conversation = rig.open("web-2", IP, 80)
    assert conversation.hear().by == "web-1"
    rig.apply(a_slice())
    assert rig.ask("web-2", IP, 80) == REFUSED
    assert conversation.ask() == Answer("answered", "web-1", HOSTS["web-2"][0])


def test_nobody_answers_a_ping_to_a_cluster_ip(rig: Rig) -> None:
    """1.3: ICMP to a ClusterIP is not answered; a ping to a pod is."""
    rig.begin(a_service(), a_slice("web-1"))
    assert rig.ping("web-2", HOSTS["web-1"][0])
    assert not rig.ping("web-2", IP)


def test_a_node_port_is_rejected_only_where_packets_come_in_for_the_node(rig: Rig) -> None:
    """1.3: the rejection is in a filter hook and never in prerouting, so that other tables see the packet before."""
    rig.begin(a_service(ports=PORTS, type="NodePort"))
    assert rig.ask("client", NODE[0], 30080) == REFUSED
    hooks = {name: held.chain.base.hook.name for name, held in rig.table().chains.items() if held.chain.base}
    leading = [name for name, held in rig.table().chains.items() if "no-endpoints" in str(held.rules)]
    assert sorted(hooks[name] for name in leading) == ["FORWARD", "INPUT", "OUTPUT"]
