"""Which nodes bring a load balancer's address to themselves, by layer 2 or by BGP.

Comes in: a world, an address. Goes out: the nodes, in what words, or why there are none; nothing where the address is
not theirs to announce. Refuses to know who is alive beyond what Nodes and statuses say, and whether routers listen.
"""

from msgspec import Struct

from fairlead.compile.announcements import compile_link_announcements, compile_route_announcements, elect
from fairlead.compile.loadbalancers import choose_providers, held_addresses
from fairlead.compile.pools import compile_pools
from fairlead.kube.core import Service
from fairlead.model import Origin
from fairlead.model.loadbalancers import Pool, Provider, ServiceKey
from fairlead.net import Address
from fairlead.sim.world import World


class Announced(Struct, frozen=True):
    """Who announces an address of a Service: each node with how; `reason` says why nobody does."""

    origin: Origin
    nodes: tuple[tuple[str, str], ...] = ()
    reason: str = ""


def find_announcers(world: World, address: Address) -> Announced | None:
    """Return who announces an address, None where another provider, or nobody, has it."""
    service = next((each for each in world.services.values() if address in held_addresses(each)), None)
    if service is None or service.spec.type != "LoadBalancer":
        return None
    meta, known = service.metadata, world.announcing
    pools, _ = compile_pools(known.pools)
    pool = next((each for each in pools if each.holds(address)), None)
    providers = choose_providers(
        service.spec.load_balancer_class or "", pool, meta.labels, known.l2, known.bgp, Provider.EXTERNAL
    )
    if Provider.EXTERNAL in providers:
        return None
    origin = Origin("Service", meta.namespace, meta.name, "status.loadBalancer.ingress")
    ready = _ready(world)
    routed = _routed(world, service, pools, address, ready) if Provider.BGP in providers else ()
    linked = _linked(world, service, pools, address, ready) if Provider.L2 in providers else ()
    if linked or routed:
        return Announced(origin, linked or routed)
    return Announced(origin, reason=f"no node announces that address: {_why(service, pool, providers, ready)}")


def _linked(
    world: World, service: Service, pools: tuple[Pool, ...], address: Address, ready: dict[ServiceKey, frozenset[str]]
) -> tuple[tuple[str, str], ...]:
    known, meta = world.announcing, service.metadata
    how = "answers ARP for it" if len(address.packed) == 4 else "answers neighbour discovery for it"
    found = compile_link_announcements([service], pools, known.l2, world.nodes.values(), ready)
    announcement = next((each for each in found if each.address == address), None)
    if announcement is None:
        return ()
    candidates = frozenset(node for node, _ in announcement.candidates)
    for each in (state.status for state in known.l2_states):
        same = (each.service_namespace, each.service_name) == (meta.namespace, meta.name)
        if same and len(held_addresses(service)) == 1 and each.node in candidates:
            return ((each.node, f"which {how}, as ServiceL2Status says"),)
    chosen = elect(announcement, candidates)
    return ((chosen, f"which {how}, elected among {len(candidates)}"),) if chosen else ()


def _routed(
    world: World, service: Service, pools: tuple[Pool, ...], address: Address, ready: dict[ServiceKey, frozenset[str]]
) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for name, node in sorted(world.nodes.items()):
        routes = compile_route_announcements([service], pools, world.announcing.bgp, node, ready, {})
        prefixes = [route.prefix for each in routes.values() for route in each if address in route.prefix]
        if prefixes:
            longest = max(prefixes, key=lambda each: each.length)
            found.append((name, f"which announces {longest} to routers by BGP"))
    return tuple(found)


def _why(
    service: Service, pool: Pool | None, providers: tuple[Provider, ...], ready: dict[ServiceKey, frozenset[str]]
) -> str:
    if pool is None:
        return "it is in no IPAddressPool"
    if not ready.get(ServiceKey(service.metadata.namespace, service.metadata.name)):
        return "the Service has no ready endpoint"
    kinds = " or ".join("L2Advertisement" if each is Provider.L2 else "BGPAdvertisement" for each in providers)
    return f"no {kinds} is for pool {pool.name} and for a node that is ready, not excluded, and has what policy asks"


def _ready(world: World) -> dict[ServiceKey, frozenset[str]]:
    """The nodes that have ready endpoints, by Service."""
    return {
        ServiceKey(*name): frozenset(
            endpoint.node_name or ""
            for piece in slices
            for endpoint in piece.endpoints
            if endpoint.conditions.ready is not False
        )
        for name, slices in world.slices.items()
    }
