"""Addresses of load balancers: which pools there are, which Service has which address, and who brings traffic there."""

from enum import Enum

from msgspec import Struct

from fairlead.model.origins import Origin
from fairlead.model.policies import LabelTest
from fairlead.model.services import AddressRange
from fairlead.net import Address, Family, Port, Protocol


class Provider(Enum):
    """What brings a load balancer's traffic to the nodes."""

    EXTERNAL = "external"
    """A host outside the cluster that spreads connections over the nodes."""
    L2 = "l2"
    """One node answers ARP and NDP for the address."""
    BGP = "bgp"
    """Routers learn the address from the nodes."""


class ServiceKey(Struct, frozen=True, order=True):
    """Names a Service."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


Selector = tuple[LabelTest, ...]
"""All of the tests."""


class Audience(Struct, frozen=True, kw_only=True):
    """Whom a pool is for. No namespaces and no namespace selectors allow every namespace; no service selectors, every
    Service.
    """

    namespaces: frozenset[str] = frozenset()
    namespace_selectors: tuple[Selector, ...] = ()
    service_selectors: tuple[Selector, ...] = ()


class Pool(Struct, frozen=True, kw_only=True):
    """Addresses that Services may be given; ranges are in order, do not touch, and are of one family each.

    `priority`: lower first, None last. `avoid_buggy` leaves out addresses that end in .0 and .255 (RFC 1812 routers and
    old firewalls drop them).
    """

    name: str
    ranges: tuple[AddressRange, ...]
    auto_assign: bool = True
    dedicated: bool = False
    """Whether it has a serviceAllocation: it is then asked before those that have none."""
    avoid_buggy: bool = False
    priority: int | None = None
    audience: Audience = Audience()
    labels: frozenset[tuple[str, str]] = frozenset()
    origin: Origin

    def holds(self, address: Address) -> bool:
        """Whether the pool has authority over an address, whether or not it would give it."""
        return any(address in each for each in self.ranges)


class PortUse(Struct, frozen=True, order=True):
    """A protocol and port that a Service answers at on all of its addresses."""

    protocol: Protocol
    port: Port


class Wish(Struct, frozen=True, kw_only=True):
    """What one Service wants of the pools, and what it had before.

    Services with the same `sharing`, unless that is empty, may have one address as long as their ports differ; where
    the pods of `behind`, a selector, alone may answer (policy Local), they must be the same ones. `flexible`: one of
    the families will do. `wrong` says why nothing can be made of it; what the Service has it then keeps.
    """

    service: ServiceKey
    created: str
    families: tuple[Family, ...]
    flexible: bool = False
    addresses: tuple[Address, ...] = ()
    pool: str = ""
    sharing: str = ""
    behind: str = ""
    ports: frozenset[PortUse]
    labels: frozenset[tuple[str, str]] = frozenset()
    held: tuple[Address, ...] = ()
    held_from: str = ""
    wrong: str = ""


class Allocation(Struct, frozen=True, kw_only=True):
    """The addresses one Service has: at most one of each family, all of one pool.

    `pool` is empty where no pool has the addresses any more. `providers` is who announces them: the one that the
    Service's loadBalancerClass names, else those whose advertisements select the pool, else the cluster's default.
    """

    service: ServiceKey
    addresses: tuple[Address, ...]
    pool: str
    providers: tuple[Provider, ...]

    def address(self, family: Family) -> Address | None:
        """The address of a family, if it has one."""
        return next((each for each in self.addresses if each.family is family), None)
