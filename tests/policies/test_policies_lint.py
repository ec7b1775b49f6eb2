"""Findings of lint: each mistake has one, and what is right has none."""

from typing import Any

import msgspec
import pytest
from nine_pods import a_policy, namespaces, pods
from oracle import Document

from fairlead.compile.lint_policies import lint_policies
from fairlead.compile.lint_services import lint_services
from fairlead.kube.core import Namespace, Pod, Service
from fairlead.kube.networking import NetworkPolicy
from fairlead.model import Finding

PODS = msgspec.convert(pods(), tuple[Pod, ...])
SPACES = msgspec.convert(namespaces(), tuple[Namespace, ...])
DNS: Document = {
    "to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
    "ports": [{"protocol": "UDP", "port": 53}],
}


def told(found: list[Finding]) -> list[str]:
    return [f"{each.severity.value} {each.origin.field}: {each.message}" for each in found]


def judge(*policies: Document) -> list[str]:
    return told(list(lint_policies(msgspec.convert(policies, tuple[NetworkPolicy, ...]), PODS, SPACES)))


def let_in(*peers: Document, ports: list[Document] | None = None) -> Document:
    return a_policy("x", "p", {}, ingress=[{"from": list(peers), "ports": ports or []}])


def let_out(*rules: Document) -> Document:
    return a_policy("x", "p", {}, egress=list(rules), policyTypes=["Egress"])


MISTAKES: dict[str, tuple[Document, str]] = {
    "a policy that selects nothing": (
        a_policy("x", "p", {"matchLabels": {"pod": "typo"}}),
        "warning spec.podSelector: selects no pod of namespace x"),
    "a peer that is nobody": (
        let_in({"podSelector": {"matchLabels": {"pod": "typo"}}}), "warning spec.ingress[0].from[0]: matches no pod"),
    "a namespace that is none": (
        let_in({"namespaceSelector": {"matchLabels": {"name": "y"}}}),
        "warning spec.ingress[0].from[0]: its namespaceSelector matches no namespace with pods"),
    "a name no selected pod has": (
        let_in(ports=[{"port": "web"}]),
        "warning spec.ingress[0].ports: no selected pod has a container port of that name and protocol: web"),
    "a name of another protocol": (
        let_in(ports=[{"protocol": "UDP", "port": "serve-tcp"}]),
        "warning spec.ingress[0].ports: no selected pod has a container port of that name and protocol: serve-tcp"),
    "a name no destination has": (
        let_out({"to": [{"podSelector": {}}], "ports": [{"port": "web"}]}, DNS),
        "warning spec.egress[0].ports: no destination pod has a container port of that name and protocol: web"),
    "a name at a block": (
        let_out({"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": "serve-tcp"}]}, DNS),
        "warning spec.egress[0].ports: a port by name means nothing at an ipBlock whose addresses are no pods"),
    "an except outside": (
        let_in({"ipBlock": {"cidr": "192.0.2.0/24", "except": ["198.51.100.0/25"]}}),
        "error spec.ingress[0].from[0].ipBlock.except[0]: 198.51.100.0/25 is not inside 192.0.2.0/24"),
    "an except that takes all": (
        let_in({"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.0/24"]}}),
        "error spec.ingress[0].from[0].ipBlock.except[0]: "
        "192.0.2.0/24 takes away all of 192.0.2.0/24: the peer matches nobody"),
    "no names": (let_out(), "warning spec.egress: cuts pods such as x/a off from the cluster's DNS"),
    "names over the wrong port": (
        let_out({"ports": [{"port": 53}]}), "warning spec.egress: cuts pods such as x/a off from the cluster's DNS"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES)
def test_each_mistake_is_found(case: tuple[Document, str]) -> None:
    policy, wanted = case
    assert judge(policy) == [wanted]


@pytest.mark.parametrize(
    "policy",
    [
        let_in({"podSelector": {"matchLabels": {"pod": "a"}}}, ports=[{"port": "serve-tcp"}, {"port": 80}]),
        let_in({"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}}),
        a_policy("x", "p", {}),
        let_out(DNS),
        let_out({}),
        let_out({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}),
    ],
)
def test_what_is_right_has_no_finding(policy: Document) -> None:
    assert judge(policy) == []


def test_another_policy_that_allows_names_is_enough() -> None:
    assert judge(let_out(), a_policy("x", "q", {}, egress=[DNS], policyTypes=["Egress"])) == []


def services(selector: dict[str, str], probe: Document | None = None, **port: Any) -> list[str]:
    spec = {"selector": selector, "ports": [{"port": 80, **port}]}
    service = msgspec.convert({"metadata": {"name": "s", "namespace": "x"}, "spec": spec}, Service)
    documents = pods()
    for each in documents:
        each["spec"]["containers"][0]["readinessProbe"] = probe
    return told(list(lint_services([service], msgspec.convert(documents, tuple[Pod, ...]))))


def test_services_that_lead_nowhere_are_found() -> None:
    probe: Document = {"httpGet": {"port": 80}}
    assert services({"pod": "a"}, probe, targetPort="serve-tcp") == []
    assert services({"pod": "typo"}, probe) == ["warning spec.selector: matches no pod: the Service has no endpoints"]
    assert services({"pod": "a"}, probe, targetPort="web") == [
        "error spec.ports[0].targetPort: no pod of the Service has a container port 'web' of TCP"
    ]
    assert services({"pod": "a"}) == [
        "warning spec.selector: pods such as a have no readinessProbe: they get traffic as soon as they run"
    ]
