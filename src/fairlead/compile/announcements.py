"""Services with addresses, and advertisements, to what nodes announce.

Comes in: allocations, pools, advertisements, nodes, and where the ready endpoints are. Goes out: announcements, and the
choice of one node for an address. Refuses to know who is alive. Source: MetalLB's speaker (layer2_controller.go,
bgp_controller.go), where the lowest hash of node and address wins.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256

from fairlead.compile.loadbalancers import CLASSES, advertises, held_addresses, selects
from fairlead.kube.core import Node, Service
from fairlead.kube.meta import LabelSelector
from fairlead.kube.metallb import BGPAdvertisement, L2Advertisement
from fairlead.model.announcements import LinkAnnouncement, RouteAnnouncement
from fairlead.model.loadbalancers import Pool, Provider, ServiceKey
from fairlead.net import Address, Family, Prefix

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


def elect(announcement: LinkAnnouncement, alive: frozenset[str]) -> str | None:
    """Return the node that answers for an address, None where no candidate is alive.

    Every node comes to the same answer, and only the addresses of a node that comes or goes move (rendezvous hashing).
    """
    living = [(node, weight) for node, weight in announcement.candidates if node in alive]
    best = max((weight for _, weight in living), default=0)
    among = (node for node, weight in living if weight == best)
    return min(among, key=lambda node: sha256(f"{node}#{announcement.address}".encode()).digest(), default=None)


def can_announce(node: Node) -> bool:
    """Whether a node takes part at all: it is ready, has a network, and is not excluded by its label."""
    states = {each.type: each.status for each in node.status.conditions}
    return (
        EXCLUDED not in node.metadata.labels
        and states.get("Ready") == "True"
        and states.get("NetworkUnavailable") != "True"
    )


def compile_link_announcements(
    services: Iterable[Service],
    pools: Iterable[Pool],
    advertisements: Iterable[L2Advertisement],
    nodes: Iterable[Node],
    ready: Mapping[ServiceKey, frozenset[str]],
) -> tuple[LinkAnnouncement, ...]:
    """Return every address that is to be answered for, and by which nodes; `ready` is where ready endpoints are.

    A Service without ready endpoints is not announced (MetalLB's rule); with policy Local only nodes with their own
    ones are candidates.
    """
    pools, advertisements = tuple(pools), tuple(advertisements)
    able = [node for node in nodes if can_announce(node)]
    found: list[LinkAnnouncement] = []
    for service, pool in _with_pools(services, pools, Provider.L2):
        meta = service.metadata
        key = ServiceKey(meta.namespace, meta.name)
        fitting = [each for each in advertisements if advertises(each, pool, meta.labels)]
        candidates = tuple(
            (node.metadata.name, _preference(node, fitting))
            for node in _serving(service, able, ready.get(key, frozenset()))
            if any(_is_for(each.spec.node_selectors, node) for each in fitting)
        )
        interfaces = (
            frozenset[str]()
            if any(not each.spec.interfaces for each in fitting)
            else frozenset(name for each in fitting for name in each.spec.interfaces)
        )
        found += (
            LinkAnnouncement(service=key, address=address, candidates=candidates, interfaces=interfaces)
            for address in held_addresses(service)
            if candidates
        )
    return tuple(found)


def compile_route_announcements(
    services: Iterable[Service],
    pools: Iterable[Pool],
    advertisements: Iterable[BGPAdvertisement],
    node: Node | None,
    ready: Mapping[ServiceKey, frozenset[str]],
    aliases: Mapping[str, str],
) -> dict[ServiceKey, tuple[RouteAnnouncement, ...]]:
    """Return what one node announces to peers for each Service; no peers named means all of them."""
    if node is None or not can_announce(node):
        return {}
    pools, advertisements = tuple(pools), tuple(advertisements)
    found: dict[ServiceKey, tuple[RouteAnnouncement, ...]] = {}
    for service, pool in _with_pools(services, pools, Provider.BGP):
        meta = service.metadata
        key = ServiceKey(meta.namespace, meta.name)
        if not tuple(_serving(service, [node], ready.get(key, frozenset()))):
            continue
        found[key] = tuple(
            RouteAnnouncement(
                prefix=_aggregate(address, each),
                peers=tuple(sorted(each.spec.peers)),
                local_preference=each.spec.local_pref,
                communities=tuple(sorted(aliases.get(name, name) for name in each.spec.communities)),
            )
            for each in advertisements
            if advertises(each, pool, meta.labels) and _is_for(each.spec.node_selectors, node)
            for address in held_addresses(service)
        )
    return {key: routes for key, routes in found.items() if routes}


def _with_pools(
    services: Iterable[Service], pools: tuple[Pool, ...], provider: Provider
) -> Iterable[tuple[Service, Pool]]:
    """The Services that have addresses of a pool, save those whose class names another provider."""
    for service in services:
        if CLASSES.get(service.spec.load_balancer_class or "", provider) is not provider:
            continue
        addresses = held_addresses(service)
        if service.spec.type != "LoadBalancer" or not addresses:
            continue
        pool = next((each for each in pools if all(map(each.holds, addresses))), None)
        if pool is not None:
            yield service, pool


def _serving(service: Service, nodes: Iterable[Node], ready: frozenset[str]) -> Iterable[Node]:
    if service.spec.external_traffic_policy == "Local":
        return (node for node in nodes if node.metadata.name in ready)
    return nodes if ready else ()


def _is_for(selectors: tuple[LabelSelector, ...], node: Node) -> bool:
    return not selectors or selects(selectors, node.metadata.labels)


def _preference(node: Node, advertisements: Iterable[L2Advertisement]) -> int:
    return sum(
        preferred.weight
        for each in advertisements
        for preferred in each.spec.preferred_node_selectors
        if selects((preferred.preference,), node.metadata.labels)
    )


def _aggregate(address: Address, advertisement: BGPAdvertisement) -> Prefix:
    spec = advertisement.spec
    length = spec.aggregation_length if address.family is Family.IPV4 else spec.aggregation_length_v6
    bits = 8 * len(address.packed)
    kept = int.from_bytes(address.packed, "big") >> (bits - length) << (bits - length)
    return Prefix(Address(kept.to_bytes(len(address.packed), "big")), length)
