"""What is told of a connection that policies deny: which side, which policies, and which rule came nearest."""

import pytest

from fairlead.kube.yamlcodec import parse_documents
from fairlead.net import Protocol
from fairlead.sim.answers import Disposition, Trace
from fairlead.sim.manifests import derive_world
from fairlead.sim.trace import trace_connection
from fairlead.sim.world import World

WORLD = """
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}}, spec: {nodeName: node-1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: api, namespace: shop, labels: {app: api}}, spec: {nodeName: node-2}}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: data, labels: {app: db}}
spec: {nodeName: node-3, containers: [{ports: [{containerPort: 5432}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: data}
spec: {selector: {app: db}, ports: [{port: 15432, targetPort: 5432}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-api, namespace: data}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}
      podSelector: {matchLabels: {app: api}}
    - ipBlock: {cidr: 198.51.100.0/24, except: [198.51.100.2/32]}
    ports: [{port: 5432}]
"""
NO_EGRESS = """
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: no-egress, namespace: shop}
spec: {podSelector: {}, policyTypes: [Egress]}
"""
ADMIN = """
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: closed}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {}}
  ingress: [{action: Deny, from: [{pods: {podSelector: {matchLabels: {app: api}}}}]}]
"""
METRICS = """
---
apiVersion: v1
kind: Service
metadata: {name: metrics, namespace: data}
spec: {selector: {app: db}, ports: [{port: 80, targetPort: 9187}]}
"""


def trace(source: str, target: str = "svc/data/db:15432", more: str = "") -> Trace:
    return trace_connection(world(more), source, target, Protocol.TCP)


def world(more: str = "") -> World:
    return derive_world(list(parse_documents(WORLD + more, source="test")))


def reason(answer: Trace) -> str:
    (end,) = answer.ends
    return end.reason


def test_an_allowed_connection_shows_the_policy_it_passed():
    answer = trace("pod/shop/api")
    assert answer.disposition is Disposition.DELIVERED
    steps = [step for hop in answer.ends[0].hops for step in hop.steps if step.table == "fairlead-policy"]
    assert "NetworkPolicy data/only-api" in [str(step.origin) for step in steps]


@pytest.mark.parametrize(
    ("source", "nearest"),
    [
        ("pod/shop/web", "from[0].podSelector asks for app=api; this is pod shop/web with app=web"),
        ("client", "from[1].ipBlock.except[0] asks for an address outside 198.51.100.2/32; this is 198.51.100.2"),
    ],
)
def test_a_denied_connection_names_the_side_its_policies_and_the_field_that_did_not_match(source: str, nearest: str):
    address = world().pods["data", "db"].status.pod_ip
    answer = trace(source, f"{address}:5432")
    assert answer.disposition is Disposition.DROPPED
    said = reason(answer)
    assert said.startswith("ingress of pod data/db is isolated by NetworkPolicy data/only-api; nearest rule: ")
    assert f"spec.ingress[0].{nearest}" in said


def test_a_port_that_is_not_allowed_is_named_as_the_pod_sees_it():
    assert trace("pod/shop/api", more=METRICS).disposition is Disposition.DELIVERED
    answer = trace("pod/shop/api", "svc/data/metrics:80", more=METRICS)
    assert "spec.ingress[0].ports asks for TCP 5432; this is TCP 9187" in reason(answer)


def test_the_senders_side_is_named_where_it_denies():
    answer = trace("pod/shop/api", more=NO_EGRESS)
    said = reason(answer)
    assert said == "egress of pod shop/api is isolated by NetworkPolicy shop/no-egress, and no rule allows anything"
    assert answer.ends[0].place == "node/node-2"


def test_a_rule_of_an_administrator_that_denies_is_named():
    answer = trace("pod/shop/api", more=ADMIN)
    assert reason(answer) == "ingress of pod data/db is denied by ClusterNetworkPolicy closed spec.ingress[0]"
