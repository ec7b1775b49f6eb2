"""What do NetworkPolicies and ClusterNetworkPolicies mean, and what is told of those that mean nothing?"""

from typing import Any

import msgspec
import pytest

from fairlead.compile.cluster_policies import compile_cluster_policy
from fairlead.compile.policies import compile_network_policy
from fairlead.compile.policy_pods import compile_pod
from fairlead.compile.policy_profiles import compile_subject, merge_ranges
from fairlead.kube.networking import NetworkPolicy
from fairlead.kube.outlines import PodOutline
from fairlead.kube.policy import ClusterNetworkPolicy
from fairlead.model import Finding
from fairlead.model.policies import (
    Action,
    AddressBlock,
    Anyone,
    LabelTest,
    NamedPort,
    Operator,
    PodGroup,
    PodPort,
    Policy,
    PortRange,
    Tier,
)
from fairlead.net import Port, Protocol, parse_prefix

UNKNOWN = {"matchExpressions": [{"key": "a", "operator": "Like"}]}


def read(**spec: Any) -> tuple[Policy, tuple[Finding, ...]]:
    spec.setdefault("podSelector", {})
    document = {"metadata": {"name": "p", "namespace": "n"}, "spec": spec}
    return compile_network_policy(msgspec.convert(document, NetworkPolicy))


def meaning(**spec: Any) -> Policy:
    policy, findings = read(**spec)
    assert not findings
    return policy


def read_cluster(**spec: Any) -> tuple[Policy, tuple[Finding, ...]]:
    spec = {"tier": "Admin", "priority": 3, "subject": {"namespaces": {}}, **spec}
    return compile_cluster_policy(msgspec.convert({"metadata": {"name": "p"}, "spec": spec}, ClusterNetworkPolicy))


def test_types_default_to_ingress_and_to_egress_with_rules():
    assert (meaning().ingress, meaning().egress) == ((), None)
    both = meaning(egress=[{}])
    assert both.ingress == ()
    assert both.egress is not None
    only = meaning(policyTypes=["Egress"], ingress=[{}])
    assert (only.ingress, only.egress) == (None, ())


def test_absent_peers_and_ports_are_everything_and_absent_selectors_are_not_empty_ones():
    policy = meaning(ingress=[{}, {"from": [{"podSelector": {}}, {"namespaceSelector": {}}]}])
    assert policy.ingress is not None
    everything, pods = policy.ingress
    assert (everything.peers, everything.ports) == (None, None)
    assert pods.peers == (PodGroup("n"), PodGroup(None))


def test_selectors_mean_the_same_in_any_order():
    first = {
        "matchLabels": {"b": "2", "a": "1"},
        "matchExpressions": [{"key": "c", "operator": "In", "values": ["y", "x"]}],
    }
    second = {
        "matchExpressions": [{"key": "c", "operator": "In", "values": ["x", "y"]}],
        "matchLabels": {"a": "1", "b": "2"},
    }
    subject = meaning(podSelector=first).subject
    assert subject == meaning(podSelector=second).subject
    assert subject.pods[2] == LabelTest("c", Operator.IN, ("x", "y"))


def test_ports_are_ranges_and_names():
    given = [{"port": 80}, {"protocol": "UDP"}, {"port": 1000, "endPort": 2000, "protocol": "SCTP"}, {"port": "web"}]
    policy = meaning(ingress=[{"ports": given}])
    assert policy.ingress is not None
    assert policy.ingress[0].ports == (
        PortRange(Protocol.TCP, Port(80), Port(80)),
        PortRange(Protocol.UDP, Port(0), Port(65535)),
        PortRange(Protocol.SCTP, Port(1000), Port(2000)),
        NamedPort(Protocol.TCP, "web"),
    )


def test_a_block_is_read_as_servers_that_are_not_strict_took_it():
    policy, findings = read(ingress=[{"from": [{"ipBlock": {"cidr": "010.001.2.3/8", "except": ["10.9.9.9/16"]}}]}])
    assert policy.ingress is not None
    assert policy.ingress[0].peers == (AddressBlock(parse_prefix("10.0.0.0/8"), (parse_prefix("10.9.0.0/16"),)),)
    assert not findings


@pytest.mark.parametrize(
    ("rule", "where"),
    [
        ({"from": [{}]}, "spec.ingress[0].from[0]"),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}, "spec.ingress[0].from[0]"),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0/33"}}]}, "spec.ingress[0].from[0].ipBlock"),
        (
            {"from": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}]},
            "spec.ingress[0].from[0]",
        ),
    ],
)
def test_a_peer_that_makes_no_sense_is_nobody_and_told(rule: dict[str, object], where: str):
    policy, findings = read(ingress=[rule])
    assert policy.ingress is not None
    assert policy.ingress[0].peers == (Anyone.NOBODY,)
    assert [each.origin.field for each in findings] == [where]


@pytest.mark.parametrize("port", [{"port": 90, "endPort": 80}, {"protocol": "ICMP"}, {"port": 70000}])
def test_a_port_that_makes_no_sense_is_none_and_told(port: dict[str, object]):
    policy, findings = read(ingress=[{"ports": [port]}])
    assert policy.ingress is not None
    assert policy.ingress[0].ports == ()
    assert [each.origin.field for each in findings] == ["spec.ingress[0].ports[0]"]


def test_a_cluster_policy_has_tier_priority_and_actions():
    rule = {
        "action": "Pass",
        "from": [{"namespaces": {"matchLabels": {"a": "1"}}}, {"pods": {"podSelector": {"matchLabels": {"b": "2"}}}}],
        "protocols": [
            {"tcp": {"destinationPort": {"range": {"start": 1, "end": 9}}}},
            {"destinationNamedPort": "web"},
            {"udp": {}},
        ],
    }
    policy, findings = read_cluster(
        ingress=[rule], egress=[{"action": "Deny", "to": [{"networks": ["0.0.0.0/0", "::/0"]}]}]
    )
    assert not findings
    assert (policy.tier, policy.priority, policy.subject) == (Tier.ADMIN, 3, PodGroup(None))
    assert policy.ingress is not None
    assert policy.egress is not None
    assert policy.ingress[0].action is Action.PASS
    assert policy.ingress[0].peers == (
        PodGroup(None, (LabelTest("a", Operator.IN, ("1",)),)),
        PodGroup(None, (), (LabelTest("b", Operator.IN, ("2",)),)),
    )
    assert policy.ingress[0].ports == (
        PortRange(Protocol.TCP, Port(1), Port(9)),
        NamedPort(None, "web"),
        PortRange(Protocol.UDP, Port(0), Port(65535)),
    )
    assert policy.egress[0].peers == (AddressBlock(parse_prefix("0.0.0.0/0")), AddressBlock(parse_prefix("::/0")))
    assert read_cluster(ingress=[rule])[0].egress is None


@pytest.mark.parametrize("action", ["Accept", "Deny", "Pass", "Perhaps"])
@pytest.mark.parametrize("part", [{"to": [{"nodes": {}}]}, {"to": [{"namespaces": {}}], "protocols": [{}]}])
def test_what_a_cluster_policy_means_with_unknown_parts_fails_closed(action: str, part: dict[str, object]):
    policy, findings = read_cluster(egress=[{"action": action, **part}])
    assert findings
    assert policy.egress is not None
    (rule,) = policy.egress
    if action == "Accept":
        assert rule.action is Action.ACCEPT
        assert rule.peers == (Anyone.NOBODY,) or rule.ports == ()
    else:
        assert (rule.action, rule.peers, rule.ports) == (Action.DENY, (Anyone.EVERYBODY,), None)


def pod(**fields: Any) -> PodOutline:
    spec = {
        "nodeName": "node-1",
        "containers": [{"ports": [{"name": "web", "containerPort": 8080}]}],
        **fields.pop("spec", {}),
    }
    status = {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], **fields.pop("status", {})}
    return msgspec.convert({"metadata": {"name": "a", "namespace": "n"}, "spec": spec, "status": status}, PodOutline)


def test_pods_without_an_address_of_their_own_are_not_seen():
    found = compile_pod(pod())
    assert found is not None
    assert [str(each) for each in found.addresses] == ["10.0.0.1", "fd00::1"]
    assert compile_pod(pod(spec={"hostNetwork": True})) is None
    assert compile_pod(pod(status={"podIPs": []})) is None
    assert compile_pod(pod(status={"phase": "Succeeded"})) is None
    assert compile_pod(pod(status={"phase": "Failed"})) is None


def test_init_containers_name_ports_where_they_stay():
    ports = [{"name": "sidecar", "containerPort": 9000}]
    found = compile_pod(pod(spec={"initContainers": [{"ports": ports, "restartPolicy": "Always"}]}))
    assert found is not None
    assert [each.name for each in found.ports] == ["web", "sidecar"]
    found = compile_pod(pod(spec={"initContainers": [{"ports": ports}]}))
    assert found is not None
    assert [each.name for each in found.ports] == ["web"]


def test_profiles_are_the_same_for_the_same_policies_in_any_order():
    policies = [
        meaning(ingress=[{"from": [{"podSelector": {}}]}]),
        read_cluster(ingress=[{"action": "Deny", "from": []}])[0],
    ]
    ports = [PodPort("web", Protocol.TCP, Port(80))]
    assert compile_subject(policies, ports) == compile_subject(reversed(policies), ports)


def test_a_question_that_another_one_answers_is_left_out():
    subject = compile_subject([meaning(ingress=[{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}, {}])], ())
    assert subject is not None
    assert subject.ingress is not None
    assert [(term.peer, term.ports) for term in subject.ingress.rest] == [(None, None)]


def test_ranges_that_touch_become_one():
    ranges = [PortRange(Protocol.TCP, Port(first), Port(last)) for first, last in ((5, 9), (1, 4), (8, 12), (20, 20))]
    assert merge_ranges(ranges) == (
        PortRange(Protocol.TCP, Port(1), Port(12)),
        PortRange(Protocol.TCP, Port(20), Port(20)),
    )
