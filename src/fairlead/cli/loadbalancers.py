"""`fairlead status --load-balancers`: who has which address, who announces it, and why another one is still pending.

Comes in: a cluster's API. Goes out: one line for each Service of type LoadBalancer. It reads what anybody may read:
statuses, advertisements and Events.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from fairlead.agents.loadbalancer.program import NAMESPACE
from fairlead.cluster.home import ClusterHome
from fairlead.compile.external import NodeState, compile_target
from fairlead.compile.loadbalancers import FROM_POOL, allocation_of, annotation
from fairlead.compile.pools import compile_pools
from fairlead.drivers.kubeapi import HttpTransport, KubeClient
from fairlead.kube.core import Event, Node, Service
from fairlead.kube.metallb import (
    BGPAdvertisement,
    ConfigurationState,
    IPAddressPool,
    L2Advertisement,
    ServiceBGPStatus,
    ServiceL2Status,
)
from fairlead.model.loadbalancers import Provider

_TROUBLE = ("AllocationFailed", "AddressNotInPool", "NotProgrammed", "Doubtful")
_COLUMNS = ("SERVICE", "ADDRESS", "POOL", "PROVIDER", "ANNOUNCED BY", "PORTS", "TROUBLE")


class LoadBalancerLine(Struct, frozen=True, kw_only=True):
    """One Service; `announced_by` are nodes, and `trouble` says what keeps it from working as written."""

    namespace: str
    name: str
    addresses: tuple[str, ...]
    pool: str
    providers: tuple[str, ...]
    announced_by: tuple[str, ...]
    ports: tuple[str, ...]
    trouble: tuple[str, ...]


class LoadBalancers(Struct, frozen=True, kw_only=True):
    """The answer: Services, and what is wrong with the configuration, which is then not in use."""

    services: tuple[LoadBalancerLine, ...]
    invalid: tuple[str, ...]


class Found(Struct, frozen=True, kw_only=True):
    """What the API has that tells how a Service of type LoadBalancer fares."""

    pools: Sequence[IPAddressPool]
    l2: Sequence[L2Advertisement]
    bgp: Sequence[BGPAdvertisement]
    nodes: Sequence[Node]
    events: Sequence[Event]
    l2_states: Sequence[ServiceL2Status]
    bgp_states: Sequence[ServiceBGPStatus]


async def look_at_load_balancers(home: ClusterHome) -> LoadBalancers:
    """Ask a cluster about its load balancers. Raises ApiError."""
    transport = HttpTransport.from_kubeconfig(home.kubeconfig)
    client = KubeClient(transport)
    try:
        found = Found(
            pools=(await client.list(IPAddressPool, NAMESPACE)).items,
            l2=(await client.list(L2Advertisement, NAMESPACE)).items,
            bgp=(await client.list(BGPAdvertisement, NAMESPACE)).items,
            nodes=(await client.list(Node)).items,
            events=(await client.list(Event)).items,
            l2_states=(await client.list(ServiceL2Status)).items,
            bgp_states=(await client.list(ServiceBGPStatus)).items,
        )
        services = (await client.list(Service)).items
        states = (await client.list(ConfigurationState, NAMESPACE)).items
    finally:
        await transport.close()
    lines = (describe_load_balancer(each, found) for each in services if each.spec.type == "LoadBalancer")
    invalid = tuple(f"{each.metadata.name}: {each.status.last_error}" for each in states if each.status.last_error)
    return LoadBalancers(services=tuple(lines), invalid=invalid)


def describe_load_balancer(service: Service, found: Found) -> LoadBalancerLine:
    """Return what there is to say of one Service."""
    meta = service.metadata
    pools, _ = compile_pools(found.pools)
    allocation = allocation_of(service, pools, found.l2, found.bgp, Provider.EXTERNAL)
    providers = allocation.providers if allocation else ()
    return LoadBalancerLine(
        namespace=meta.namespace,
        name=meta.name,
        addresses=tuple(map(str, allocation.addresses)) if allocation else (),
        pool=annotation(service, FROM_POOL),
        providers=tuple(each.value for each in providers),
        announced_by=tuple(dict.fromkeys(name for each in providers for name in _announcers(service, each, found))),
        ports=tuple(f"{port.port}/{port.protocol.lower()}" for port in service.spec.ports),
        trouble=tuple(_trouble(service, found.events)) or (() if allocation else ("nobody has given it an address",)),
    )


def _announcers(service: Service, provider: Provider, found: Found) -> Iterable[str]:
    wanted = (service.metadata.namespace, service.metadata.name)
    match provider:
        case Provider.EXTERNAL:
            targets = map(compile_target, found.nodes)
            return (f"lb to {each.name}" for each in targets if each.state is NodeState.SERVING)
        case Provider.L2:
            states = (each.status for each in found.l2_states)
        case Provider.BGP:
            states = (each.status for each in found.bgp_states)
    return (each.node for each in states if (each.service_namespace, each.service_name) == wanted)


def _trouble(service: Service, events: Iterable[Event]) -> Iterable[str]:
    """The last complaint of each kind about the Service: what was mended since is none."""
    about = [each for each in events if each.involved_object.uid == service.metadata.uid]
    about.sort(key=lambda each: each.last_timestamp or "")
    given = max((number for number, each in enumerate(about) if each.reason == "IPAllocated"), default=-1)
    return {each.reason: each.message for each in about[given + 1 :] if each.reason in _TROUBLE}.values()


def load_balancers_text(found: LoadBalancers) -> str:
    """The answer as a table for a person."""
    rows = [_COLUMNS, *(_cells(each) for each in found.services)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if not found.services:
        lines = ["there is no Service of type LoadBalancer"]
    return "\n".join([*lines, *(f"configuration not in use: {each}" for each in found.invalid)])


def _cells(line: LoadBalancerLine) -> tuple[str, ...]:
    return (
        f"{line.namespace}/{line.name}",
        ",".join(line.addresses) or "<pending>",
        line.pool or "-",
        ",".join(line.providers) or "-",
        ", ".join(line.announced_by) or "-",
        ",".join(line.ports),
        "; ".join(line.trouble) or "-",
    )
