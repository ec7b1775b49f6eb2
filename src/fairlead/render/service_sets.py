"""The sets and maps of the service table: what rows there are, whatever Services there are.

Comes in: an address family and the Service ranges. Goes out: definitions. Refuses to know rules and rows.
"""

from fairlead.net import Family, Prefix
from fairlead.nft.fields import (
    DESTINATION_PORT,
    L4PROTO,
    PRIORITY,
    RANDOM_CHOICE,
    destination_address,
    source_address,
)
from fairlead.nft.objects import AnySet, Map, Set, VerdictMap

_CLIENTS = 1 << 20
"""How many clients are remembered at most; those beyond draw anew with each connection."""


class ServiceSets:
    """The sets of one family's service table."""

    def __init__(self, family: Family, service_prefixes: tuple[Prefix, ...]) -> None:
        source, destination = source_address(family), destination_address(family)
        frontend, backend = (destination, L4PROTO, DESTINATION_PORT), (destination, DESTINATION_PORT)
        self.backends = Map("backends", (*frontend, RANDOM_CHOICE), backend)
        self.inside_backends = Map("inside-backends", (*frontend, RANDOM_CHOICE), backend)
        self.inside = VerdictMap("inside", frontend)
        self.frontends = VerdictMap("frontends", frontend)
        self.no_endpoints = VerdictMap("no-endpoints", frontend)
        self.hairpin = Set("hairpin", (source, destination))
        self.cluster_ips = Set("cluster-ips", (destination,))
        self.affinity = Map(
            name="affinity", key=(PRIORITY, source), value=(PRIORITY,), timeout=0, dynamic=True, size=_CLIENTS
        )
        self.sticky = Map("sticky", (*frontend, PRIORITY), backend)
        self.draws = Map("draws", (*frontend, RANDOM_CHOICE), (PRIORITY,))
        self.inside_sticky = Map("inside-sticky", (*frontend, PRIORITY), backend)
        self.inside_draws = Map("inside-draws", (*frontend, RANDOM_CHOICE), (PRIORITY,))
        self.source_ranges = Set("source-ranges", (*frontend, source), interval=True)
        self.restricted = Set("restricted", frontend)
        self.extra: tuple[AnySet, ...] = (
            self.source_ranges,
            self.restricted,
            self.sticky,
            self.draws,
            self.inside_backends,
            self.inside_sticky,
            self.inside_draws,
            self.inside,
        )
        """Those with rows for few frontends only; a set comes before those whose rows draw on it."""
        self.all: tuple[AnySet, ...] = (
            self.affinity,
            self.backends,
            *self.extra,
            self.frontends,
            self.no_endpoints,
            self.hairpin,
            *((self.cluster_ips,) if service_prefixes else ()),
        )
