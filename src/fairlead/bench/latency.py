"""What the number of services costs a new connection: its first packets through a ClusterIP, beside straight to a pod.

One node, one client and one server for each size, in namespaces of a child process; every service has ten backends.
Client and server are one thread, and packets between network namespaces of one machine are worked off within the
system call that sends them; so what is timed, from `connect` to `accept`, is the kernel's work and no waiting for a
processor. All sizes and both ways take turns, connection by connection, and every dial is to another service.
"""

import os
import random
import socket
import statistics
import struct
import subprocess
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection

from fairlead.bench.measurement import Measurement
from fairlead.cluster.topology import Topology, TopologySpec
from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.drivers.netns import entered, new_namespace
from fairlead.drivers.processes import Namespaces, map_own_ids, unshare
from fairlead.model import Backend, Frontend, FrontendKey, Masquerade, Origin, Refusal
from fairlead.net import Address, Family, Port, Protocol, parse_address, parse_prefix
from fairlead.render.services import ServiceRows

_SIZES = (10, 10_000, 100_000)
_ENDPOINTS = 10
_ROUNDS, _DISCARDED, _BLOCKS = 8_000, 400, 20
_PORT = Port(8080)
_CHUNK = 5_000
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_FLAT = 1.05
_MICROSECONDS = 1e6


def latency(sizes: tuple[int, ...] = _SIZES, rounds: int = _ROUNDS) -> list[Measurement]:
    """Microseconds of a new connection at each size. Raises RuntimeError when the child could not measure."""
    context = get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_run, args=(there, os.geteuid(), os.getegid(), sizes, rounds))
    child.start()
    there.close()
    try:
        straight, through = here.recv()
    except EOFError:
        raise RuntimeError("the benchmark's child ended early; its trace is above") from None
    finally:
        child.join()
    return list(_figures(sizes, straight, through))


def _figures(sizes: tuple[int, ...], straight: list[list[float]], through: list[list[float]]) -> Iterator[Measurement]:
    """From the samples of each size: a figure beside the straight way, and beside the smallest size with its noise."""
    for size, direct, virtual in zip(sizes, straight, through, strict=True):
        name = f"latency: first packets through {size:,} services"
        value, baseline = statistics.median(virtual), statistics.median(direct)
        yield Measurement(f"{name} (baseline: straight)", value, "us", baseline, value / baseline)
    for size, virtual in zip(sizes[1:], through[1:], strict=True):
        name = f"latency: {size:,} services against {sizes[0]}"
        value, baseline = statistics.median(virtual), statistics.median(through[0])
        ratio = value / baseline
        yield Measurement(f"{name}, median", value, "us", baseline, ratio, baseline * _FLAT, ratio <= _FLAT)
        blocks = sorted(a / b for a, b in zip(_medians(virtual), _medians(through[0]), strict=True))
        spread = blocks[3 * _BLOCKS // 4] - blocks[_BLOCKS // 4]
        yield Measurement(f"{name}, quartile range of {_BLOCKS} ratios", spread, "")


def _medians(samples: list[float]) -> list[float]:
    length = len(samples) // _BLOCKS
    return [statistics.median(samples[start : start + length]) for start in range(0, length * _BLOCKS, length)]


class _Place:
    """A node with so many services, and sockets of a client and of a server on it."""

    def __init__(self, services: int) -> None:
        self._services = services
        with entered(new_namespace()):
            self._topology = Topology.build(TopologySpec(nodes=1))
        node = self._topology.nodes["node-1"]
        pod = node.pod_prefix.address + 2
        self._backends = [pod + 10 + index for index in range(_ENDPOINTS)]
        server = self._topology.attach_pod("node-1", pod).netns
        self._client = self._topology.attach_pod("node-1", node.pod_prefix.address + 3).netns
        with entered(node.netns), NftSocket() as nft:
            _ip(*(f"route add {each} via {pod}" for each in self._backends))
            rows = ServiceRows(Family.IPV4, (node.pod_prefix,), parse_prefix("10.96.0.0/12"))
            nft.apply(rows.base())
            for first in range(0, services, _CHUNK):
                nft.apply(rows.replace(dict(self._frontends(first, min(services, first + _CHUNK)))))
        with entered(server):
            _ip(*(f"address add {each}/32 dev eth0" for each in self._backends))
            self._listener = socket.create_server(("0.0.0.0", _PORT), backlog=100)
            self._listener.settimeout(5)

    def _frontends(self, first: int, last: int) -> Iterator[tuple[FrontendKey, Frontend]]:
        backends = tuple(Backend(address, _PORT) for address in self._backends)
        for number in range(first, last):
            key = FrontendKey(_service(number), Protocol.TCP, _PORT)
            yield (
                key,
                Frontend(
                    key=key,
                    backends=backends,
                    when_empty=Refusal.REJECT,
                    masquerade=Masquerade.UNLESS_LOCAL_POD,
                    origin=Origin("Service", "bench", "latency"),
                ),
            )

    def straight(self, chance: random.Random) -> float:
        """Microseconds of a connection to a pod."""
        return self._time(chance.choice(self._backends))

    def through(self, chance: random.Random) -> float:
        """Microseconds of a connection to a service."""
        return self._time(_service(chance.randrange(self._services)))

    def _time(self, address: Address) -> float:
        target = str(address), _PORT
        with entered(self._client):
            dialled = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        dialled.setblocking(False)
        dialled.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        began = time.perf_counter()
        dialled.connect_ex(target)
        accepted, _ = self._listener.accept()
        spent = time.perf_counter() - began
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        accepted.close()
        dialled.close()
        return spent * _MICROSECONDS


def _service(number: int) -> Address:
    return parse_address("10.96.0.16") + number


def _ip(*lines: str) -> None:
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


def _run(answer: Connection, uid: int, gid: int, sizes: tuple[int, ...], rounds: int) -> None:
    unshare(Namespaces.NET if uid == 0 else Namespaces.NET | Namespaces.USER)
    if uid != 0:
        map_own_ids(uid, gid)
    places = [_Place(size) for size in sizes]
    chance = random.Random(1)
    straight: list[list[float]] = [[] for _ in places]
    through: list[list[float]] = [[] for _ in places]
    for turn in range(_DISCARDED + rounds):
        for index in chance.sample(range(len(places)), len(places)):
            samples = straight[index], through[index]
            for way in chance.sample((0, 1), 2):
                found = (places[index].through if way else places[index].straight)(chance)
                if turn >= _DISCARDED:
                    samples[way].append(found)
    answer.send((straight, through))
