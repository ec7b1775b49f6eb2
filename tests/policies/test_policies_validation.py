"""What the API server says of ClusterNetworkPolicies that break a rule of network-policy-api v0.2.0."""

import copy
from typing import Any

import pytest
from oracle import Document

from fairlead.cluster.apiserver.kinds.cluster_policies import CLUSTER_NETWORK_POLICY

SOUND: Document = {
    "tier": "Admin",
    "priority": 10,
    "subject": {"namespaces": {}},
    "ingress": [{"action": "Deny", "from": [{"pods": {"podSelector": {"matchLabels": {"a": "b"}}}}]}],
    "egress": [
        {
            "action": "Accept",
            "to": [{"networks": ["192.0.2.0/24"]}],
            "protocols": [{"tcp": {"destinationPort": {"range": {"start": 1, "end": 2}}}}],
        }
    ],
}


def problems(**changes: Any) -> list[str]:
    policy: Document = {
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "x"},
        "spec": {**copy.deepcopy(SOUND), **changes},
    }
    return [str(each) for each in CLUSTER_NETWORK_POLICY.validate(policy)]


def deny(**rule: Any) -> Document:
    return {"ingress": [{"action": "Deny", "from": [{"namespaces": {}}], **rule}]}


WRONG: dict[str, tuple[Document, str]] = {
    "another tier": ({"tier": "Middle"}, 'spec.tier: Unsupported value: "Middle"'),
    "no priority": ({"priority": None}, "spec.priority: Required value"),
    "a priority too high": ({"priority": 1001}, "spec.priority: Invalid value: 1001: must be from 0 to 1000"),
    "no subject": ({"subject": {}}, "spec.subject: Invalid value"),
    "two subjects": ({"subject": {"namespaces": {}, "pods": {}}}, "exactly one of namespaces, pods must be given"),
    "too many rules": (
        {"ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}] * 26},
        "spec.ingress: Too many: 26: must have at most 25 items"),
    "an action of another API": (deny(action="Allow"), 'spec.ingress[0].action: Unsupported value: "Allow"'),
    "no peer": (deny(**{"from": []}), "spec.ingress[0].from: Required value"),
    "networks let in": (
        deny(**{"from": [{"networks": ["192.0.2.0/24"]}]}), "spec.ingress[0].from[0]: Invalid value"),
    "no network": (
        {"egress": [{"action": "Deny", "to": [{"networks": ["here"]}]}]}, "spec.egress[0].to[0].networks[0]: Invalid"),
    "names denied": (
        {"egress": [{"action": "Deny", "to": [{"domainNames": ["a.example."]}]}]},
        "domainNames may only be used with Accept"),
    "a port's name at a network": (
        {"egress": [{"action": "Deny", "to": [{"networks": ["192.0.2.0/24"]}],
                     "protocols": [{"destinationNamedPort": "web"}]}]},
        "may not be used with networks, nodes or domainNames"),
    "two protocols in one": (deny(protocols=[{"tcp": {}, "udp": {}}]), "spec.ingress[0].protocols[0]: Invalid value"),
    "a range that is none": (
        deny(protocols=[{"udp": {"destinationPort": {"range": {"start": 9, "end": 9}}}}]),
        "start must be less than end"),
    "port 0": (deny(protocols=[{"tcp": {"destinationPort": {"number": 0}}}]), "must be from 1 to 65535"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_a_policy_that_breaks_a_rule_is_told_so(case: tuple[Document, str]) -> None:
    changes, wanted = case
    found = problems(**changes)
    assert len(found) == 1
    assert wanted in found[0]


def test_a_sound_policy_has_no_problem() -> None:
    assert problems() == []
