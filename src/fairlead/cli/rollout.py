"""What `up` does once the cluster's processes run: applies manifests, waits, and describes what came up.

Comes in: a home, a record, manifests. Goes out: a `Rollout`. Talks to the cluster through its API only.
"""

import asyncio
import functools
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

from msgspec import Struct

from fairlead.cluster.home import ClusterHome, ClusterRecord
from fairlead.cluster.manifests import Manifest, Outcome, apply_manifests
from fairlead.cluster.readiness import missing_addresses, missing_nodes, missing_pods, missing_workloads
from fairlead.drivers.kubeapi import Applied, Deleted, HttpTransport, KubeClient, Replaced
from fairlead.kube.apps import DaemonSet, Deployment
from fairlead.kube.core import Node, Pod, Service
from fairlead.kube.documents import text_at
from fairlead.kube.networking import Ingress

_PAUSE = 0.005  # seconds between two looks, and at least nine times what a look at all the pods takes
_ADDRESS_SECONDS, _ADDRESS_PAUSE = 2.0, 0.02  # to wait for addresses of load balancers, and between two looks
_Kind = TypeVar("_Kind", Node, Deployment, DaemonSet, Pod, Ingress)


class NodeLine(Struct, frozen=True):
    """A node and its address."""

    name: str
    address: str


class ServiceLine(Struct, frozen=True):
    """A service, its addresses, and commands or URLs that reach it."""

    namespace: str
    name: str
    type: str
    addresses: tuple[str, ...]
    reach: tuple[str, ...]


class IngressLine(Struct, frozen=True):
    """An Ingress, the addresses it is served at, and its URLs."""

    namespace: str
    name: str
    addresses: tuple[str, ...]
    urls: tuple[str, ...]


class Rollout(Struct, frozen=True, kw_only=True):
    """What came up: the answer of `fairlead up` and `fairlead status`."""

    name: str
    seconds: float
    nodes: tuple[NodeLine, ...]
    services: tuple[ServiceLine, ...]
    pods_ready: int
    pods: int
    kubeconfig: str
    applied: int = 0
    refused: tuple[Outcome, ...] = ()
    warned: tuple[Outcome, ...] = ()
    missing: tuple[str, ...] = ()
    ingresses: tuple[IngressLine, ...] = ()


class _World:
    """Nodes, workloads and pods as watches keep them, with a signal at every change."""

    def __init__(self) -> None:
        self.nodes: dict[tuple[str, str], Node] = {}
        self.deployments: dict[tuple[str, str], Deployment] = {}
        self.daemon_sets: dict[tuple[str, str], DaemonSet] = {}
        self.pods: dict[tuple[str, str], Pod] = {}
        self.ingresses: dict[tuple[str, str], Ingress] = {}
        self.synced: set[str] = set()
        self.changed = asyncio.Event()

    async def follow(self, client: KubeClient, kind: type[_Kind], table: dict[tuple[str, str], _Kind]) -> None:
        async for change in client.reflect(kind):
            match change:
                case Replaced(items):
                    table.clear()
                    table.update({(o.metadata.namespace, o.metadata.name): o for o in items})
                    self.synced.add(kind.__name__)
                case Applied(o):
                    table[o.metadata.namespace, o.metadata.name] = o
                case Deleted(o):
                    table.pop((o.metadata.namespace, o.metadata.name), None)
            self.changed.set()

    def missing_nodes(self, nodes: int) -> list[str]:
        return missing_nodes(self.nodes.values(), nodes)

    def missing(self, nodes: int) -> list[str]:
        if len(self.synced) < 4:
            return ["the API server has not answered yet"]
        return [
            *missing_nodes(self.nodes.values(), nodes),
            *missing_workloads(self.deployments.values(), self.daemon_sets.values()),
            *missing_pods(self.pods.values()),
            *missing_addresses(self.ingresses.values()),
        ]


async def bring_up(
    home: ClusterHome,
    record: ClusterRecord,
    manifests: Sequence[Manifest],
    *,
    timeout: float,
    tell: Callable[[str], None],
    started: float,
) -> Rollout:
    """Apply `manifests` to the cluster of `home` and wait, at most `timeout` seconds, until all of it is ready."""
    deadline = time.monotonic() + timeout
    transport = HttpTransport.from_kubeconfig(home.kubeconfig)
    client = KubeClient(transport)
    world = _World()
    watches = [
        asyncio.create_task(world.follow(client, Node, world.nodes)),
        asyncio.create_task(world.follow(client, Deployment, world.deployments)),
        asyncio.create_task(world.follow(client, DaemonSet, world.daemon_sets)),
        asyncio.create_task(world.follow(client, Pod, world.pods)),
    ]
    if any(text_at(each.document, "kind") == "Ingress" for each in manifests):
        watches.append(asyncio.create_task(world.follow(client, Ingress, world.ingresses)))
    try:
        nodes_missing = functools.partial(world.missing_nodes, record.nodes)
        await _wait_until(nodes_missing, world, watches, deadline, tell)  # pods spread over all nodes, not the first
        outcomes = await apply_manifests(client, manifests, tell)
        missing = await _wait_until(functools.partial(world.missing, record.nodes), world, watches, deadline, tell)
        services = await _services(client)
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        await transport.close()
    return Rollout(
        name=home.name,
        seconds=time.monotonic() - started,
        nodes=tuple(sorted((_node_line(node) for node in world.nodes.values()), key=lambda line: line.name)),
        services=tuple(describe_service(service, world.nodes.values()) for service in services),
        pods=len(world.pods),
        pods_ready=len(world.pods) - len(missing_pods(world.pods.values())),
        kubeconfig=str(home.kubeconfig),
        applied=sum(1 for outcome in outcomes if not outcome.refusal),
        refused=tuple(outcome for outcome in outcomes if outcome.refusal),
        warned=tuple(outcome for outcome in outcomes if outcome.warnings),
        missing=tuple(missing),
        ingresses=tuple(describe_ingress(each) for _, each in sorted(world.ingresses.items())),
    )


async def _services(client: KubeClient) -> Sequence[Service]:
    """Every Service. A load balancer's address comes a moment after its pods; one that does not come is no reason to
    wait for long.
    """
    patience = time.monotonic() + _ADDRESS_SECONDS
    while True:
        services = (await client.list(Service)).items
        waiting = any(_waits_for_address(each) for each in services)
        if not waiting or time.monotonic() > patience:
            return services
        await asyncio.sleep(_ADDRESS_PAUSE)


def _waits_for_address(service: Service) -> bool:
    spec = service.spec
    return spec.type == "LoadBalancer" and not spec.load_balancer_class and not service.status.load_balancer.ingress


async def _wait_until(
    still_missing: Callable[[], list[str]],
    world: _World,
    watches: list[asyncio.Task[None]],
    deadline: float,
    tell: Callable[[str], None],
) -> list[str]:
    """Wait until nothing is missing, or return what is at the deadline."""
    while True:
        world.changed.clear()
        looked = time.monotonic()
        if not (missing := still_missing()):
            return []
        pause = max(_PAUSE, 9 * (time.monotonic() - looked))
        for watch in watches:
            if watch.done():
                watch.result()
        tell(f"waiting: {missing[0]}" + (f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""))
        left = deadline - time.monotonic()
        if left <= 0:
            return missing
        with suppress(TimeoutError):
            await asyncio.wait_for(world.changed.wait(), min(left, 1.0))
            await asyncio.sleep(min(pause, left))  # changes come in crowds


def _node_line(node: Node) -> NodeLine:
    address = next((a.address for a in node.status.addresses if a.type == "InternalIP"), "")
    return NodeLine(node.metadata.name, address)


def describe_service(service: Service, nodes: Iterable[Node]) -> ServiceLine:
    """A service's addresses and, port by port, what a person would type to reach it."""
    spec, meta = service.spec, service.metadata
    kind = spec.type or "ClusterIP"
    outside = tuple(each.ip for each in service.status.load_balancer.ingress if each.ip)
    cluster_ips = tuple(ip for ip in (spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())) if ip)
    reach: list[str] = []
    node_addresses = [line.address for line in sorted((_node_line(n) for n in nodes), key=lambda line: line.name)]
    for port in spec.ports:
        protocol = (port.protocol or "TCP").lower()
        reach += [f"from client: {_host(address)}:{port.port}/{protocol}" for address in outside]
        if port.node_port and node_addresses:
            reach.append(f"from client: {node_addresses[0]}:{port.node_port}/{protocol} (any node)")
        elif kind != "ExternalName":
            reach.append(f"inside: {meta.name}.{meta.namespace}:{port.port}/{protocol}")
    if kind == "ExternalName":
        return ServiceLine(meta.namespace, meta.name, kind, (spec.external_name or "",), tuple(reach))
    return ServiceLine(meta.namespace, meta.name, kind, cluster_ips, tuple(reach))


def describe_ingress(ingress: Ingress) -> IngressLine:
    """An Ingress's addresses and URLs; a host without paths is served by the default backend alone."""
    meta, spec = ingress.metadata, ingress.spec
    secure = {host for each in spec.tls for host in each.hosts}
    urls: list[str] = []
    for rule in spec.rules:
        scheme = "https" if rule.host in secure else "http"
        paths = [each.path or "/" for each in rule.http.paths] if rule.http is not None else ["/"]
        urls += [f"{scheme}://{rule.host or '*'}{path}" for path in paths]
    addresses = tuple(each.ip or each.hostname for each in ingress.status.load_balancer.ingress)
    return IngressLine(meta.namespace, meta.name, addresses, tuple(urls))


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def summary_text(rollout: Rollout) -> str:
    """The summary as lines for a person."""
    option = "" if rollout.name == "fairlead" else f" --name {rollout.name}"
    lines = [
        f"cluster {rollout.name}: {len(rollout.nodes)} nodes, {rollout.pods_ready} of {rollout.pods} pods ready "
        f"after {rollout.seconds:.2f} s",
        "",
        *(f"  node {node.name:<12} {node.address}" for node in rollout.nodes),
        "",
    ]
    width = max((len(f"{s.namespace}/{s.name}") for s in rollout.services), default=0)
    for service in rollout.services:
        head = f"  {service.namespace + '/' + service.name:<{width}}  {service.type:<12} {' '.join(service.addresses)}"
        lines.append(head)
        lines += [f"  {'':<{width}}    {text}" for text in service.reach]
    for ingress in rollout.ingresses:
        lines.append(f"  {ingress.namespace + '/' + ingress.name:<{width}}  Ingress      {' '.join(ingress.addresses)}")
        lines += [f"  {'':<{width}}    {url}" for url in ingress.urls]
    lines += [f"  refused: {r.manifest} ({r.source}): {r.refusal}" for r in rollout.refused]
    lines += [f"  warning: {w.manifest} ({w.source}): {text}" for w in rollout.warned for text in w.warnings]
    lines += [f"  not ready: {text}" for text in rollout.missing]
    lines += [
        "",
        f"  export KUBECONFIG={rollout.kubeconfig}",
        *_examples(rollout, option),
    ]
    return "\n".join(lines)


def _examples(rollout: Rollout, option: str) -> list[str]:
    """What to type next: a request to the first host of an Ingress, or to the first open port over TCP."""
    for ingress in rollout.ingresses:
        named = next((url for url in ingress.urls if url.startswith("http://") and "*" not in url), "")
        if named and ingress.addresses:
            host = named.split("/")[2]
            return [
                f"  fairlead exec{option} --from client -- curl -s -H 'Host: {host}' http://{ingress.addresses[0]}/"
            ]
    for service in rollout.services:
        for text in service.reach:
            if text.startswith("from client: ") and "/tcp" in text:
                url = text.removeprefix("from client: ").partition("/")[0]
                return [f"  fairlead exec{option} --from client -- curl -s http://{url}/"]
    return []
