"""Three namespaces with three pods each, as the policy tests of Kubernetes have them, and policies made by chance.

Comes in: a seed. Goes out: documents.
"""

import random
from collections.abc import Sequence
from typing import Any

from oracle import Document

NAMESPACES, NAMES = ("x", "y", "z"), ("a", "b", "c")
PORTS = (80, 81)
PROTOCOLS = ("TCP", "UDP")
OUTSIDE = ("198.51.100.7", "203.0.113.9")


def namespaces() -> list[Document]:
    """x, y and z, each with its label `ns`."""
    return [{"kind": "Namespace", "metadata": {"name": name, "labels": {"ns": name}}} for name in NAMESPACES]


def pods() -> list[Document]:
    """Pods a, b and c of each, with both ports named; pod c calls port 81 what others call 80."""
    return [a_pod(space, name, f"10.244.{i}.{10 + j}") for i, space in enumerate(NAMESPACES, 1)
            for j, name in enumerate(NAMES)]  # fmt: skip


def a_pod(namespace: str, name: str, address: str) -> Document:
    """A pod that names its ports."""
    first, second = (81, 80) if name == "c" else (80, 81)
    ports = [
        {"name": f"{word}-{protocol.lower()}", "protocol": protocol, "containerPort": port}
        for word, port in (("serve", first), ("other", second))
        for protocol in PROTOCOLS
    ]
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"pod": name}},
        "spec": {"nodeName": "node-1" if name != "b" else "node-2", "containers": [{"name": "c", "ports": ports}]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}, {"ip": second_address(address)}]},
    }


def a_policy(namespace: str, name: str, pod_selector: Document, **spec: Any) -> Document:
    """A NetworkPolicy; `ingress`, `egress` and `policyTypes` by keyword."""
    metadata = {"name": name, "namespace": namespace}
    return {"kind": "NetworkPolicy", "metadata": metadata, "spec": {"podSelector": pod_selector, **spec}}


def second_address(address: str) -> str:
    """The IPv6 address of the pod with an IPv4 address."""
    _, _, space, number = address.split(".")
    return f"fd00:10:244:{space}::{int(number):x}"


def second_block(cidr: str) -> str:
    """The block of IPv6 addresses that has the same pods, or others outside, as one of those made here."""
    address, length = cidr.split("/")
    net, _, space, number = address.split(".")
    if length == "0":
        return "::/0"
    if net != "10":
        return f"2001:db8:{net}::/48"
    if length == "16":
        return "fd00:10:244::/48"
    return f"fd00:10:244:{space}::{int(number):x}/{96 + int(length)}"


def some_policies(seed: int, *, tiers: bool = False, dual: bool = False) -> list[Document]:
    """Up to five NetworkPolicies and, if asked, up to three ClusterNetworkPolicies; `dual` has blocks of IPv6 too."""
    chance = random.Random(seed)
    made = [_policy(chance, number) for number in range(chance.randint(1, 5))]
    if tiers:
        made += [_cluster_policy(chance, number) for number in range(chance.randint(1, 3))]
    return [_in_both_families(chance, each) for each in made] if dual else made


def _in_both_families(chance: random.Random, part: Any) -> Any:
    """Move about half of the blocks of a document to IPv6."""
    match part:
        case {"cidr": str(cidr)} if chance.random() < 0.5:
            return {"cidr": second_block(cidr), "except": [second_block(each) for each in part.get("except") or ()]}
        case {"networks": [*networks]}:
            return {"networks": [second_block(each) if chance.random() < 0.5 else each for each in networks]}
        case dict():
            return {key: _in_both_families(chance, value) for key, value in part.items()}
        case list():
            return [_in_both_families(chance, each) for each in part]
        case _:
            return part


def _selector(chance: random.Random, key: str, values: Sequence[str]) -> Document:
    match chance.randrange(5):
        case 0:
            return {}
        case 1 | 2:
            return {"matchLabels": {key: chance.choice(values)}}
        case 3:
            operator = chance.choice(("In", "NotIn"))
            return {"matchExpressions": [{"key": key, "operator": operator, "values": chance.sample(values, 2)}]}
        case _:
            return {"matchExpressions": [{"key": key, "operator": chance.choice(("Exists", "DoesNotExist"))}]}


def _block(chance: random.Random) -> Document:
    if chance.random() < 0.3:
        return {"cidr": "0.0.0.0/0", "except": chance.sample(["10.244.1.0/24", "10.244.0.0/16", "203.0.113.0/24"], 2)}
    net = chance.choice((1, 2, 3))
    block: Document = {"cidr": f"10.244.{net}.{chance.choice(('0/24', '8/30', '10/32'))}"}
    if block["cidr"].endswith("/24") and chance.random() < 0.5:
        block["except"] = [f"10.244.{net}.{chance.choice((10, 11, 12))}/32"]
    return block


def _peer(chance: random.Random) -> Document:
    pod, space = _selector(chance, "pod", NAMES), _selector(chance, "ns", NAMESPACES)
    return chance.choice((
        {"podSelector": pod}, {"namespaceSelector": space}, {"podSelector": pod, "namespaceSelector": space},
        {"ipBlock": _block(chance)},
    ))  # fmt: skip


def _port(chance: random.Random) -> Document:
    protocol = chance.choice(PROTOCOLS)
    return chance.choice((
        {"protocol": protocol}, {"port": chance.choice(PORTS)}, {"protocol": protocol, "port": chance.choice(PORTS)},
        {"protocol": protocol, "port": f"{chance.choice(('serve', 'other'))}-{protocol.lower()}"},
        {"protocol": protocol, "port": 79, "endPort": chance.choice((79, 80, 81))}, {"protocol": "SCTP", "port": 80},
    ))  # fmt: skip


def _rules(chance: random.Random, peers: str) -> list[Document]:
    rules: list[Document] = []
    for _ in range(chance.randint(0, 2)):
        rule: Document = {}
        if chance.random() < 0.85:
            rule[peers] = [_peer(chance) for _ in range(chance.randint(1, 2))]
        if chance.random() < 0.6:
            rule["ports"] = [_port(chance) for _ in range(chance.randint(1, 2))]
        rules.append(rule)
    return rules


def _policy(chance: random.Random, number: int) -> Document:
    spec: Document = {"ingress": _rules(chance, "from"), "egress": _rules(chance, "to")}
    types = chance.choice((None, ["Ingress"], ["Egress"], ["Ingress", "Egress"]))
    if types is not None:
        spec["policyTypes"] = types
    space = chance.choice(NAMESPACES)
    return a_policy(space, f"policy-{number}", _selector(chance, "pod", NAMES), **spec)


def _cluster_peer(chance: random.Random, *, egress: bool) -> Document:
    pod, space = _selector(chance, "pod", NAMES), _selector(chance, "ns", NAMESPACES)
    peers: list[Document] = [{"namespaces": space}, {"pods": {"namespaceSelector": space, "podSelector": pod}}]
    if egress:
        peers.append({"networks": [f"10.244.{chance.choice((1, 2, 3))}.0/24", "198.51.100.0/24"]})
    return chance.choice(peers)


def _cluster_rules(chance: random.Random, peers: str) -> list[Document]:
    rules: list[Document] = []
    for _ in range(chance.randint(0, 3)):
        found = [_cluster_peer(chance, egress=peers == "to")]
        rule: Document = {"action": chance.choice(("Accept", "Deny", "Pass")), peers: found}
        if chance.random() < 0.6:
            protocol = chance.choice(("tcp", "udp"))
            port = chance.choice(({"number": 80}, {"range": {"start": 80, "end": 81}}))
            choices: list[Document] = [{protocol: {"destinationPort": port}}, {protocol: {}}]
            if "networks" not in found[0]:
                choices.append({"destinationNamedPort": f"serve-{protocol}"})
            rule["protocols"] = [chance.choice(choices)]
        rules.append(rule)
    return rules


def _cluster_policy(chance: random.Random, number: int) -> Document:
    subject = _cluster_peer(chance, egress=False)
    return {
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": f"tier-{number}"},
        "spec": {
            "tier": chance.choice(("Admin", "Baseline")),
            "priority": 10 * number,
            "subject": subject,
            "ingress": _cluster_rules(chance, "from"),
            "egress": _cluster_rules(chance, "to"),
        },
    }
