"""What the nodes announce: addresses to the link they are on, and routes to peers."""

from msgspec import Struct

from fairlead.model.loadbalancers import ServiceKey
from fairlead.net import Address, Prefix


class LinkAnnouncement(Struct, frozen=True, kw_only=True):
    """An address that one of `candidates` answers for, on `interfaces`; none named means all.

    `candidates` are names of nodes with their preference: only those of the highest one that is alive count.
    """

    service: ServiceKey
    address: Address
    candidates: tuple[tuple[str, int], ...]
    interfaces: frozenset[str] = frozenset()


class RouteAnnouncement(Struct, frozen=True, order=True, kw_only=True):
    """A prefix announced to the peers of these names."""

    prefix: Prefix
    peers: tuple[str, ...]
    local_preference: int = 0
    communities: tuple[str, ...] = ()


class Peer(Struct, frozen=True, kw_only=True):
    """A router to speak BGP with. Times are seconds; None leaves them to the speaker."""

    name: str
    address: Address
    port: int
    local_as: int
    peer_as: int
    source: Address | None = None
    router_id: Address | None = None
    hold_seconds: int | None = None
    password: str = ""
    multi_hop: bool = False
    graceful_restart: bool = False
    both_families: bool = False
