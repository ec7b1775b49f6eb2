"""Findings of lint: each mistake has one, and what is right has none."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nine_pods import a_pod, a_policy, namespaces, pods
from oracle import Document

from fairlead.compile.lint_policies import lint_policies
from fairlead.compile.lint_services import lint_services
from fairlead.compile.lint_world import read_world
from fairlead.kube.core import Namespace, Pod, Service
from fairlead.kube.networking import NetworkPolicy
from fairlead.kube.policy import ClusterNetworkPolicy
from fairlead.kube.yamlcodec import parse_documents
from fairlead.model import Finding
from fairlead.sim.lint_names import lint_names
from fairlead.sim.reach_manifests import objects_of

EXAMPLES = Path(__file__).parents[2] / "examples" / "policies"
PODS = msgspec.convert(pods(), tuple[Pod, ...])
SPACES = msgspec.convert(namespaces(), tuple[Namespace, ...])
DNS: Document = {
    "to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
    "ports": [{"protocol": "UDP", "port": 53}],
}


def told(found: list[Finding]) -> list[str]:
    return [f"{each.severity.value} {each.origin.field}: {each.message}" for each in found]


def judge(*policies: Document) -> list[str]:
    return judge_in(PODS, *policies)


def judge_in(pods: tuple[Pod, ...], *policies: Document, services: Sequence[Document] = ()) -> list[str]:
    typed = [
        msgspec.convert(each, NetworkPolicy if each["kind"] == "NetworkPolicy" else ClusterNetworkPolicy)
        for each in policies
    ]
    world = read_world(typed, pods, SPACES, msgspec.convert(services, tuple[Service, ...]))
    return told([*lint_policies(world), *lint_names(world)])


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


def test_each_example_is_without_findings_but_for_names_that_are_denied_on_purpose() -> None:
    application = (EXAMPLES / "application.yaml").read_text()
    without_names = {"default-deny-all", "default-deny-egress", "isolate-a-pod"}
    for file in EXAMPLES.glob("*.yaml"):
        texts = (application, file.read_text()) if file.stem != "application" else (application,)
        objects = objects_of([each for text in texts for each in parse_documents(text, source=file.name)])
        world = read_world(objects.policies, objects.pods, objects.namespaces, objects.services)
        found = [*lint_policies(world), *lint_names(world), *lint_services(objects.services, objects.pods)]
        fields = [each.origin.field for each in found]
        assert fields == (["spec.egress"] if file.stem in without_names else []), file.stem


def selecting(**selector: Any) -> Document:
    return a_policy("x", "p", selector)


NEVER: dict[str, tuple[Document, str]] = {
    "a label that is and is not": (
        selecting(matchLabels={"pod": "a"}, matchExpressions=[{"key": "pod", "operator": "NotIn", "values": ["a"]}]),
        "error spec.podSelector: no pod can have the label pod as all parts of the selector want it"),
    "a label with two values": (
        selecting(matchLabels={"pod": "a"}, matchExpressions=[{"key": "pod", "operator": "In", "values": ["b", "c"]}]),
        "error spec.podSelector: no pod can have the label pod as all parts of the selector want it"),
    "a label that must be there and must not": (
        selecting(matchExpressions=[{"key": "pod", "operator": each} for each in ("Exists", "DoesNotExist")]),
        "error spec.podSelector: no pod can have the label pod as all parts of the selector want it"),
    "a value of a label that must not be there": (
        let_in({"podSelector": {"matchLabels": {"pod": "a"},
                                "matchExpressions": [{"key": "pod", "operator": "DoesNotExist"}]}}),
        "error spec.ingress[0].from[0]: no pod can have the label pod as all parts of the selector want it"),
    "a namespace that is and is not": (
        let_in({"namespaceSelector": {"matchLabels": {"ns": "x"},
                                      "matchExpressions": [{"key": "ns", "operator": "NotIn", "values": ["x"]}]}}),
        "error spec.ingress[0].from[0]: no namespace can have the label ns as all parts of the selector want it"),
    "rules in, where only egress is judged": (
        a_policy("x", "p", {}, ingress=[{}], egress=[{}], policyTypes=["Egress"]),
        "error spec.ingress: nobody reads these rules: policyTypes has no Ingress"),
    "rules out, where only ingress is judged": (
        a_policy("x", "p", {}, ingress=[{}], egress=[{}], policyTypes=["Ingress"]),
        "error spec.egress: nobody reads these rules: policyTypes has no Egress"),
}  # fmt: skip


@pytest.mark.parametrize("case", NEVER.values(), ids=NEVER)
def test_what_can_never_match_is_an_error(case: tuple[Document, str]) -> None:
    policy, wanted = case
    assert judge(policy) == [wanted]


def tier(*rules: Document) -> Document:
    subject: Document = {"namespaces": {"matchLabels": {"ns": "x"}}}
    spec: Document = {"tier": "Admin", "priority": 1, "subject": subject, "ingress": list(rules)}
    return {"kind": "ClusterNetworkPolicy", "metadata": {"name": "p"}, "spec": spec}


NS_Y: Document = {"namespaces": {"matchLabels": {"ns": "y"}}}
A_OF_Y: Document = {
    "pods": {"namespaceSelector": {"matchLabels": {"ns": "y"}}, "podSelector": {"matchLabels": {"pod": "a"}}}
}
ALL_SPACES: Document = {"namespaces": {}}
PORT_80: list[Document] = [{"tcp": {"destinationPort": {"number": 80}}}]
PORTS_79_81: list[Document] = [{"tcp": {"destinationPort": {"range": {"start": 79, "end": 81}}}}]


@pytest.mark.parametrize(
    ("earlier", "later", "never"),
    [
        ({"from": [ALL_SPACES]}, {"from": [NS_Y]}, True),
        ({"from": [NS_Y]}, {"from": [A_OF_Y]}, True),
        ({"from": [NS_Y], "protocols": PORTS_79_81}, {"from": [A_OF_Y], "protocols": PORT_80}, True),
        ({"from": [A_OF_Y]}, {"from": [NS_Y]}, False),
        ({"from": [NS_Y]}, {"from": [NS_Y, ALL_SPACES]}, False),
        ({"from": [NS_Y], "protocols": PORT_80}, {"from": [A_OF_Y], "protocols": PORTS_79_81}, False),
        ({"from": [NS_Y], "protocols": PORT_80}, {"from": [NS_Y]}, False),
    ],
)
def test_a_rule_that_an_earlier_one_leaves_nothing_to_is_an_error(
    earlier: Document, later: Document, never: bool
) -> None:
    found = judge(tier({"action": "Pass", **earlier}, {"action": "Deny", **later}))
    wanted = ["error spec.ingress[1]: never asked: spec.ingress[0] (Pass) has decided all of it before"]
    assert found == (wanted if never else [])


def test_the_port_of_a_service_is_not_the_port_of_its_pods() -> None:
    metadata: Document = {"name": "s", "namespace": "x"}
    service: Document = {
        "metadata": metadata,
        "spec": {"selector": {"pod": "a"}, "ports": [{"port": 8000, "targetPort": "serve-tcp", "protocol": "TCP"}]},
    }
    to_a: Document = {"to": [{"podSelector": {"matchLabels": {"pod": "a"}}}]}
    message = "8000 is the port of Service x/s, which leads to 80: policies judge what it was translated to"
    assert judge_in(PODS, let_in(ports=[{"port": 8000}]), services=[service]) == [
        f"warning spec.ingress[0].ports: {message}"
    ]
    assert judge_in(PODS, let_out({**to_a, "ports": [{"port": 8000}]}, DNS), services=[service]) == [
        f"warning spec.egress[0].ports: {message}"
    ]
    for right in ({"port": 80}, {"port": 8000, "endPort": 8001}, {"port": 9000}, {"port": 8000, "protocol": "UDP"}):
        assert judge_in(PODS, let_in(ports=[right]), services=[service]) == []


def test_pods_in_the_hosts_network_and_unknown_namespaces_are_named() -> None:
    documents = [*pods(), {**a_pod("x", "h", "172.18.0.2"), "spec": {"hostNetwork": True, "containers": []}}]
    every = msgspec.convert(documents, tuple[Pod, ...])
    host: Document = {"matchLabels": {"pod": "h"}}
    assert judge_in(every, selecting(**host)) == [
        "warning spec.podSelector: selects only pods with hostNetwork, such as x/h, which no policy judges"
    ]
    assert judge_in(every, let_in({"podSelector": host})) == [
        "warning spec.ingress[0].from[0]: "
        "matches only pods with hostNetwork, such as x/h, which are their nodes' addresses here"
    ]
    assert judge(a_policy("xx", "p", {})) == [
        "warning spec.podSelector: selects no pod: nothing here is in namespace xx"
    ]


def test_who_closes_the_dns_itself_or_denies_it_for_all_is_named() -> None:
    closed = a_policy("kube-system", "closed", {"matchLabels": {"k8s-app": "kube-dns"}}, ingress=[])
    found = judge(closed)
    assert "warning spec.ingress: keeps pods such as x/a from the cluster's DNS" in found
    denied = tier({"action": "Deny", "from": [NS_Y]})
    denied["spec"].pop("ingress")
    denied["spec"]["egress"] = [{"action": "Deny", "to": [ALL_SPACES], "protocols": [{"udp": {}}]}]
    assert judge(denied) == ["warning spec.egress[0]: cuts pods such as x/a off from the cluster's DNS"]
    accepted = tier({"action": "Accept", "from": [NS_Y]})
    accepted["spec"]["egress"] = [{"action": "Accept", "to": [ALL_SPACES], "protocols": [{"udp": {}}]}]
    assert judge(accepted, let_out()) == [], "what an administrator accepts no NetworkPolicy takes away"


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
