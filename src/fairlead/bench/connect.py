"""New connections per second through a ClusterIP, beside straight to the pod: what the rows cost a connection.

A network of one node and two pods is built in namespaces of a child process. Both ways are measured in turn, many
times, so that whatever else the machine does falls on both.
"""

import os
import signal
import socket
import statistics
import struct
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection

from fairlead.bench.measurement import Measurement
from fairlead.cluster.topology import Topology, TopologySpec
from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.drivers.netns import entered
from fairlead.drivers.processes import Namespaces, die_with_parent, map_own_ids, unshare
from fairlead.model import Backend, Frontend, FrontendKey, Masquerade, Origin, Refusal
from fairlead.net import Address, Family, Port, Protocol, parse_address
from fairlead.render.services import ServiceRows

_PORT = Port(8080)
_ROUNDS, _CONNECTIONS = 21, 2000
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def connect() -> list[Measurement]:
    """Measure in a child with namespaces of its own. Raises RuntimeError when it could not."""
    context = get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_measure, args=(there, os.geteuid(), os.getegid()))
    child.start()
    there.close()
    try:
        through, straight = here.recv()
    except EOFError:
        raise RuntimeError("the benchmark's child ended early; its trace is above") from None
    finally:
        child.join()
    ratio = statistics.median(a / b for a, b in zip(through, straight, strict=True))
    return [
        Measurement(
            name="connect: new connections/s through a ClusterIP, against straight to the pod",
            value=statistics.median(through),
            unit="1/s",
            baseline=statistics.median(straight),
            ratio=ratio,
            target=0.95,
            met=ratio >= 0.95,
        )
    ]


def _measure(answer: Connection, uid: int, gid: int) -> None:
    if uid == 0:
        unshare(Namespaces.NET)
    else:
        unshare(Namespaces.NET | Namespaces.USER)
        map_own_ids(uid, gid)
    topology = Topology.build(TopologySpec(nodes=1))
    node = topology.nodes["node-1"]
    server_address, client_address = node.pod_prefix.address + 2, node.pod_prefix.address + 3
    server = topology.attach_pod("node-1", server_address)
    client = topology.attach_pod("node-1", client_address)
    virtual = parse_address("10.96.7.7")
    with entered(node.netns), NftSocket() as nft:
        rows = ServiceRows(Family.IPV4, (node.pod_prefix,), topology.spec.service_prefix)
        nft.apply(rows.base())
        nft.apply(rows.replace({_key(virtual): _frontend(virtual, server_address)}))
    serving = fork_inside(server.netns, lambda: serve_bytes(str(server_address)))
    through: list[float] = []
    straight: list[float] = []
    try:
        with entered(client.netns):
            for _ in range(_ROUNDS):
                straight.append(connection_rate(str(server_address)))
                through.append(connection_rate(str(virtual)))
    finally:
        os.kill(serving, signal.SIGKILL)
        os.waitpid(serving, 0)
    answer.send((through[1:], straight[1:]))


def _key(address: Address) -> FrontendKey:
    return FrontendKey(address, Protocol.TCP, _PORT)


def _frontend(address: Address, backend: Address) -> Frontend:
    return Frontend(
        key=_key(address),
        backends=(Backend(backend, _PORT),),
        when_empty=Refusal.REJECT,
        masquerade=Masquerade.UNLESS_LOCAL_POD,
        origin=Origin("Service", "bench", "connect"),
    )


def fork_inside(netns: int, run: Callable[[], None]) -> int:
    """Start a child in a network namespace that ends with this process; return its pid."""
    child = os.fork()
    if child == 0:
        try:
            die_with_parent()
            with entered(netns):
                run()
        finally:
            os._exit(0)
    return child


def serve_bytes(address: str) -> None:
    """Answer every connection with a byte, for ever."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((address, _PORT))
    listener.listen(1024)
    while True:
        connection, _ = listener.accept()
        connection.send(b"!")
        connection.close()


def connection_rate(address: str) -> float:
    """Connections per second, one after the other, each until its first byte; waits for the server at first."""
    deadline = time.monotonic() + 5
    while True:
        try:
            _one(address)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
    started = time.perf_counter()
    for _ in range(_CONNECTIONS):
        _one(address)
    return _CONNECTIONS / (time.perf_counter() - started)


def _one(address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        connection.settimeout(5)
        connection.connect((address, _PORT))
        connection.recv(1)
