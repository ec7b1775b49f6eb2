"""Load balancers: addresses for ten thousand Services, and connections through the external provider.

Deciding is measured against the plain way, which tries the addresses of a pool one after the other for each Service,
and the whole of it against writing the same statuses alone: both with an API server in this process. Connections take
the whole way in namespaces of a child process, client, load-balancer host, node, pod, in turn with the straight way.
"""

import asyncio
import os
import signal
import statistics
import tempfile
import time
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from fairlead.agents.loadbalancer.allocation import Allocation, AllocationSettings
from fairlead.agents.loadbalancer.following import World
from fairlead.bench.connect import connection_rate, fork_inside, serve_bytes
from fairlead.bench.measurement import Measurement, at_most
from fairlead.cluster.apiserver.bootstrap import create_first_objects
from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.cluster.apiserver.log import SqliteLog
from fairlead.cluster.apiserver.loopback import InProcessTransport
from fairlead.cluster.topology import Topology, TopologySpec
from fairlead.compile.loadbalancer_book import AddressBook
from fairlead.compile.pools import join_ranges, parse_range
from fairlead.drivers.kubeapi import KubeClient
from fairlead.drivers.netlink.links import LinkSocket, add_local, add_route, add_rule
from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.drivers.netns import entered
from fairlead.drivers.processes import Namespaces, map_own_ids, unshare
from fairlead.kube.core import Service
from fairlead.kube.documents import Document
from fairlead.kube.resources import resource_of
from fairlead.model import Backend, Frontend, FrontendKey, Masquerade, Origin, Refusal
from fairlead.model.loadbalancers import Pool, PortUse, ServiceKey, Wish
from fairlead.net import Address, Family, Port, Prefix, Protocol, parse_address, parse_prefix
from fairlead.nft.diff import build_table
from fairlead.nft.transactions import Transaction
from fairlead.render.return_path import RETURN_MARK, TABLE, return_table
from fairlead.render.services import ServiceRows

_RANGE = "10.64.0.0/16"
_DECIDE_SECONDS, _ALLOCATE_SECONDS = 1.0, 30.0
_WRITERS = 16
_PORT, _NODE_PORT = Port(8080), Port(30080)
_ROUNDS = 11
_ROUTES = 7472


def balance(services: int = 10_000) -> list[Measurement]:
    """Seconds to give so many Services addresses, and new connections a second through the external provider."""
    with tempfile.TemporaryDirectory() as folder:
        return [_decided(services), asyncio.run(_allocated(Path(folder), services)), *_connections()]


def _decided(services: int) -> Measurement:
    pool = Pool(name="bench", ranges=join_ranges([parse_range(_RANGE)]), origin=Origin("IPAddressPool", "", "bench"))
    http = frozenset({PortUse(Protocol.TCP, Port(80))})
    wishes = [
        Wish(service=ServiceKey("bench", f"s-{number}"), created="", families=(Family.IPV4,), ports=http)
        for number in range(services)
    ]
    begun = time.perf_counter()
    book = AddressBook()
    book.set_pools((pool,))
    for wish in wishes:
        book.put(wish)
    grants, _ = book.step()
    spent = time.perf_counter() - begun
    assert len({grant.addresses for grant in grants}) == services
    name = f"balance: {services} services decided (baseline: scan)"
    return at_most(name, spent, "s", _DECIDE_SECONDS, _scanned(services))


def _scanned(services: int) -> float:
    """Seconds to try each address in turn for each Service, until one has no owner."""
    begun = time.perf_counter()
    taken: set[int] = set()
    for _ in range(services):
        number = 0
        while number in taken:
            number += 1
        taken.add(number)
    return time.perf_counter() - begun


async def _allocated(folder: Path, services: int) -> Measurement:
    server = ApiServer(SqliteLog(folder / "data.sqlite"), KINDS, service_ranges=(parse_prefix("10.96.0.0/12"),))
    await create_first_objects(server, service_address="10.96.0.1", api_address="172.18.0.1", api_port=6443)
    client = KubeClient(InProcessTransport(server))
    resource, names = resource_of(Service), [f"s-{number}" for number in range(services)]
    for name in names:
        spec: Document = {
            "type": "LoadBalancer",
            "ports": [{"port": 80}],
            "allocateLoadBalancerNodePorts": False,
        }
        await client.create_document(resource, {"metadata": {"name": name}, "spec": spec}, "default")
    baseline = await _written(client, names)
    begun = time.perf_counter()
    world = World("metallb-system")
    settings = AllocationSettings(default_addresses=(_RANGE,))
    allocation = Allocation(world, client, settings, lambda _: None, time.time)
    running = asyncio.create_task(_run(world, client, allocation))
    await _until_served(world, services)
    spent = time.perf_counter() - begun
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    server.close()
    name = f"balance: {services} services have addresses (baseline: writes)"
    return at_most(name, spent, "s", _ALLOCATE_SECONDS, baseline)


async def _until_served(world: World, services: int) -> None:
    """Wait until the watch has told of so many Services that have addresses."""
    served: set[ServiceKey] = set()
    done = asyncio.Event()

    def heard(keys: frozenset[ServiceKey]) -> None:
        for key in keys:
            kept = world.services.objects.get(key)
            if kept and kept.service and kept.service.status.load_balancer.ingress:
                served.add(key)
        if len(served) == services:
            done.set()

    world.services.listen(heard)
    await done.wait()


async def _run(world: World, client: KubeClient, allocation: Allocation) -> None:
    async with asyncio.TaskGroup() as tasks:
        world.follow(client, tasks)
        tasks.create_task(allocation.run())


async def _written(client: KubeClient, names: list[str]) -> float:
    """Seconds to write as many annotations and nothing else."""
    resource, left = resource_of(Service), iter(names)

    async def write() -> None:
        for name in left:
            patch: Document = {"metadata": {"annotations": {"bench": "written"}}}
            await client.patch_document(resource, name, "default", patch, subresource="status")

    begun = time.perf_counter()
    await asyncio.gather(*(write() for _ in range(_WRITERS)))
    return time.perf_counter() - begun


def _connections() -> list[Measurement]:
    here, there = get_context("fork").Pipe()
    child = get_context("fork").Process(target=_measure, args=(there, os.geteuid(), os.getegid()))
    child.start()
    there.close()
    try:
        rates: dict[str, list[float]] = here.recv()
    except EOFError:
        raise RuntimeError("the benchmark's child ended early; its trace is above") from None
    finally:
        child.join()
    straight = rates.pop("straight")
    return [
        Measurement(
            name=f"balance: new connections/s, {name}, against straight",
            value=statistics.median(rate),
            unit="1/s",
            baseline=statistics.median(straight),
            ratio=statistics.median(a / b for a, b in zip(rate, straight, strict=True)),
        )
        for name, rate in rates.items()
    ]


def _measure(answer: Connection, uid: int, gid: int) -> None:
    unshare(Namespaces.NET if uid == 0 else Namespaces.NET | Namespaces.USER)
    if uid != 0:
        map_own_ids(uid, gid)
    topology = Topology.build(TopologySpec(nodes=1, second=None))
    node, lb = topology.nodes["node-1"], topology.lb
    pod = topology.attach_pod("node-1", node.pod_prefix.address + 2)
    returned, hidden = parse_address("203.0.113.1"), parse_address("203.0.113.2")
    with entered(node.netns):
        _program(
            (_frontend(node.address, _NODE_PORT, Backend(pod.address, _PORT), Masquerade.ALWAYS),), node.pod_prefix
        )
        _lead_back(topology)
    at_node = Backend(node.address, _NODE_PORT)
    with entered(lb.netns):
        _program(
            (
                _frontend(returned, _PORT, at_node, Masquerade.NEVER),
                _frontend(hidden, _PORT, at_node, Masquerade.ALWAYS),
            )
        )
        links = LinkSocket()
        links.apply([add_local(Prefix(each, 32)) for each in (returned, hidden)])
    serving = fork_inside(pod.netns, lambda: serve_bytes(str(pod.address)))
    ways = {"straight": pod.address, "external": returned, "external and masqueraded": hidden}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    try:
        with entered(topology.client.netns):
            for _ in range(_ROUNDS):
                for name, address in ways.items():
                    rates[name].append(connection_rate(str(address)))
    finally:
        os.kill(serving, signal.SIGKILL)
        os.waitpid(serving, 0)
    answer.send({name: rate[1:] for name, rate in rates.items()})


def _program(frontends: tuple[Frontend, ...], *pods: Prefix) -> None:
    with NftSocket() as nft:
        rows = ServiceRows(Family.IPV4, pods)
        nft.apply(rows.base())
        nft.apply(rows.replace({each.key: each for each in frontends}))


def _lead_back(topology: Topology) -> None:
    """Have a node answer through the load-balancer host, as its agent does."""
    links = LinkSocket()
    everywhere = Prefix(Address(bytes(4)), 0)
    links.apply([add_route(everywhere, via=topology.lb.address, table=_ROUTES)])
    links.apply([add_rule(Family.IPV4, mark=RETURN_MARK, table=_ROUTES)])
    links.close()
    wanted = return_table(Family.IPV4, [topology.hardware_of(topology.lb.address)])
    with NftSocket() as nft:
        nft.apply(Transaction(wanted.family, TABLE, build_table((), wanted)))


def _frontend(address: Address, port: Port, backend: Backend, masquerade: Masquerade) -> Frontend:
    return Frontend(
        key=FrontendKey(address, Protocol.TCP, port),
        backends=(backend,),
        when_empty=Refusal.REJECT,
        masquerade=masquerade,
        origin=Origin("Service", "bench", "balance"),
    )
