# pyright: reportUnknownMemberType=false
# (pyroute2, which the baseline uses, has no types)
"""What a cluster's network costs: building it, attaching a pod, letting it go; beside the same through pyroute2.

It is built in namespaces of a child process, in a user namespace where the caller is not root.
"""

import os
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection

from msgspec import Struct

from fairlead.bench.measurement import Measurement, at_most
from fairlead.cluster.topology import Topology, TopologySpec
from fairlead.drivers.netlink.links import LinkSocket
from fairlead.drivers.netns import entered, new_namespace
from fairlead.drivers.processes import Namespaces, map_own_ids, unshare

_TARGET_MS = 3.0
_NODES, _PODS, _BASELINE_PODS = 5, 1000, 100


class _Costs(Struct):
    """In milliseconds; all but `build` for one pod."""

    build: float
    attach: float
    detach: float
    gone: float
    attach_with_pyroute2: float


def network() -> list[Measurement]:
    """Measure five nodes and a thousand pods in a child process. Raises RuntimeError when it could not."""
    here, there = get_context("fork").Pipe()
    child = get_context("fork").Process(target=_run, args=(there, os.geteuid(), os.getegid()))
    child.start()
    there.close()
    try:
        costs: _Costs = here.recv()
    except EOFError:
        raise RuntimeError("the benchmark's child ended early; its trace is above") from None
    finally:
        child.join()
    return [
        Measurement("network: build, five nodes", costs.build, "ms"),
        at_most(
            "network: attach a pod (baseline: pyroute2)", costs.attach, "ms", _TARGET_MS, costs.attach_with_pyroute2
        ),
        Measurement("network: detach a pod", costs.detach, "ms"),
        Measurement("network: until a pod's interfaces are gone", costs.gone, "ms"),
    ]


def _run(answer: Connection, uid: int, gid: int) -> None:
    unshare(Namespaces.NET if uid == 0 else Namespaces.NET | Namespaces.USER)
    if uid != 0:
        map_own_ids(uid, gid)
    answer.send(_measure())


def _measure() -> _Costs:
    started = time.perf_counter()
    topology = Topology.build(TopologySpec(nodes=_NODES))
    built = _milliseconds(started)
    nodes = tuple(topology.nodes.values())
    wanted = [(nodes[n % _NODES], 2 + n // _NODES) for n in range(_PODS)]
    started = time.perf_counter()
    attached = [topology.attach_pod(node.name, node.pod_prefix.address + offset) for node, offset in wanted]
    attach = _milliseconds(started) / _PODS
    started = time.perf_counter()
    for pod in attached:
        topology.detach_pod(pod)
    detach = _milliseconds(started) / _PODS
    _wait_until(lambda: all(_count_links(node.netns) == 2 for node in nodes))
    gone = _milliseconds(started) / _PODS
    return _Costs(built, attach, detach, gone, _attach_with_pyroute2(_BASELINE_PODS))


def _milliseconds(since: float) -> float:
    return (time.perf_counter() - since) * 1000


def _count_links(netns: int) -> int:
    with entered(netns):
        links = LinkSocket()
    count = len(links.links())
    links.close()
    return count


def _wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "the interfaces of detached pods stay"
        time.sleep(0.005)


def _attach_with_pyroute2(pods: int) -> float:
    """Milliseconds for each of `pods` pods wired the same way, one request at a time as the library sends them."""
    from pyroute2.iproute.linux import IPRoute

    node = new_namespace()
    with entered(node):
        outside = IPRoute()
    spaces: list[int] = []
    started = time.perf_counter()
    for number in range(pods):
        pod = new_namespace()
        spaces.append(pod)
        address, index = f"10.244.0.{2 + number}", 1000 + number
        peer = {"ifname": "eth0", "net_ns_fd": pod, "index": 2}
        outside.link("add", ifname=f"pod{number}", kind="veth", index=index, peer=peer)
        outside.link("set", index=index, state="up")
        outside.neigh("replace", dst=address, lladdr="0a:58:00:00:00:01", ifindex=index, state="permanent")
        outside.route("replace", dst=f"{address}/32", oif=index, scope="link")
        with entered(pod):
            inside = IPRoute()
        for link in (1, 2):
            inside.link("set", index=link, state="up")
        inside.addr("add", index=2, address=address, prefixlen=32)
        inside.neigh("replace", dst="169.254.1.1", lladdr="ee:ee:ee:ee:ee:ee", ifindex=2, state="permanent")
        inside.route("replace", dst="default", gateway="169.254.1.1", oif=2, flags=4)
        inside.close()
    spent = _milliseconds(started) / pods
    outside.close()
    for fd in (*spaces, node):
        os.close(fd)
    return spent
