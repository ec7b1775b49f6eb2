"""What a trace tells of the finer rules: affinity, source ranges, policy Local, hairpins, both families."""

import pytest
from msgspec.structs import replace

from fairlead.kube.core import NodeAddress
from fairlead.kube.yamlcodec import parse_documents
from fairlead.net import Protocol
from fairlead.sim.answers import Disposition, Trace
from fairlead.sim.manifests import derive_world
from fairlead.sim.telling import tell_trace
from fairlead.sim.trace import trace_connection

MANIFESTS = """
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec: {nodeName: node-1, containers: [{name: it, image: it, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-2, namespace: shop, labels: {app: web}}
spec: {nodeName: node-2, containers: [{name: it, image: it, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: caller, namespace: shop}
spec: {nodeName: node-1, containers: [{name: it, image: it, ports: [{containerPort: 8080, hostPort: 9000}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: sticky, namespace: shop}
spec:
  selector: {app: web}
  clusterIP: 10.96.0.20
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: closed, namespace: shop}
spec:
  type: LoadBalancer
  selector: {app: web}
  clusterIP: 10.96.0.21
  loadBalancerSourceRanges: [198.51.100.0/24, 10.244.2.0/24]
  ports: [{port: 80, targetPort: 8080}]
status: {loadBalancer: {ingress: [{ip: 203.0.113.9}]}}
---
apiVersion: v1
kind: Service
metadata: {name: local, namespace: shop}
spec:
  type: NodePort
  selector: {app: web}
  clusterIP: 10.96.0.22
  externalTrafficPolicy: Local
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
---
apiVersion: v1
kind: Service
metadata: {name: both, namespace: shop}
spec:
  type: NodePort
  selector: {app: web}
  ipFamilyPolicy: PreferDualStack
  ports: [{port: 80, targetPort: 8080, nodePort: 30081}]
---
apiVersion: v1
kind: Service
metadata: {name: six, namespace: shop}
spec: {selector: {app: web}, ipFamilies: [IPv6], ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: four, namespace: shop}
spec: {nodeName: node-1, containers: [{name: it, image: it}]}
status: {phase: Running, podIP: 10.244.1.99, podIPs: [{ip: 10.244.1.99}]}
"""
WORLD = derive_world(parse_documents(MANIFESTS, source="hops"))


def trace(source: str, target: str) -> Trace:
    return trace_connection(WORLD, source, target, Protocol.TCP)


def fields(answer: Trace) -> set[str]:
    """The object fields that the steps of the first end name."""
    steps = (step for hop in answer.ends[0].hops for step in hop.steps)
    return {step.origin.field for step in steps if step.origin}


def test_affinity_is_told_with_its_field_and_its_time() -> None:
    answer = trace("pod/shop/caller", "svc/shop/sticky:80")
    assert {end.place for end in answer.ends} == {"pod/shop/web-1", "pod/shop/web-2"}
    assert "spec.sessionAffinity" in fields(answer)
    remark = answer.remarks[-1]
    assert remark == (
        "Service shop/sticky keeps a client at the pod it came to first, until 60 s after its last new connection "
        "(spec.sessionAffinity)"
    )
    text = tell_trace(answer)
    assert "from Service shop/sticky spec.sessionAffinity" in text
    assert remark in text


def test_who_is_kept_out_is_dropped_before_anything_is_chosen_and_told_the_ranges() -> None:
    answer = trace("pod/shop/caller", "203.0.113.9:80")
    (end,) = answer.ends
    assert end.disposition is Disposition.DROPPED
    assert end.reason == (
        "10.244.1.4 is kept out before anything is chosen: only 10.244.2.0-10.244.2.255, 198.51.100.0-198.51.100.255 "
        "may come"
    )
    assert str(end.origin) == "Service shop/closed spec.loadBalancerSourceRanges"
    assert {step.hook for step in end.hops[-1].steps} == {"prerouting"}
    assert not {step.chain for step in end.hops[-1].steps} & {"nat-prerouting"}


@pytest.mark.parametrize("source", ["pod/shop/web-2", "node/node-2"])
def test_who_is_admitted_goes_on_to_the_endpoints(source: str) -> None:
    expected = Disposition.DELIVERED if source.startswith("pod") else Disposition.DROPPED
    assert trace(source, "203.0.113.9:80").disposition is expected


def test_source_ranges_leave_the_cluster_ip_alone() -> None:
    assert trace("pod/shop/caller", "svc/shop/closed:80").disposition is Disposition.DELIVERED


def test_policy_local_keeps_a_client_s_address_and_to_the_node_it_dials() -> None:
    answer = trace("client", "172.18.0.2:30080")
    assert {(end.place, end.seen_as) for end in answer.ends} == {("pod/shop/web-1", "198.51.100.2")}
    missing = trace("client", "172.18.0.4:30080")
    assert missing.disposition is Disposition.DROPPED
    assert str(missing.ends[0].origin) == "Service shop/local spec.externalTrafficPolicy"
    assert "2 ready elsewhere, and the traffic policy is Local" in missing.ends[0].reason


@pytest.mark.parametrize(
    ("source", "seen"), [("pod/shop/caller", {"10.244.1.4"}), ("node/node-1", {"172.18.0.2"})], ids=["pod", "node"]
)
def test_policy_local_is_no_matter_inside_the_node_and_the_short_cut_names_its_field(
    source: str, seen: set[str]
) -> None:
    answer = trace(source, "172.18.0.2:30080")
    assert {end.place for end in answer.ends} == {"pod/shop/web-1", "pod/shop/web-2"}
    assert {end.seen_as for end in answer.ends} == seen
    assert "spec.externalTrafficPolicy" in fields(answer)


def test_a_pod_that_comes_to_itself_is_told_why_it_sees_its_node() -> None:
    ends = {end.place: end for end in trace("pod/shop/web-1", "svc/shop/sticky:80").ends}
    itself, other = ends["pod/shop/web-1"], ends["pod/shop/web-2"]
    assert (itself.seen_as, itself.reason) == ("172.18.0.2", "on node-1; a pod that dials itself is masqueraded")
    assert (other.seen_as, other.reason) == ("10.244.1.2", "on node-2")


def test_a_host_port_leads_to_its_pod_and_names_its_field() -> None:
    answer = trace("client", "172.18.0.2:9000")
    (end,) = answer.ends
    assert (end.disposition, end.place, end.seen_as) == (Disposition.DELIVERED, "pod/shop/caller", "198.51.100.2")
    assert str(end.origin) == "Pod shop/caller spec.containers[0].ports[0].hostPort"
    assert trace("client", "172.18.0.3:9000").disposition is Disposition.NO_LISTENER


def test_a_service_of_both_families_is_traced_in_each() -> None:
    four, six = WORLD.services["shop", "both"].spec.cluster_ips
    answer = trace("pod/shop/caller", f"{four}:80")
    assert {end.address.rpartition(":")[0] for end in answer.ends} == {"10.244.1.2", "10.244.2.3"}
    answer = trace("pod/shop/caller", f"[{six}]:80")
    assert {(end.place, end.address) for end in answer.ends} == {
        ("pod/shop/web-1", "[fd00:10:244:1::2]:8080"),
        ("pod/shop/web-2", "[fd00:10:244:2::3]:8080"),
    }
    assert {end.seen_as for end in answer.ends} == {"fd00:10:244:1::4"}
    assert "ip6 daddr . meta l4proto . th dport vmap @frontends" in tell_trace(answer)


def test_an_ipv6_node_port_is_traced_from_outside() -> None:
    answer = trace("client", "[fd00:172:18::3]:30081")
    assert {end.place for end in answer.ends} == {"pod/shop/web-1", "pod/shop/web-2"}
    assert {end.seen_as for end in answer.ends} == {"fd00:172:18::3"}
    assert trace("client", "http://[fd00:172:18::3]:30082/").disposition is Disposition.NO_LISTENER


def test_a_service_of_one_family_has_addresses_and_endpoints_of_that_family_alone() -> None:
    answer = trace("pod/shop/caller", "svc/shop/six:80")
    assert answer.packet.startswith("tcp fd00:10:244:1::4 -> [fd00:10:96::")
    assert answer.disposition is Disposition.DELIVERED


def test_a_node_port_is_traced_at_the_primary_addresses_of_a_node_alone() -> None:
    node = WORLD.nodes["node-1"]
    second = NodeAddress(type="InternalIP", address="172.18.0.77")
    changed = replace(node, status=replace(node.status, addresses=(*node.status.addresses, second)))
    world = replace(WORLD, nodes={**WORLD.nodes, "node-1": changed})
    for address, expected in (("172.18.0.2", Disposition.DELIVERED), ("172.18.0.77", Disposition.NO_LISTENER)):
        assert trace_connection(world, "client", f"{address}:30081", Protocol.TCP).disposition is expected


def test_an_unknown_ipv6_service_address_is_dropped() -> None:
    assert trace("pod/shop/caller", "[fd00:10:96::999]:80").disposition is Disposition.DROPPED
    assert trace("client", "[fd00:10:96::999]:80").disposition is Disposition.NO_ROUTE


def test_a_place_without_an_address_of_the_family_has_no_way() -> None:
    answer = trace("pod/shop/four", "[fd00:10:96::10]:80")
    assert answer.disposition is Disposition.NO_ROUTE
    assert answer.ends[0].reason == "pod/shop/four has no IPv6 address"
