"""Who may talk to whom, as network policies say it: subjects, peers, ports, and what a rule does.

Values that know neither the API nor the kernel. Pods are meant by groups, which are tests of labels: who is in a group
is for the compiler to find out. Source: networking/v1 types.go, and ClusterNetworkPolicy of network-policy-api v0.2.0.
"""

from enum import Enum, IntEnum
from typing import TypeAlias

from msgspec import Struct

from fairlead.model.origins import Origin
from fairlead.net import Address, Port, Prefix, Protocol


class Direction(Enum):
    """Which of a pod's connections are judged: those it receives, or those it opens."""

    INGRESS = "ingress"
    EGRESS = "egress"


class Tier(IntEnum):
    """In which order policies are asked; the last two exclude each other for a pod and direction."""

    ADMIN = 0
    NETWORK_POLICY = 1
    BASELINE = 2


class Action(Enum):
    """What a rule that matches does. PASS leaves the tier: an Admin rule to the next, a Baseline rule to "allowed"."""

    ACCEPT = "Accept"
    DENY = "Deny"
    PASS = "Pass"


class Operator(Enum):
    """How a label is tested, spelt as label selectors spell it."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class LabelTest(Struct, frozen=True, cache_hash=True):
    """One test of labels; `values` are sorted, and empty for the operators that have none."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()


class PodGroup(Struct, frozen=True, cache_hash=True):
    """Pods whose namespace and labels pass every test; no test means all.

    `namespace` names the only namespace, and None lets `namespaces`, tests of a namespace's labels, decide.
    """

    namespace: str | None
    namespaces: tuple[LabelTest, ...] = ()
    pods: tuple[LabelTest, ...] = ()


class AddressBlock(Struct, frozen=True, cache_hash=True):
    """The addresses inside `prefix` and in none of `exceptions`; pods' addresses are no different."""

    prefix: Prefix
    exceptions: tuple[Prefix, ...] = ()

    def __contains__(self, address: Address) -> bool:
        return address in self.prefix and not any(address in exception for exception in self.exceptions)


class Anyone(Enum):
    """A peer that is everybody, inside the cluster and outside, or nobody: what is left of one we cannot tell."""

    EVERYBODY = "everybody"
    NOBODY = "nobody"


Peer: TypeAlias = PodGroup | AddressBlock | Anyone


class PortRange(Struct, frozen=True, order=True):
    """The destination ports from `first` to `last` of one protocol, both included."""

    protocol: Protocol
    first: Port
    last: Port


class NamedPort(Struct, frozen=True, order=True):
    """A container port by its name, which each destination pod resolves for itself; `protocol` None is any."""

    protocol: Protocol | None
    name: str


PortMatch: TypeAlias = PortRange | NamedPort

ALL_PORTS = Port(0), Port(65535)
"""First and last port of a range that stands for all ports of its protocol."""


class PolicyRule(Struct, frozen=True):
    """One rule: it matches a connection when any peer and any port does.

    `peers` and `ports` are None where the rule asks for none, and then match everything, `ports` every protocol too; an
    empty tuple matches nothing. They keep the order of their author: peer `i` is `origin.field` with `from[i]` or
    `to[i]`.
    """

    peers: tuple[Peer, ...] | None
    ports: tuple[PortMatch, ...] | None
    action: Action
    origin: Origin


class Policy(Struct, frozen=True, kw_only=True):
    """One policy. A direction that it does not judge is None; one without rules is an empty tuple.

    `origin` is the object, without a field. A policy of the tier NETWORK_POLICY isolates the pods of `subject` in the
    directions it judges; rules of the others are asked in order, and the lower `priority` first.
    """

    origin: Origin
    tier: Tier
    priority: int = 0
    subject: PodGroup
    ingress: tuple[PolicyRule, ...] | None
    egress: tuple[PolicyRule, ...] | None

    def rules(self, direction: Direction) -> tuple[PolicyRule, ...] | None:
        """The rules for one direction, None where it is not judged."""
        return self.ingress if direction is Direction.INGRESS else self.egress


class PodPort(Struct, frozen=True, order=True):
    """A port that a container of a pod names."""

    name: str
    protocol: Protocol
    port: Port


class PolicyPod(Struct, frozen=True):
    """A pod as policies see it: it has an address of its own and has not ended.

    Pods in the host's network are none: they speak from their node's addresses. `labels` are sorted pairs.
    """

    namespace: str
    name: str
    node: str
    labels: tuple[tuple[str, str], ...]
    addresses: tuple[Address, ...]
    ports: tuple[PodPort, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name
