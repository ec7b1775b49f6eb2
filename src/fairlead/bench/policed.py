"""What policies on a pod cost those who talk to it: new connections and throughput under 0, 10 and 1,000 policies.

The network of `bench.connect`, with the policy table of the node agent. Every policy of the pod allows a peer of its
own, and the client's is the last, which is the dearest place. The three states are measured in turn, so that whatever
else the machine does falls on all; the baseline is no policy, in the same run.
"""

import os
import signal
import socket
import statistics
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection

from fairlead.bench.connect import connection_rate, fork_inside, serve_bytes
from fairlead.bench.measurement import Measurement
from fairlead.cluster.topology import Topology, TopologySpec
from fairlead.compile.policy_node import NodePolicies
from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.drivers.netns import entered
from fairlead.drivers.processes import Namespaces, map_own_ids, unshare
from fairlead.model import Origin
from fairlead.model.policies import Action, LabelTest, Operator, PodGroup, Policy, PolicyPod, PolicyRule, Tier
from fairlead.net import Address, Family
from fairlead.render.policy_chains import PolicySettings
from fairlead.render.policy_rows import PolicyRows

_COUNTS = (0, 10, 1000)
_ROUNDS, _BULK_PORT, _BULK_SECONDS = 11, 8081, 0.25
_PIECE = bytes(128 * 1024)


def policed() -> list[Measurement]:
    """Measure in a child with namespaces of its own. Raises RuntimeError when it could not."""
    context = get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_measure, args=(there, os.geteuid(), os.getegid()))
    child.start()
    there.close()
    try:
        rates, flows = here.recv()
    except EOFError:
        raise RuntimeError("the benchmark's child ended early; its trace is above") from None
    finally:
        child.join()
    return [*_compare("new connections/s", "1/s", rates), *_compare("throughput of one connection", "MB/s", flows)]


def _compare(what: str, unit: str, found: dict[int, list[float]]) -> list[Measurement]:
    bare = found[0]
    measured: list[Measurement] = []
    for count in _COUNTS:
        ratio = statistics.median(a / b for a, b in zip(found[count], bare, strict=True))
        name = f"policed: {what} to a pod under {count:,} policies"
        measured.append(Measurement(name, statistics.median(found[count]), unit, statistics.median(bare), ratio))
    return measured


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
    serving = [
        fork_inside(server.netns, lambda: serve_bytes(str(server_address))),
        fork_inside(server.netns, lambda: _swallow(str(server_address))),
    ]
    rates: dict[int, list[float]] = {count: [] for count in _COUNTS}
    flows: dict[int, list[float]] = {count: [] for count in _COUNTS}
    with entered(node.netns):
        nft = NftSocket()
    try:
        for _ in range(_ROUNDS):
            for count in _COUNTS:
                rows = PolicyRows(Family.IPV4, PolicySettings(), 1)
                rows.replace(_policies(count, server_address, client_address).round())
                nft.apply(rows.build())
                with entered(client.netns):
                    rates[count].append(connection_rate(str(server_address)))
                    flows[count].append(_throughput(str(server_address)))
    finally:
        nft.close()
        for pid in serving:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    answer.send((rates, flows))


def _policies(count: int, server: Address, client: Address) -> NodePolicies:
    machine = NodePolicies("node-1")
    for number in range(count):
        machine.put_policy(_policy(number, last=number == count - 1))
    machine.put_namespace("bench", {})
    machine.put_pod(PolicyPod("bench", "server", "node-1", (("app", "server"),), (server,)))
    machine.put_pod(PolicyPod("bench", "client", "node-1", (("app", "client"),), (client,)))
    for number in range(count):
        labels = (("app", f"peer-{number}"),)
        machine.put_pod(PolicyPod("bench", f"peer-{number}", "far", labels, (client + (1000 + number),)))
    return machine


def _policy(number: int, *, last: bool) -> Policy:
    origin = Origin("NetworkPolicy", "bench", f"policy-{number:04}")
    rule = PolicyRule((_group("client" if last else f"peer-{number}"),), None, Action.ACCEPT, origin)
    return Policy(origin=origin, tier=Tier.NETWORK_POLICY, subject=_group("server"), ingress=(rule,), egress=None)


def _group(app: str) -> PodGroup:
    return PodGroup("bench", (), (LabelTest("app", Operator.IN, (app,)),))


def _swallow(address: str) -> None:
    """Take what comes, one connection at a time, and tell at its end how much it was."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((address, _BULK_PORT))
    listener.listen(16)
    buffer = bytearray(1 << 20)
    while True:
        connection, _ = listener.accept()
        total = 0
        while taken := connection.recv_into(buffer):
            total += taken
        connection.sendall(total.to_bytes(8, "big"))
        connection.close()


def _throughput(address: str) -> float:
    """Megabytes a second that arrive on one connection."""
    with socket.create_connection((address, _BULK_PORT), 5) as connection:
        started = time.perf_counter()
        while time.perf_counter() - started < _BULK_SECONDS:
            connection.sendall(_PIECE)
        connection.shutdown(socket.SHUT_WR)
        total = int.from_bytes(connection.recv(8), "big")
        return total / (time.perf_counter() - started) / 1e6
