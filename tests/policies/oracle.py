"""Who may open a connection to whom, straight from the API's documentation: plain, slow, and of nothing but documents.

Comes in: documents of pods, namespaces, NetworkPolicies and ClusterNetworkPolicies. Goes out: yes or no for a
connection. It knows no line of the compiler or the model, so that it can disagree with them. Source:
k8s.io/api/networking/v1/types.go; network-policy-api v0.2.0, apis/v1alpha2.
"""

import ipaddress
from collections.abc import Sequence
from typing import Any

Document = dict[str, Any]
"""An API object as JSON has it; a pod's address is status.podIP."""


class Oracle:
    """Answers for one cluster."""

    def __init__(self, documents: Sequence[Document]) -> None:
        def of_kind(kind: str) -> list[Document]:
            return [each for each in documents if each["kind"] == kind]

        self.pods = of_kind("Pod")
        self.namespaces = {each["metadata"]["name"]: each for each in of_kind("Namespace")}
        self.policies = of_kind("NetworkPolicy")
        self.tiers = of_kind("ClusterNetworkPolicy")

    def allows(self, source: Document | str, target: Document | str, protocol: str, port: int) -> bool:
        """Whether a new connection passes; an end is a pod, or an address outside the cluster."""
        if isinstance(source, dict) and source is target:
            return True
        return self.lets_out(source, target, protocol, port) and self.lets_in(source, target, protocol, port)

    def lets_out(self, source: Document | str, target: Document | str, protocol: str, port: int) -> bool:
        """Whether the source's own policies let it go; nobody judges for an address outside."""
        return isinstance(source, str) or self._side_allows("egress", source, target, target, protocol, port)

    def lets_in(self, source: Document | str, target: Document | str, protocol: str, port: int) -> bool:
        """Whether the target's own policies let the source in."""
        return isinstance(target, str) or self._side_allows("ingress", target, source, target, protocol, port)

    def _side_allows(
        self, way: str, pod: Document, other: Document | str, target: Document | str, protocol: str, port: int
    ) -> bool:
        """Admin tier, then NetworkPolicies if any isolates the pod, else the Baseline tier, else allowed."""
        answer = self._ask_tier("Admin", way, pod, other, target, protocol, port)
        if answer in ("Accept", "Deny"):
            return answer == "Accept"
        isolating = [policy for policy in self.policies if self._isolates(policy, way, pod)]
        if isolating:
            return any(
                self._rule_allows(policy, rule, way, other, target, protocol, port)
                for policy in isolating
                for rule in policy["spec"].get(way) or []
            )
        return self._ask_tier("Baseline", way, pod, other, target, protocol, port) != "Deny"

    def _isolates(self, policy: Document, way: str, pod: Document) -> bool:
        spec = policy["spec"]
        kinds = spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
        same = policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
        return way.capitalize() in kinds and same and matches(spec["podSelector"], labels_of(pod))

    def _rule_allows(
        self,
        policy: Document,
        rule: Document,
        way: str,
        other: Document | str,
        target: Document | str,
        protocol: str,
        port: int,
    ) -> bool:
        peers, ports = rule.get("from" if way == "ingress" else "to"), rule.get("ports")
        whom = not peers or any(self._peer_matches(policy["metadata"]["namespace"], peer, other) for peer in peers)
        return whom and (not ports or any(policy_port_matches(each, target, protocol, port) for each in ports))

    def _peer_matches(self, namespace: str, peer: Document, other: Document | str) -> bool:
        block = peer.get("ipBlock")
        if block is not None:
            address = other if isinstance(other, str) else other["status"]["podIP"]
            excepted = any(inside(address, each) for each in block.get("except") or [])
            return inside(address, block["cidr"]) and not excepted
        if isinstance(other, str):
            return False
        if peer.get("namespaceSelector") is None:
            if other["metadata"]["namespace"] != namespace:
                return False
        elif not matches(peer["namespaceSelector"], self._namespace_labels(other)):
            return False
        return peer.get("podSelector") is None or matches(peer["podSelector"], labels_of(other))

    def _namespace_labels(self, pod: Document) -> dict[str, str]:
        name = pod["metadata"]["namespace"]
        written = labels_of(self.namespaces[name]) if name in self.namespaces else {}
        return {**written, "kubernetes.io/metadata.name": name}

    def _ask_tier(
        self,
        tier: str,
        way: str,
        pod: Document,
        other: Document | str,
        target: Document | str,
        protocol: str,
        port: int,
    ) -> str:
        """The action of the first rule that matches, in the order of priorities; empty where none does."""
        asked = [policy for policy in self.tiers if policy["spec"]["tier"] == tier]
        for policy in sorted(asked, key=lambda each: (each["spec"]["priority"], each["metadata"]["name"])):
            if not self._is_meant(policy["spec"]["subject"], pod):
                continue
            for rule in policy["spec"].get(way) or []:
                peers = rule["from" if way == "ingress" else "to"]
                protocols = rule.get("protocols")
                if any(self._is_meant(peer, other) for peer in peers) and (
                    not protocols or any(protocol_matches(each, target, protocol, port) for each in protocols)
                ):
                    return rule["action"]
        return ""

    def _is_meant(self, peer: Document, other: Document | str) -> bool:
        if "networks" in peer:
            address = other if isinstance(other, str) else other["status"]["podIP"]
            return any(inside(address, each) for each in peer["networks"])
        if isinstance(other, str):
            return False
        if "namespaces" in peer:
            return matches(peer["namespaces"], self._namespace_labels(other))
        pods = peer["pods"]
        return matches(pods.get("namespaceSelector") or {}, self._namespace_labels(other)) and matches(
            pods.get("podSelector") or {}, labels_of(other)
        )


def labels_of(document: Document) -> dict[str, str]:
    """An object's labels."""
    return document["metadata"].get("labels") or {}


def matches(selector: Document, labels: dict[str, str]) -> bool:
    """Whether labels pass all of a selector; an empty one lets all pass."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for each in selector.get("matchExpressions") or []:
        key, values = each["key"], each.get("values") or []
        passes = {
            "In": key in labels and labels[key] in values,
            "NotIn": key not in labels or labels[key] not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[each["operator"]]
        if not passes:
            return False
    return True


def inside(address: str, cidr: str) -> bool:
    """Whether an address is of a block; of the other family none is."""
    found, block = ipaddress.ip_address(address), ipaddress.ip_network(cidr)
    return found.version == block.version and found in block


def policy_port_matches(wanted: Document, target: Document | str, protocol: str, port: int) -> bool:
    """One of the ports of a NetworkPolicy's rule."""
    if (wanted.get("protocol") or "TCP") != protocol:
        return False
    number = wanted.get("port")
    if number is None:
        return True
    if isinstance(number, str):
        return (number, protocol, port) in named_ports(target)
    return number <= port <= (wanted.get("endPort") or number)


def protocol_matches(wanted: Document, target: Document | str, protocol: str, port: int) -> bool:
    """One of the protocols of a ClusterNetworkPolicy's rule."""
    if "destinationNamedPort" in wanted:
        return (wanted["destinationNamedPort"], protocol, port) in named_ports(target)
    if protocol.lower() not in wanted:
        return False
    span = (wanted[protocol.lower()] or {}).get("destinationPort")
    if not span:
        return True
    if "number" in span:
        return port == span["number"]
    return span["range"]["start"] <= port <= span["range"]["end"]


def named_ports(target: Document | str) -> list[tuple[str, str, int]]:
    """The names, protocols and numbers of the ports a pod's containers declare."""
    if isinstance(target, str):
        return []
    spec = target["spec"]
    side_cars = [each for each in spec.get("initContainers") or [] if each.get("restartPolicy") == "Always"]
    return [
        (port.get("name", ""), port.get("protocol") or "TCP", port["containerPort"])
        for container in [*spec["containers"], *side_cars]
        for port in container.get("ports") or []
    ]
