"""What the API server says of policies that break a rule: for NetworkPolicies upstream's messages.

For ClusterNetworkPolicies the rules are those of network-policy-api v0.2.0. What `tests/kinds` has is not here again.
"""

import copy
from typing import Any

import pytest
from oracle import Document

from fairlead.cluster.apiserver.kinds.cluster_policies import CLUSTER_NETWORK_POLICY
from fairlead.cluster.apiserver.kinds.table import NETWORK_POLICY

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


PORT, SELECTOR = "spec.ingress[0].ports[0]", "spec.podSelector"
LABEL_KEY = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with"
LABEL_VALUE = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.'"


def port(**fields: Any) -> Document:
    return {"ingress": [{"ports": [fields]}]}


def expression(**fields: Any) -> Document:
    return {"podSelector": {"matchExpressions": [fields]}}


MISTAKES: dict[str, tuple[Document, str]] = {
    "port 0": (port(port=0), f"{PORT}.port: Invalid value: 0: must be between 1 and 65535, inclusive"),
    "a port too high": (port(port=70000), f"{PORT}.port: Invalid value: 70000: must be between 1 and 65535, inclusive"),
    "a name that is none": (
        port(port="UPPER_x"),
        f'{PORT}.port: Invalid value: "UPPER_x": must contain only alpha-numeric characters (a-z, 0-9), and hyphens'),
    "a name too long": (
        port(port="abcdefghijklmnop"),
        f'{PORT}.port: Invalid value: "abcdefghijklmnop": must be no more than 15 characters'),
    "an end too high": (
        port(port=90, endPort=70000), f"{PORT}.endPort: Invalid value: 70000: must be between 1 and 65535, inclusive"),
    "a protocol in small letters": (
        port(protocol="tcp", port=80),
        f'{PORT}.protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"'),
    "an exception that is no range": (
        {"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["x"]}}]}]},
        'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "x": must be a valid CIDR value, '
        "(e.g. 10.9.8.0/24 or 2001:db8::/64)"),
    "an exception of the other family": (
        {"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["fd00::/64"]}}]}]},
        'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "fd00::/64": must be a strict subset of `cidr`'),
    "a peer that is nothing, on the way out": (
        {"egress": [{"to": [{}]}]}, "spec.egress[0].to[0]: Required value: must specify a peer"),
    "an operator that is none": (
        expression(key="a", operator="Is", values=["b"]),
        f'{SELECTOR}.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator'),
    "one of nothing": (
        expression(key="a", operator="In"),
        f"{SELECTOR}.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"),
    "existence with values": (
        expression(key="a", operator="Exists", values=["b"]),
        f"{SELECTOR}.matchExpressions[0].values: Forbidden: "
        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
    "a label that is none": (
        {"podSelector": {"matchLabels": {"a b": "c"}}}, f'{SELECTOR}.matchLabels: Invalid value: "a b": {LABEL_KEY}'),
    "a label's value that is none": (
        {"podSelector": {"matchLabels": {"a": "c d"}}}, f'{SELECTOR}.matchLabels: Invalid value: "c d": {LABEL_VALUE}'),
    "one of several values that is none": (
        expression(key="a", operator="In", values=["b", "c d"]),
        f'{SELECTOR}.matchExpressions[0].values[1]: Invalid value: "c d": {LABEL_VALUE}'),
    "a selector of namespaces that is none": (
        {"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"-": "c"}}}]}]},
        f'spec.ingress[0].from[0].namespaceSelector.matchLabels: Invalid value: "-": {LABEL_KEY}'),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES)
def test_a_network_policy_with_a_mistake_is_told_so_in_upstreams_words(case: tuple[Document, str]) -> None:
    changes, wanted = case
    metadata: Document = {"name": "x", "namespace": "default"}
    spec: Document = {"podSelector": {}, "policyTypes": ["Ingress"], **changes}
    (found,) = NETWORK_POLICY.validate({"kind": "NetworkPolicy", "metadata": metadata, "spec": spec})
    assert str(found).startswith(wanted)
