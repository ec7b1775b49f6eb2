"""The third truth: real packets through the rendered rows come to what model and evaluator say, on generated clusters.

A node routes between pods of its own, a pod of another node, a client, and a fabric that has no route for the rest.
"""

import errno
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from msgspec import Struct
from sim_worlds import NODES, keys, packet_to, worlds

from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.drivers.netns import entered, new_namespace, write_sysctl
from fairlead.model import FrontendKey
from fairlead.net import Protocol, parse_address
from fairlead.nft.diff import build_table
from fairlead.nft.evaluate import Ending, Entry
from fairlead.nft.transactions import Transaction
from fairlead.sim.nodes import NodeRules
from fairlead.sim.world import World

pytestmark = pytest.mark.kernel

NODE, FABRIC = "172.18.0.2", "172.18.0.1"
PODS = tuple(f"10.244.{node}.{host}" for node in (1, 2, 3) for host in (2, 3))
HOSTS = (*PODS, "198.51.100.2")
DIALLERS = ("10.244.1.2", "10.244.2.2", "198.51.100.2", NODE)
LISTENING = (8080, 9090)
MANY = 40
"""How many flows an example has at least. Of those without a route it has one a source: a router tells of no more."""
MOMENT, DEADLINE = 0.5, 10.0
"""Seconds in which a packet that should get no answer could get one, and those all others have."""


class Bench(Struct):
    """The node's namespace with its firewall, every host's by address, and the pods' listeners."""

    nft: NftSocket
    hosts: dict[str, int]
    listeners: dict[socket.socket, str]

    def dial(self, flows: list[tuple[str, FrontendKey]], silent: set[int]) -> list[str]:
        """Connect every flow at once; return who answered and whom it saw, or what the kernel said.

        `silent` are the numbers of flows that nobody waits for longer than a moment.
        """
        callers = [self._call(source, key) for source, key in flows]
        waiting = {caller for number, caller in enumerate(callers) if number not in silent}
        accepted = self._answer(waiting)
        outcomes = [_outcome(caller) for caller in callers]
        for each in (*callers, *accepted):
            each.close()
        return outcomes

    def _call(self, source: str, key: FrontendKey) -> socket.socket:
        with entered(self.hosts[source]):
            caller = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        caller.connect_ex((str(key.address), key.port))
        return caller

    def _answer(self, waiting: set[socket.socket]) -> list[socket.socket]:
        """Accept and answer until each of `waiting` has heard something, and for a moment at least."""
        accepted: list[socket.socket] = []
        started = time.monotonic()
        while (passed := time.monotonic() - started) < DEADLINE and (waiting or passed < MOMENT):
            ready = set(select.select([*self.listeners, *waiting], [], [], 0.05)[0])
            waiting = waiting - ready
            for listener in ready & self.listeners.keys():
                connection, peer = listener.accept()
                connection.send(f"{self.listeners[listener]} sees {peer[0]}".encode())
                accepted.append(connection)
        return accepted


def _outcome(caller: socket.socket) -> str:
    """What a caller has after everybody had time; errors come once by SO_ERROR."""
    error = caller.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        return errno.errorcode[error]
    try:
        return caller.recv(100).decode()
    except BlockingIOError:
        return "silence"
    except OSError as gone:
        return errno.errorcode[gone.errno or 0] if gone.errno != errno.ENOTCONN else "silence"


def run_ip(netns: int, *lines: str) -> None:
    with entered(netns):
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True, capture_output=True)


def attach(node: int, name: str, address: str, *routes: str) -> int:
    host = new_namespace()
    path = f"/proc/{os.getpid()}/fd/{host}"
    run_ip(node, f"link add {name} type veth peer name eth0 netns {path}", f"link set {name} up")
    run_ip(host, "link set lo up", f"address add {address}/32 dev eth0", "link set eth0 up", *routes)
    run_ip(node, f"route add {address} dev {name} src {NODE}")
    return host


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    node = new_namespace()
    write_sysctl(node, "net/ipv4/conf/default/rp_filter", "0")
    write_sysctl(node, "net/ipv4/conf/all/rp_filter", "0")
    run_ip(node, "link set lo up", f"address add {NODE}/32 dev lo")
    to_node = f"route add {NODE} dev eth0"
    onward = (to_node, f"route add default via {NODE}")
    back = (to_node, f"route add 10.244.0.0/16 via {NODE}", f"route add {HOSTS[-1]} via {NODE}")
    hosts = {address: attach(node, f"h{number}", address, *onward) for number, address in enumerate(HOSTS)}
    fabric = attach(node, "fabric", FABRIC, *back)
    run_ip(node, f"route add default via {FABRIC} dev fabric src {NODE}")
    for netns in (node, fabric):
        write_sysctl(netns, "net/ipv4/ip_forward", "1")
        write_sysctl(netns, "net/ipv4/icmp_ratelimit", "0")
    listeners: dict[socket.socket, str] = {}
    for address in PODS:
        for port in LISTENING:
            with entered(hosts[address]):
                listeners[socket.create_server((address, port), backlog=512)] = f"{address}:{port}"
    with entered(node):
        nft = NftSocket()
    yield Bench(nft, {**hosts, NODE: node}, listeners)
    nft.close()
    for listener in listeners:
        listener.close()
    for fd in (*hosts.values(), node, fabric):
        os.close(fd)


def expected(rules: NodeRules, source: str, key: FrontendKey) -> set[str]:
    """Everything a caller may see, over all numbers that may be drawn."""
    entry = Entry.SENT if source == NODE else Entry.ARRIVES
    outcomes: set[str] = set()
    for passage in rules.walk_services(packet_to(key, parse_address(source)), entry):
        if passage.ending is not Ending.ACCEPT:
            outcomes.add("ECONNREFUSED" if passage.ending is Ending.REJECT else "silence")
        elif passage.packet.ct_status:
            seen = NODE if passage.masqueraded else source
            outcomes.add(f"{passage.packet.destination}:{passage.packet.destination_port} sees {seen}")
        else:
            outcomes.add("ECONNREFUSED" if str(key.address) in (NODE, *PODS) else "ENETUNREACH")
    return outcomes


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds())
def test_real_connections_come_to_what_the_evaluator_says(bench: Bench, world: World) -> None:
    rules = NodeRules(world, NODES[0])
    table = rules.services.contents
    bench.nft.apply(Transaction(table.family, table.name, build_table(rules.services.sets, table)))
    assert bench.nft.list_table(table.family, table.name) == table
    flows: list[tuple[str, FrontendKey]] = []
    may: list[set[str]] = []
    for source in DIALLERS:
        unreachable = 0
        for key in keys(world, NODES[0]):
            outcomes = expected(rules, source, key)
            unreachable += outcomes == {"ENETUNREACH"}
            if key.protocol is Protocol.TCP and (outcomes != {"ENETUNREACH"} or unreachable == 1):
                flows.append((source, key))
                may.append(outcomes)
    silent = {number for number, outcomes in enumerate(may) if "silence" in outcomes}
    wrong = [
        f"{source} to {key.address}:{key.port}: {outcome}, not one of {sorted(expectation)}"
        for (source, key), expectation, outcome in zip(flows, may, bench.dial(flows, silent), strict=True)
        if outcome not in expectation
    ]
    assert len(flows) >= MANY
    assert wrong == []
