"""Who may dial a load balancer's address, each rule on real packets. Source: reference, section 1.5."""

from typing import Any

import pytest
from rule_hosts import HOSTS, NODE
from rule_rig import Document, Rig, a_port, a_service, a_slice, an_endpoint

pytestmark = pytest.mark.kernel

IP, EXTERNAL, VIP, VIP6 = "10.96.0.10", "192.0.2.7", "203.0.113.7", "2001:db8:1::7"
CLIENT, CLIENT6 = HOSTS["client"]


def ranged(*ranges: str, **spec: Any) -> Document:
    """A load balancer that only these ranges may dial."""
    ports = [a_port(node_port=30080)]
    return a_service(
        type="LoadBalancer",
        ports=ports,
        externalIPs=[EXTERNAL],
        ingress=[{"ip": VIP}, {"ip": VIP6}],
        loadBalancerSourceRanges=list(ranges),
        **spec,
    )


SLICES = a_slice("web-1"), a_slice(an_endpoint("web-1", 1))


def test_source_ranges_admit_those_inside_and_drop_all_others(rig: Rig) -> None:
    """1.5: dropped, and not rejected; several ranges, and single addresses as ranges."""
    rig.begin(ranged("198.51.100.0/24", f"{HOSTS['far-1'][0]}/32"), *SLICES)
    for place, admitted in (("client", True), ("far-1", True), ("far-2", False), ("node-2", False)):
        if admitted:
            assert rig.ask(place, VIP, 80).by == "web-1", place
        else:
            assert rig.is_silent(place, VIP, 80), place


def test_source_ranges_hold_for_the_load_balancer_s_addresses_alone(rig: Rig) -> None:
    """1.5: not for the node port, external IPs and the cluster IP."""
    rig.begin(ranged("192.0.2.99/32"), *SLICES)
    assert rig.is_silent("client", VIP, 80)
    for address, port in ((NODE[0], 30080), (EXTERNAL, 80), (IP, 80)):
        assert rig.ask("client", address, port).by == "web-1", address


def test_source_ranges_hold_for_local_pods_and_the_node_too(rig: Rig) -> None:
    """1.5: dropped before DNAT in prerouting and in output."""
    rig.begin(ranged("198.51.100.0/24"), *SLICES)
    assert rig.is_silent("web-2", VIP, 80)
    assert rig.is_silent("node", VIP, 80)
    rig.apply(ranged(f"{HOSTS['web-2'][0]}/32", f"{NODE[0]}/32"))
    assert rig.ask("web-2", VIP, 80).by == "web-1"
    assert rig.ask("node", VIP, 80).by == "web-1"


def test_source_ranges_are_applied_before_the_destination_is_translated(rig: Rig) -> None:
    """1.5: who is kept out learns nothing of endpoints: dropped also where there are none."""
    rig.begin(ranged("192.0.2.99/32"))
    assert rig.is_silent("client", VIP, 80)
    assert rig.ask("client", EXTERNAL, 80).outcome == "refused"


def test_source_ranges_are_trimmed_of_white_space(rig: Rig) -> None:
    """1.5: ` 198.51.100.0/24 ` is a range."""
    rig.begin(ranged(" 198.51.100.0/24 "), *SLICES)
    assert rig.ask("client", VIP, 80).by == "web-1"
    assert rig.is_silent("far-1", VIP, 80)


def test_source_ranges_are_filtered_by_family(rig: Rig) -> None:
    """1.5: each family's ranges hold for its own addresses, and a family without any is open."""
    rig.begin(ranged(f"{CLIENT6}/128"), *SLICES)
    assert rig.ask("client", VIP6, 80).by == "web-1"
    assert rig.is_silent("far-1", VIP6, 80)
    assert rig.ask("far-1", VIP, 80).by == "web-1"
    rig.apply(ranged(f"{CLIENT6}/128", "192.0.2.99/32"))
    assert rig.is_silent("client", VIP, 80)


def test_a_source_range_of_length_zero_admits_everybody(rig: Rig) -> None:
    """1.5: /0 is no filter."""
    rig.begin(ranged("192.0.2.99/32", "0.0.0.0/0"), *SLICES)
    for place in ("client", "far-1", "web-2", "node"):
        assert rig.ask(place, VIP, 80).by == "web-1", place


def test_the_address_itself_is_admitted_where_the_node_is(rig: Rig) -> None:
    """1.5: where the node's address is inside a range, so is the load balancer's, which the node may hold itself."""
    rig.run("ip", "address", "add", f"{VIP}/32", "dev", "lo")
    try:
        rig.begin(ranged("192.0.2.99/32"), *SLICES)
        assert rig.is_silent("node", VIP, 80)
        rig.apply(ranged(f"{NODE[0]}/32"))
        assert rig.ask("node", VIP, 80).by == "web-1"
    finally:
        rig.run("ip", "address", "del", f"{VIP}/32", "dev", "lo")


def test_source_ranges_come_and_go_with_their_field(rig: Rig) -> None:
    """1.5: a change of the ranges holds from the next connection on."""
    rig.begin(ranged(), *SLICES)
    assert rig.ask("far-1", VIP, 80).by == "web-1"
    rig.apply(ranged("198.51.100.0/24"))
    assert rig.is_silent("far-1", VIP, 80)
    rig.apply(ranged("10.244.2.0/24", "198.51.100.0/25"))
    assert rig.ask("far-1", VIP, 80).by == "web-1"
    assert rig.ask("client", VIP, 80).by == "web-1"
    rig.apply(ranged())
    assert rig.ask("node-2", VIP, 80).by == "web-1"


def test_source_ranges_may_overlap_and_touch(rig: Rig) -> None:
    """1.5: a range inside another one, twice the same, and neighbours."""
    rig.begin(
        ranged("198.51.100.0/24", "198.51.100.0/25", "198.51.100.0/24", "198.51.101.0/24", CLIENT + "/32"), *SLICES
    )
    assert rig.ask("client", VIP, 80).by == "web-1"
    assert rig.is_silent("far-1", VIP, 80)


def test_each_service_has_ranges_of_its_own(rig: Rig) -> None:
    """1.5: two load balancers, each open to one host."""
    other = a_service(
        "other",
        type="LoadBalancer",
        clusterIP="10.96.0.11",
        clusterIPs=["10.96.0.11"],
        ingress=[{"ip": "203.0.113.8"}],
        loadBalancerSourceRanges=["10.244.2.0/24"],
    )
    rig.begin(ranged("198.51.100.0/24"), other, *SLICES, a_slice("web-2", service="other"))
    assert rig.ask("client", VIP, 80).by == "web-1"
    assert rig.is_silent("client", "203.0.113.8", 80)
    assert rig.ask("far-1", "203.0.113.8", 80).by == "web-2"
    assert rig.is_silent("far-1", VIP, 80)
