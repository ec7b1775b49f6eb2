"""Does a trace to an address that nodes announce say who does, and lead through it?"""

import json

import pytest
from announcing_cluster import Announced

from fairlead.kube.yamlcodec import parse_documents
from fairlead.net import Protocol
from fairlead.sim.answers import Disposition, Trace
from fairlead.sim.manifests import derive_world
from fairlead.sim.trace import trace_connection

MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}], POLICY}
status: {loadBalancer: {ingress: [{ip: 172.18.254.1}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: node-2, containers: [{name: c, ports: [{containerPort: 80}]}]}
status: {phase: Running, podIP: 10.244.2.9, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: first}
spec: {addresses: [172.18.254.0/24]}
---
apiVersion: metallb.io/v1beta1
kind: KIND
metadata: {name: all}
spec: {ipAddressPools: [first], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: SELECTED}}]}
"""


def traced(kind: str, selected: str, policy: str = "externalTrafficPolicy: Cluster") -> Trace:
    text = MANIFESTS.replace("KIND", kind).replace("SELECTED", selected).replace("POLICY", policy)
    world = derive_world(list(parse_documents(text, source="test")))
    return trace_connection(world, "client", "172.18.254.1:80", Protocol.TCP)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("L2Advertisement", "node node-1, which answers ARP for it, elected among 1, by the fabric"),
        ("BGPAdvertisement", "node node-1, which announces 172.18.254.1/32 to routers by BGP, by the fabric"),
    ],
)
def test_the_way_leads_through_the_node_that_announces(kind: str, words: str) -> None:
    found = traced(kind, "node-1")
    assert found.disposition is Disposition.DELIVERED
    (end,) = found.ends
    assert [hop.place for hop in end.hops] == ["client", "node/node-1", "node/node-2"]
    assert end.hops[0].onward == words


def test_no_candidate_is_said_to_be_the_reason() -> None:
    found = traced("L2Advertisement", "node-1", "externalTrafficPolicy: Local")
    assert found.disposition is Disposition.NO_ROUTE
    assert "no L2Advertisement is for pool first and for a node that is ready" in found.ends[0].reason


@pytest.mark.kernel
@pytest.mark.cluster
def test_the_kernel_goes_the_way_a_trace_in_a_cluster_tells(announced: Announced) -> None:
    address = announced.address("web")
    words = ("trace", "client", f"{address}:80", "-o", "json", "--packet")
    found = json.loads(announced.run(*words, "--name", "fairlead"))
    assert found["disposition"] == "delivered"
    assert found["sent"]["agrees"]
    assert "which answers ARP for it, as ServiceL2Status says" in found["ends"][0]["hops"][0]["onward"]
