"""Whether a rule, a peer or a port of a policy is about a connection.

Comes in: rules, and the ends of a connection with what is dialled. Goes out: yes or no. Refuses to know tiers and
verdicts.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol as Interface

from msgspec import Struct

from fairlead.model.policies import (
    AddressBlock,
    Anyone,
    NamedPort,
    Peer,
    PodGroup,
    Policy,
    PolicyPod,
    PolicyRule,
    PortMatch,
)
from fairlead.net import Address, Protocol

_NAMES = {int(protocol): protocol.name for protocol in Protocol}


class PolicyView(Interface):
    """Who is selected by what."""

    def selecting(self, pod: PolicyPod) -> Sequence[Policy]:
        """The policies whose subject a pod is, in any order."""
        ...

    def holds(self, group: PodGroup, pod: PolicyPod) -> bool:
        """Whether a pod is in a group."""
        ...

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        """The labels of a namespace, none where it is not known."""
        ...


class End(Struct, frozen=True):
    """One end of a connection: a pod, or what is none; `node` is the node that has `address` as its own."""

    address: Address
    pod: PolicyPod | None = None
    node: str = ""


class Dialled(Struct, frozen=True):
    """What is dialled: a protocol, and a port where the protocol has ports. Protocols are IANA numbers."""

    protocol: int
    port: int | None = None

    def __str__(self) -> str:
        name = _NAMES.get(self.protocol) or f"protocol {self.protocol}"
        return name if self.port is None else f"{name} {self.port}"


def rule_matches(view: PolicyView, rule: PolicyRule, other: End, dialled: Dialled, target: PolicyPod | None) -> bool:
    """Whether a rule is about a connection with `other`; `target` is the pod that named ports are looked up in."""
    peer = rule.peers is None or any(peer_matches(view, each, other) for each in rule.peers)
    return peer and (rule.ports is None or any(port_matches(each, dialled, target) for each in rule.ports))


def peer_matches(view: PolicyView, peer: Peer, other: End) -> bool:
    """Whether a peer means this end."""
    match peer:
        case PodGroup():
            return other.pod is not None and view.holds(peer, other.pod)
        case AddressBlock():
            return other.address in peer
        case Anyone():
            return peer is Anyone.EVERYBODY


def port_matches(match: PortMatch, dialled: Dialled, target: PolicyPod | None) -> bool:
    """Whether a port is meant; a name means what the destination pod, if it is one, calls so."""
    if isinstance(match, NamedPort):
        if match.protocol is not None and match.protocol != dialled.protocol:
            return False
        ports = target.ports if target is not None else ()
        return any(
            each.name == match.name and each.protocol == dialled.protocol and each.port == dialled.port
            for each in ports
        )
    if match.protocol != dialled.protocol or dialled.port is None:
        return False
    return match.first <= dialled.port <= match.last
