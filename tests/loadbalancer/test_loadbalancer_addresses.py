"""What does a user see who applies MetalLB's resources with kubectl: addresses, Events, statuses?"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from balancer_cluster import REPOSITORY, Cluster, Document, eventually, service

pytestmark = [pytest.mark.kernel, pytest.mark.cluster]
NAMESPACE = "metallb-system"


def pool(name: str, *addresses: str, **spec: object) -> Document:
    return {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"test": "addresses"}},
        "spec": {"addresses": list(addresses), **spec},
    }


@pytest.fixture
def cluster(balanced: Cluster) -> Iterator[Cluster]:
    yield balanced
    balanced.kubectl("delete", "services,ipaddresspools", "-l", "test=addresses", "-A", "--wait=false")
    eventually(lambda: configuration(balanced) == (True, ""), "the pools to be gone")


def wanted(name: str, annotations: dict[str, str] | None = None, **spec: Any) -> Document:
    made = service(name, annotations=annotations, **spec)
    made["metadata"]["labels"] = {"test": "addresses"}
    return made


def configuration(cluster: Cluster) -> tuple[bool, str]:
    status = cluster.get("configurationstate", "controller", NAMESPACE).get("status", {})
    return status.get("validConfig", False), status.get("lastError", "")


def in_use(cluster: Cluster, *names: str) -> None:
    """Wait until these pools are in use."""
    for name in names:
        eventually(lambda name=name: cluster.get("ipaddresspool", name, NAMESPACE).get("status"), f"{name} in use")


def said(cluster: Cluster, name: str, reason: str) -> str:
    """The words of an Event about a Service, once there is one."""
    return eventually(lambda: [text for word, text in cluster.events(name) if word == reason], f"{reason} of {name}")[
        -1
    ]


def test_pools_replace_the_default_one_and_tell_how_full_they_are(cluster: Cluster) -> None:
    cluster.apply(pool("web", "203.0.113.100-203.0.113.103", "fd00:203:0:113::100/127"))
    cluster.apply(wanted("a", ipFamilyPolicy="RequireDualStack"), wanted("b"))
    cluster.address("b")
    cluster.address("a")
    assert {*cluster.addresses("a"), *cluster.addresses("b")} == {
        "203.0.113.100",
        "203.0.113.101",
        "fd00:203:0:113::100",
    }
    counts = {"assignedIPv4": 2, "assignedIPv6": 1, "availableIPv4": 2, "availableIPv6": 1}
    eventually(lambda: cluster.get("ipaddresspool", "web", NAMESPACE).get("status") == counts, "the counts")
    assert cluster.get("service", "a")["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"] == "web"
    assert "203.0.113.101" in said(cluster, "b", "IPAllocated") or "203.0.113.100" in said(cluster, "b", "IPAllocated")
    assert cluster.dial(cluster.address("b"), 80, 3)["failed"] == 0


def test_an_exhausted_pool_is_told_in_an_event_and_a_metric_and_served_when_there_is_room(cluster: Cluster) -> None:
    cluster.apply(pool("tiny", "203.0.113.110"))
    in_use(cluster, "tiny")
    cluster.apply(wanted("first"))
    cluster.address("first")
    cluster.apply(wanted("second"))
    assert said(cluster, "second", "AllocationFailed") == "no pool has a free IPv4 address: tiny has 203.0.113.110"
    assert "<pending>" in cluster.kubectl("get", "service", "second")
    described = cluster.kubectl("describe", "service", "second")
    assert "AllocationFailed" in described
    assert "no pool has a free IPv4 address: tiny has 203.0.113.110" in described
    table = cluster.run("status", "--load-balancers")
    (line,) = (each for each in table.splitlines() if each.startswith("default/second"))
    assert "<pending>" in line
    assert "no pool has a free IPv4 address" in line
    metrics = cluster.near("lb", "curl", "-s", "http://127.0.0.1:7472/metrics")
    assert "fairlead_allocator_services_waiting 1" in metrics
    assert 'metallb_allocator_addresses_in_use_total{pool="tiny"} 1' in metrics
    cluster.kubectl("delete", "service", "first")
    assert cluster.address("second") == "203.0.113.110"
    assert cluster.dial("203.0.113.110", 80, 3)["failed"] == 0


def test_overlapping_pools_leave_the_last_good_ones_in_use_and_say_so(cluster: Cluster) -> None:
    cluster.apply(pool("good", "203.0.113.120-203.0.113.121"))
    in_use(cluster, "good")
    cluster.apply(pool("wide", "203.0.113.0/24"))
    eventually(lambda: not configuration(cluster)[0], "the configuration to be called invalid")
    assert "overlaps with" in configuration(cluster)[1]
    words = ("describe", "ipaddresspools", "-n", NAMESPACE)
    eventually(lambda: "overlaps with" in cluster.kubectl(*words), "an Event that kubectl describe shows")
    assert "configuration not in use" in cluster.run("status", "--load-balancers")
    cluster.apply(wanted("a"))
    assert cluster.address("a") == "203.0.113.120", "the pools that were good go on"
    cluster.apply(pool("wide", "203.0.113.122-203.0.113.129"))
    eventually(lambda: configuration(cluster) == (True, ""), "the configuration to be valid again")


def test_an_address_asked_for_is_given_by_field_and_by_annotation_old_and_new(cluster: Cluster) -> None:
    cluster.apply(pool("web", "203.0.113.130-203.0.113.139"), pool("kept", "203.0.113.140", autoAssign=False))
    in_use(cluster, "web", "kept")
    cluster.apply(
        wanted("by-field", loadBalancerIP="203.0.113.133"),
        wanted("by-new", {"metallb.io/loadBalancerIPs": "203.0.113.134"}),
        wanted("by-old", {"metallb.universe.tf/loadBalancerIPs": "203.0.113.135"}),
        wanted("by-pool", {"metallb.io/address-pool": "kept"}),
        wanted("nowhere", loadBalancerIP="192.0.2.1"),
    )
    given = {name: cluster.address(name) for name in ("by-field", "by-new", "by-old", "by-pool")}
    assert given == {
        "by-field": "203.0.113.133",
        "by-new": "203.0.113.134",
        "by-old": "203.0.113.135",
        "by-pool": "203.0.113.140",
    }
    assert "192.0.2.1 is in no pool" in said(cluster, "nowhere", "AllocationFailed")


def test_two_services_share_an_address_on_different_ports_and_not_on_the_same(cluster: Cluster) -> None:
    cluster.apply(pool("one", "203.0.113.150"))
    in_use(cluster, "one")
    share = {"metallb.io/allow-shared-ip": "team"}
    other = [{"name": "other", "port": 8080, "targetPort": 8080}]
    cluster.apply(wanted("first", share))
    assert cluster.address("first") == "203.0.113.150"
    cluster.apply(
        wanted("second", share, ports=other), wanted("third", {**share, "metallb.io/loadBalancerIPs": "203.0.113.150"})
    )
    assert cluster.address("second") == "203.0.113.150"
    assert "belongs to default/first, which has the same port: 80/TCP, 81/UDP" in said(
        cluster, "third", "AllocationFailed"
    )
    eventually(lambda: cluster.backends("203.0.113.150", 8080), "rows of the second")
    assert cluster.dial("203.0.113.150", 80, 5)["failed"] == 0
    assert cluster.dial("203.0.113.150", 8080, 5)["failed"] == 0


def test_a_pool_for_one_namespace_serves_no_other(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", "team", check=False)
    cluster.apply(pool("team", "203.0.113.160", serviceAllocation={"namespaces": ["team"]}))
    in_use(cluster, "team")
    cluster.apply(wanted("outside"))
    assert "for other Services" in said(cluster, "outside", "AllocationFailed")
    inside = wanted("inside")
    inside["metadata"]["namespace"] = "team"
    cluster.apply(inside)
    eventually(lambda: "203.0.113.160" in cluster.kubectl("get", "service", "inside", "-n", "team"), "its address")


def test_a_shrunk_pool_keeps_serving_what_is_in_use_and_says_so(cluster: Cluster) -> None:
    cluster.apply(pool("web", "203.0.113.170-203.0.113.171"))
    in_use(cluster, "web")
    cluster.apply(wanted("a", loadBalancerIP="203.0.113.171"))
    assert cluster.address("a") == "203.0.113.171"
    cluster.apply(pool("web", "203.0.113.170"))
    assert "no pool has 203.0.113.171 any more" in said(cluster, "a", "AddressNotInPool")
    assert "AddressNotInPool" in cluster.kubectl("describe", "service", "a")
    assert cluster.addresses("a") == ["203.0.113.171"]
    assert cluster.dial("203.0.113.171", 80, 3)["failed"] == 0


def test_a_service_that_is_no_load_balancer_any_more_gives_its_address_back(cluster: Cluster) -> None:
    cluster.apply(wanted("a"))
    address = cluster.address("a")
    eventually(lambda: cluster.backends(address, 80), "rows")
    cluster.kubectl("patch", "service", "a", "-p", '{"spec":{"type":"NodePort"}}')
    eventually(lambda: not cluster.addresses("a"), "the status to be cleared")
    eventually(lambda: not cluster.backends(address, 80), "rows to go")
    assert cluster.dial(address, 80, patience=0.5)["failed"] == 1
    mark = "metallb.io/ip-allocated-from-pool"
    eventually(lambda: mark not in cluster.get("service", "a")["metadata"].get("annotations", {}), "the mark to go")


def test_a_service_of_another_class_is_left_alone(cluster: Cluster) -> None:
    cluster.apply(
        wanted("theirs", loadBalancerClass="example.com/theirs"),
        wanted("ours", loadBalancerClass="fairlead.dev/external"),
    )
    cluster.address("ours")
    assert cluster.addresses("theirs") == []
    theirs = {
        "metadata": {"annotations": {"metallb.io/ip-allocated-from-pool": "theirs"}},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.77"}]}},
    }
    cluster.kubectl("patch", "service", "theirs", "--subresource=status", "--type=merge", "-p", json.dumps(theirs))
    cluster.apply(wanted("later"))
    cluster.address("later")
    assert cluster.addresses("theirs") == ["192.0.2.77"], "what another controller gave is not ours to take away"


def test_addresses_stay_when_the_agent_is_started_again_and_traffic_never_stops(cluster: Cluster) -> None:
    cluster.apply(wanted("a"), wanted("b"), wanted("c"))
    before = {name: cluster.address(name) for name in "abc"}
    eventually(lambda: cluster.backends(before["c"], 80), "rows")
    log = cluster.home / "fairlead" / "logs" / "loadbalancer.log"
    written = len(log.read_text())
    cluster.at("lb", "sh", "-c", "kill -9 $(grep -l '^loadbalancer$' /proc/[0-9]*/comm | cut -d/ -f3)")
    assert cluster.dial(before["a"], 80, 20)["failed"] == 0, "rows stay while the agent is away"
    eventually(
        lambda: "event=programmed" in log.read_text()[written:] or "event=health" in log.read_text()[written:], "it"
    )
    cluster.apply(wanted("d"))
    fourth = cluster.address("d")
    assert {name: cluster.address(name) for name in "abc"} == before
    assert fourth not in before.values()
    again = [line for line in log.read_text()[written:].splitlines() if "event=allocated" in line]
    assert again == ["event=allocated granted=1 waiting=0"], "only the new Service was given something"


def test_the_example_does_what_its_readme_says(cluster: Cluster) -> None:
    folder = str(REPOSITORY / "examples" / "load-balancer")
    try:
        cluster.kubectl("apply", "-f", folder)
        cluster.kubectl("rollout", "status", "deployment/site", "--timeout=60s")
        shared = cluster.address("site")
        assert shared.startswith("203.0.113.")
        assert cluster.address("echo") == shared
        eventually(lambda: cluster.backends(shared, 80), "rows")
        assert cluster.dial(shared, 80, 3)["failed"] == 0
        assert cluster.dial(shared, 7, 3, "udp")["failed"] == 0
        seen = cluster.address("seen")
        eventually(lambda: cluster.backends(seen, 80), "rows")
        assert cluster.dial(seen, 80, 3)["seen"] == {"198.51.100.2": 3}
    finally:
        cluster.kubectl("delete", "-f", folder)
