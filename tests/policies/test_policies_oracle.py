"""Truth tables written by hand: the upstream policy specs and cyclonus' cases. Holds the oracle to people's reading."""

from typing import Any

import pytest
from nine_pods import a_policy, namespaces, pods
from oracle import Document, Oracle, inside, matches

ALL = {f"{space}/{name}" for space in "xyz" for name in "abc"}
A_IN_X: Document = {"matchLabels": {"pod": "a"}}
NS_Y: Document = {"namespaceSelector": {"matchLabels": {"ns": "y"}}}
NOT_X = [{"key": "ns", "operator": "NotIn", "values": ["x"]}]


def only(space: str) -> set[str]:
    return {each for each in ALL if each.startswith(space)}


def admitted(policies: list[Document], protocol: str, port: int, target: str = "x/a") -> set[str]:
    """Which pods reach one."""
    found = {f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": pod for pod in pods()}
    oracle = Oracle([*found.values(), *namespaces(), *policies])
    return {name for name, pod in found.items() if oracle.allows(pod, found[target], protocol, port)}


def into(*rules: Document, **spec: Any) -> list[Document]:
    """A policy for pod a of x."""
    return [a_policy("x", "p", A_IN_X, ingress=list(rules), **spec)]


def out_of(space: str, *rules: Document) -> list[Document]:
    """A policy for what all pods of a namespace send."""
    return [a_policy(space, "p", {}, egress=list(rules), policyTypes=["Egress"])]


Case = tuple[list[Document], str, int, set[str]]
CASES: dict[str, Case] = {
    "no policy allows all": ([], "TCP", 80, ALL),
    "default deny ingress leaves a pod itself": ([a_policy("x", "p", {})], "TCP", 80, {"x/a"}),
    "a policy of another namespace selects nobody here": ([a_policy("y", "p", {})], "TCP", 80, ALL),
    "default deny egress stops the senders only": (out_of("y"), "TCP", 80, ALL - only("y")),
    "deny all in both directions": (
        [a_policy("x", "p", {}, policyTypes=["Ingress", "Egress"])], "UDP", 81, {"x/a"}),
    "an empty rule allows all": (into({}), "UDP", 81, ALL),
    "an empty list of peers is everybody": (into({"from": []}), "TCP", 80, ALL),
    "a pod selector means its own namespace": (into({"from": [{"podSelector": {}}]}), "TCP", 80, only("x")),
    "a namespace selector means all its pods": (into({"from": [NS_Y]}), "TCP", 80, only("y") | {"x/a"}),
    "an empty namespace selector is all namespaces": (into({"from": [{"namespaceSelector": {}}]}), "TCP", 80, ALL),
    "match expressions of namespaces": (
        into({"from": [{"namespaceSelector": {"matchExpressions": NOT_X}}]}), "TCP", 80, ALL - only("x") | {"x/a"}),
    "both selectors in one peer are and": (
        into({"from": [{**NS_Y, "podSelector": {"matchLabels": {"pod": "b"}}}]}), "TCP", 80, {"x/a", "y/b"}),
    "two peers are or": (
        into({"from": [NS_Y, {"podSelector": {"matchLabels": {"pod": "b"}}}]}), "TCP", 80, only("y") | {"x/a", "x/b"}),
    "stacked policies add up": (
        [*into({"from": [NS_Y]}), a_policy("x", "q", {}, ingress=[{"from": [{"podSelector": {}}]}])],
        "TCP", 80, only("y") | only("x")),
    "allow all wins over deny": ([*into(), a_policy("x", "q", {}, ingress=[{}])], "TCP", 80, ALL),
    "a port that is allowed": (into({"ports": [{"port": 81}]}), "TCP", 81, ALL),
    "a port that is not": (into({"ports": [{"port": 81}]}), "TCP", 80, {"x/a"}),
    "the protocol of a port is TCP": (into({"ports": [{"port": 81}]}), "UDP", 81, {"x/a"}),
    "any port of a protocol": (into({"ports": [{"protocol": "UDP"}]}), "UDP", 80, ALL),
    "UDP alone does not allow TCP": (into({"ports": [{"protocol": "UDP"}]}), "TCP", 80, {"x/a"}),
    "an SCTP policy isolates for TCP": (into({"ports": [{"protocol": "SCTP", "port": 80}]}), "TCP", 80, {"x/a"}),
    "SCTP itself": (into({"ports": [{"protocol": "SCTP", "port": 80}]}), "SCTP", 80, ALL),
    "a range holds its ends": (into({"ports": [{"port": 80, "endPort": 81}]}), "TCP", 81, ALL),
    "a range ends": (into({"ports": [{"port": 79, "endPort": 80}]}), "TCP", 81, {"x/a"}),
    "a named port": (into({"ports": [{"port": "serve-tcp"}]}), "TCP", 80, ALL),
    "a named port is the selected pod's": (into({"ports": [{"port": "serve-tcp"}]}), "TCP", 81, {"x/a"}),
    "a name of another protocol is none": (into({"ports": [{"port": "serve-udp"}]}), "TCP", 80, {"x/a"}),
    "a named port out is the destination's": (
        out_of("y", {"ports": [{"port": "serve-tcp"}]}), "TCP", 80, ALL),
    "a block of addresses": (into({"from": [{"ipBlock": {"cidr": "10.244.2.0/24"}}]}), "TCP", 80, only("y") | {"x/a"}),
    "an except takes away": (
        into({"from": [{"ipBlock": {"cidr": "10.244.2.0/24", "except": ["10.244.2.11/32"]}}]}),
        "TCP", 80, {"x/a", "y/a", "y/c"}),
    "another peer gives back what an except took": (
        into({"from": [{"ipBlock": {"cidr": "10.244.2.0/24", "except": ["10.244.2.11/32"]}},
                       {"ipBlock": {"cidr": "10.244.2.11/32"}}]}), "TCP", 80, only("y") | {"x/a"}),
    "policyTypes of Egress alone ignore the ingress rules": (into(policyTypes=["Egress"]), "TCP", 80, ALL),
    "a sender may be stopped where the receiver allows": (
        [*into({}), *out_of("y")], "TCP", 80, ALL - only("y")),
    "egress to a namespace by both selectors": (
        out_of("y", {"to": [{"namespaceSelector": {"matchLabels": {"ns": "x"}}, "podSelector": A_IN_X}]}),
        "TCP", 80, ALL),
    "egress to other pods only": (
        out_of("y", {"to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"pod": "b"}}}]}),
        "TCP", 80, ALL - only("y")),
    "the label every namespace has": (
        into({"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "z"}}}]}),
        "TCP", 80, only("z") | {"x/a"}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_oracle_reads_policies_as_people_do(case: Case) -> None:
    policies, protocol, port, wanted = case
    assert admitted(policies, protocol, port) == wanted


def tier(name: str, priority: int, action: str, spaces: Document, **rule: Any) -> Document:
    subject: Document = {"namespaces": {"matchLabels": {"ns": "x"}}}
    rules = [{"action": action, "from": [{"namespaces": spaces}], **rule}]
    spec = {"tier": name, "priority": priority, "subject": subject, "ingress": rules}
    return {"kind": "ClusterNetworkPolicy", "metadata": {"name": f"{name}-{priority}"}, "spec": spec}


NONE_BUT_ITSELF = {"x/a"}
TIERS: dict[str, tuple[list[Document], set[str]]] = {
    "admin denies over a policy that allows": ([tier("Admin", 1, "Deny", {}), *into({})], NONE_BUT_ITSELF),
    "admin accepts over a policy that denies": ([tier("Admin", 1, "Accept", {}), *into()], ALL),
    "pass leaves it to the policy": (
        [tier("Admin", 1, "Pass", {}), tier("Admin", 2, "Accept", {}), *into()], NONE_BUT_ITSELF),
    "the lower priority is first": ([tier("Admin", 2, "Accept", {}), tier("Admin", 1, "Deny", {})], NONE_BUT_ITSELF),
    "baseline denies where no policy isolates": ([tier("Baseline", 1, "Deny", {})], NONE_BUT_ITSELF),
    "baseline is not asked where one does": ([tier("Baseline", 1, "Deny", {}), *into({})], ALL),
    "pass in baseline allows": ([tier("Baseline", 1, "Pass", {}), tier("Baseline", 2, "Deny", {})], ALL),
    "only the namespaces meant": (
        [tier("Admin", 1, "Deny", {"matchLabels": {"ns": "y"}})], ALL - only("y")),
    "only the protocols meant": (
        [tier("Admin", 1, "Deny", {}, protocols=[{"udp": {"destinationPort": {"number": 80}}}])], ALL),
    "a range of ports": (
        [tier("Admin", 1, "Deny", {}, protocols=[{"tcp": {"destinationPort": {"range": {"start": 79, "end": 80}}}}])],
        NONE_BUT_ITSELF),
    "a named port of any protocol": (
        [tier("Admin", 1, "Deny", {}, protocols=[{"destinationNamedPort": "serve-tcp"}])], NONE_BUT_ITSELF),
}  # fmt: skip


@pytest.mark.parametrize("case", TIERS.values(), ids=TIERS)
def test_oracle_asks_the_tiers_in_order(case: tuple[list[Document], set[str]]) -> None:
    policies, wanted = case
    assert admitted(policies, "TCP", 80) == wanted


def test_oracle_judges_outside_addresses_by_blocks_alone() -> None:
    oracle = Oracle([*pods(), *namespaces(), *into({"from": [{"ipBlock": {"cidr": "198.51.100.0/24"}}]})])
    assert oracle.allows("198.51.100.7", oracle.pods[0], "TCP", 80)
    assert not oracle.allows("203.0.113.9", oracle.pods[0], "TCP", 80)
    assert oracle.allows(oracle.pods[0], "203.0.113.9", "TCP", 80)


def test_oracle_reads_selectors_and_blocks() -> None:
    not_in = {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}
    assert matches(not_in, {})
    assert not matches(not_in, {"a": "1"})
    assert not inside("fd00::1", "0.0.0.0/0")
