"""What a node enforces for its pods: profiles shared by pods under the same policies, and who is meant by them.

A profile is a policy question asked in order; it names collections of addresses and never lists them, so that a pod
that comes, goes or changes labels changes collections and no profile. Knows neither the API nor the kernel.
"""

from typing import TypeAlias

from msgspec import Struct

from fairlead.model.origins import Origin
from fairlead.model.policies import Action, AddressBlock, Direction, NamedPort, PodGroup, PortRange
from fairlead.net import Address, Port, Protocol


class Term(Struct, frozen=True, cache_hash=True):
    """One question: is it this peer, and this port? `action` is what then happens.

    `peer` None is everybody, several blocks are any of them; `ports` None is every protocol. A NamedPort is a port that
    the destination pod calls so; only egress has them, since for ingress they are resolved for the pod itself.
    """

    peer: PodGroup | tuple[AddressBlock, ...] | None
    ports: tuple[PortRange, ...] | NamedPort | None
    action: Action


class Profile(Struct, frozen=True, cache_hash=True):
    """All that is asked of a new connection in one direction, in order.

    First `admin`, where PASS goes on with `rest`, as does whoever matches nothing. Whoever matches nothing of `rest` is
    denied where `isolated`, and allowed where not. `policies` are those that select the pods and answer for a denial.
    """

    direction: Direction
    admin: tuple[Term, ...]
    rest: tuple[Term, ...]
    isolated: bool
    policies: tuple[Origin, ...]

    @property
    def terms(self) -> tuple[Term, ...]:
        """All its questions."""
        return self.admin + self.rest


class Subject(Struct, frozen=True, cache_hash=True):
    """The profiles of one address; None is for a direction that nobody judges."""

    ingress: Profile | None
    egress: Profile | None


class PodEnd(Struct, frozen=True, order=True, gc=False):
    """A pod's address with a port that it names."""

    address: Address
    protocol: Protocol
    port: Port


Collection: TypeAlias = PodGroup | NamedPort
"""Addresses of a group's pods, or the ends that a port name stands for."""

Member: TypeAlias = Address | PodEnd


class Moves(Struct, frozen=True):
    """Members that joined and left a collection."""

    joined: frozenset[Member]
    left: frozenset[Member]


class PolicyChanges(Struct, frozen=True, kw_only=True):
    """What differs from the last state: subjects (None is gone), collections that are new with all their members, or
    not used any more (None), and who moved in those that stay."""

    subjects: dict[Address, Subject | None]
    collections: dict[Collection, frozenset[Member] | None]
    moves: dict[Collection, Moves]

    def __bool__(self) -> bool:
        return bool(self.subjects or self.collections or self.moves)
