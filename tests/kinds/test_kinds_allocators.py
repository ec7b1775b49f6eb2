"""Cluster addresses and node ports: nothing is given out twice, and nothing is lost."""

import random
from typing import Any

import pytest
from admitting import RANGE, created, first, made, updated
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.cluster.apiserver.kinds.allocators import AllocationFailedError, Allocators, ClusterAddresses, NodePorts
from fairlead.cluster.apiserver.kinds.pools import address_pool, port_pool
from fairlead.kube.documents import Document, items_at, mapping_at, text_at
from fairlead.net import parse_prefix

WEB = {"port": 80}


@pytest.mark.parametrize(
    ("size", "reserved"), [(2**8, 16), (2**12, 256), (2**16, 256), (2**4, 0)], ids=["/24", "/20", "/16", "/28"]
)
def test_the_lower_band_of_addresses_is_as_large_as_upstreams(size: int, reserved: int) -> None:
    assert address_pool(0, size, ipv4=True).reserved == reserved


def test_the_bands_of_node_ports_are_upstreams() -> None:
    pool = port_pool(30000, 32767)
    assert (pool.first, pool.first + pool.reserved, pool.size) == (30000, 30086, 2768)
    upper = set(range(30086, 32768))
    assert pool.free(upper - {31000}, first) == 31000
    assert pool.free(upper, first) == 30000
    assert pool.free(upper | set(range(30000, 30086)), first) is None


def test_the_first_and_the_last_address_are_nobodys() -> None:
    addresses = ClusterAddresses((parse_prefix("10.0.0.0/30"),), first)
    for taken in ("10.0.0.0", "10.0.0.3"):
        service = created(made("Service", {"ports": [WEB]}))[0]
        service["spec"] = {"type": "ClusterIP", "clusterIP": taken, "clusterIPs": [taken]}
        problem = addresses.allocate(service, None)
        assert problem is not None
        assert "is not in the valid range" in str(problem)


def test_a_full_range_says_so() -> None:
    addresses = ClusterAddresses((parse_prefix("10.0.0.0/30"),), first)
    for name in ("a", "b"):
        service = made("Service", {"type": "ClusterIP"}, name=name)
        assert addresses.allocate(service, None) is None
        addresses.commit(service, None)
    with pytest.raises(AllocationFailedError, match='failed to allocate a serviceIP for Service "c": range is full'):
        addresses.allocate(made("Service", {"type": "ClusterIP"}, name="c"), None)


def test_a_dry_run_leaves_no_trace() -> None:
    allocators = Allocators((RANGE,), first)
    asked = made("Service", {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}], "clusterIP": "10.96.0.9"})
    assert created(asked, allocators)[1] == created(asked, allocators)[1] == []


def test_tcp_and_udp_share_a_node_port_and_different_ports_do_not() -> None:
    ports = [
        {"name": "a", "port": 53, "protocol": "UDP"},
        {"name": "b", "port": 53},
        {"name": "c", "port": 54},
    ]
    service = created(made("Service", {"type": "NodePort", "ports": ports}))[0]
    given_out = [port["nodePort"] for port in items_at(service, "spec", "ports") if isinstance(port, dict)]
    assert given_out[0] == given_out[1] != given_out[2]


def test_an_automatic_port_keeps_away_from_one_asked_for_later_in_the_list() -> None:
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81, "nodePort": 30086}]
    service = created(made("Service", {"type": "NodePort", "ports": ports}))[0]
    assert [port["nodePort"] for port in items_at(service, "spec", "ports") if isinstance(port, dict)] == [30087, 30086]


def test_a_load_balancer_may_do_without_node_ports_and_gets_a_health_check_port() -> None:
    spec = {
        "type": "LoadBalancer",
        "ports": [WEB],
        "allocateLoadBalancerNodePorts": False,
        "externalTrafficPolicy": "Local",
    }
    service = created(made("Service", spec))[0]
    assert mapping_at(service, "spec")["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert mapping_at(service, "spec")["healthCheckNodePort"] == 30086


def test_a_health_check_port_that_is_taken_fails() -> None:
    allocators = Allocators((RANGE,), first)
    taken = made("Service", {"type": "NodePort", "ports": [{"port": 80, "nodePort": 31000}]})
    allocators.commit(created(taken, allocators)[0], None)
    local = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000, "ports": [WEB]}
    with pytest.raises(
        AllocationFailedError,
        match="failed to allocate requested HealthCheck NodePort 31000: provided port is already allocated",
    ):
        created(made("Service", local, name="y"), allocators)


def test_what_a_service_gives_up_is_free_again() -> None:
    allocators = Allocators((RANGE,), first)
    asked = made("Service", {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}], "clusterIP": "10.96.0.9"})
    stored = created(asked, allocators)[0]
    allocators.commit(stored, None)
    other = made("Service", mapping_at(asked, "spec"), name="y")
    assert len(created(other, allocators)[1]) == 1
    allocators.release(stored)
    assert created(other, allocators)[1] == []


def test_a_headless_service_without_pods_of_its_own_is_of_both_families() -> None:
    bare = mapping_at(created(made("Service", {"clusterIP": "None"}))[0], "spec")
    assert (bare["ipFamilyPolicy"], bare["ipFamilies"]) == ("RequireDualStack", ["IPv4", "IPv6"])
    selecting = mapping_at(created(made("Service", {"clusterIP": "None", "selector": {"a": "b"}}))[0], "spec")
    assert (selecting["ipFamilyPolicy"], selecting["ipFamilies"]) == ("SingleStack", ["IPv4"])


def test_a_cluster_of_two_families_gives_an_address_of_each() -> None:
    allocators = Allocators((RANGE, parse_prefix("fd00:96::/108")), first)
    spec = mapping_at(
        created(made("Service", {"ports": [WEB], "ipFamilyPolicy": "PreferDualStack"}), allocators)[0], "spec"
    )
    assert spec["ipFamilies"] == ["IPv4", "IPv6"]
    assert spec["clusterIPs"] == ["10.96.1.1", "fd00:96::101"]


TYPES = st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"])
STEPS = st.lists(st.tuples(st.sampled_from("abcdef"), st.one_of(st.none(), TYPES), st.integers(1, 3)), max_size=40)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.randoms(use_true_random=False))
def test_nothing_is_ever_given_out_twice(steps: list[tuple[str, str | None, int]], chance: random.Random) -> None:
    """Services come, change type and go, in any order."""
    allocators = Allocators((parse_prefix("10.0.0.0/28"),), chance.randrange)
    allocators.node_ports = NodePorts(chance.randrange, 30000, 30039)
    stored: dict[str, Document] = {}
    for name, kind, count in steps:
        old = stored.get(name)
        if kind is None:
            if old:
                allocators.release(stored.pop(name))
            continue
        ports = [{"port": 80 + index, "name": f"p{index}"} for index in range(count)]
        spec: dict[str, Any] = {"type": kind, "ports": ports}
        if kind == "ExternalName":
            spec["externalName"] = "a.b"
        document = made("Service", spec, name=name)
        new, wrong = updated(document, old, allocators) if old else created(document, allocators)
        assert wrong == []
        allocators.commit(new, old)
        stored[name] = new
        _check_distinct(stored)


def _check_distinct(stored: dict[str, Document]) -> None:
    addresses = [text_at(each, "spec", "clusterIP") for each in stored.values()]
    given_out = [address for address in addresses if address]
    assert len(given_out) == len(set(given_out))
    ports = [
        port["nodePort"]
        for each in stored.values()
        for port in items_at(each, "spec", "ports")
        if isinstance(port, dict) and "nodePort" in port
    ]
    assert len(ports) == len(set(map(str, ports)))
    for each in stored.values():
        has_address = text_at(each, "spec", "type") != "ExternalName"
        assert bool(text_at(each, "spec", "clusterIP")) == has_address
