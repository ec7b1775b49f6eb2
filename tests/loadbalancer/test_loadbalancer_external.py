"""Does the external load balancer do on real packets what its frontends say: client, lb host, node, pod?

FAIRLEAD_LONG=1 in the environment asks for 20,000 connections where the spread is judged.
"""

import asyncio
import os
import sys
import time
from collections.abc import Iterator

import pytest
from balancer_cluster import Cluster, deployment, eventually, flows, service

pytestmark = [pytest.mark.kernel, pytest.mark.cluster]
CONNECTIONS = 20_000 if os.environ.get("FAIRLEAD_LONG") else 1_200
CRITICAL_OF_SIX = 20.515
"""What chi-square exceeds with a chance of 0.001 at five degrees of freedom."""
EXCHANGE = """
import socket, sys
with socket.create_connection((sys.argv[1], 80), 3) as dialled:
    dialled.settimeout(3)
    dialled.sendall(b"hello")
    found = b""
    while not found.endswith(b"hello"):
        found += dialled.recv(4096)
    print(found.hex())
"""
CLIENT, CLIENT6, NODES = "198.51.100.2", "fd00:198:51:100::2", ("172.18.0.2", "172.18.0.3", "172.18.0.4")


@pytest.fixture(scope="module")
def cluster(balanced: Cluster) -> Iterator[Cluster]:
    balanced.apply(
        service("spread"),
        service("local", externalTrafficPolicy="Local", ipFamilyPolicy="PreferDualStack"),
        service("narrow", loadBalancerSourceRanges=["192.0.2.0/24"]),
        service("by-source", annotations={"fairlead.dev/spread": "source"}),
        service("sticky", sessionAffinity="ClientIP"),
        service("portless", allocateLoadBalancerNodePorts=False),
        service("proxied", annotations={"fairlead.dev/proxy-protocol": "v2"}),
        deployment("two", 4, ("node-2", "node-3")),
        service("on-two", app="two"),
        service("local-two", app="two", externalTrafficPolicy="Local"),
    )
    balanced.kubectl("rollout", "status", "deployment/two", "--timeout=60s")
    for name in ("spread", "local", "on-two", "local-two"):
        address = balanced.address(name)
        eventually(lambda address=address: balanced.backends(address, 80), f"rows for {address}")
    yield balanced
    for name in ("spread", "local", "narrow", "by-source", "sticky", "portless", "proxied", "on-two", "local-two"):
        balanced.kubectl("delete", "service", name)


def chi_square(counts: dict[str, int]) -> float:
    expected = sum(counts.values()) / len(counts)
    return sum((count - expected) ** 2 / expected for count in counts.values())


@pytest.mark.parametrize(("kind", "port"), [("tcp", 80), ("udp", 81)])
def test_connections_reach_all_pods_evenly(cluster: Cluster, kind: str, port: int) -> None:
    address = cluster.address("spread")
    for attempt in range(2):  # a fair die fails once in a thousand times; an unfair one fails twice
        found = cluster.dial(address, port, CONNECTIONS, kind)
        assert found["failed"] == 0, found["failures"]
        assert len(found["pods"]) == 6
        if chi_square(found["pods"]) < CRITICAL_OF_SIX:
            return
        assert attempt == 0, found["pods"]


def test_the_nodes_are_drawn_evenly_too(cluster: Cluster) -> None:
    address = cluster.address("spread")
    cluster.near("lb", "conntrack", "-F")
    cluster.dial(address, 80, 900)
    flows = cluster.near("lb", "conntrack", "-L", "-p", "tcp")
    counts = {node: sum(f"src={node} dst={CLIENT}" in line for line in flows.splitlines()) for node in NODES}
    assert sum(counts.values()) > 500
    assert chi_square(counts) < 13.816  # two degrees of freedom


def test_policy_local_shows_pods_the_client_in_both_families(cluster: Cluster) -> None:
    cluster.address("local")
    four, six = cluster.addresses("local")
    assert cluster.dial(four, 80, 30)["seen"] == {CLIENT: 30}
    assert cluster.dial(six, 80, 30)["seen"] == {CLIENT6: 30}
    assert cluster.dial(four, 81, 30, "udp")["seen"] == {CLIENT: 30}


def test_policy_local_leads_only_to_nodes_that_have_pods(cluster: Cluster) -> None:
    address = cluster.address("local-two")
    assert cluster.backends(address, 80) == set(NODES[1:])
    found = cluster.dial(address, 80, 60)
    assert found["failed"] == 0
    assert set(found["nodes"]) == {"node-2", "node-3"}


def test_source_ranges_keep_others_out(cluster: Cluster) -> None:
    address = cluster.address("narrow")
    found = cluster.dial(address, 80, 1, patience=0.5)
    assert found["failed"] == 1
    cluster.kubectl("patch", "service", "narrow", "-p", '{"spec":{"loadBalancerSourceRanges":["198.51.100.0/24"]}}')
    eventually(lambda: cluster.dial(address, 80, 1, patience=0.5)["failed"] == 0, "the client to be let in")


def test_connections_spread_by_source_keep_their_node(cluster: Cluster) -> None:
    address = cluster.address("by-source")
    cluster.near("lb", "conntrack", "-F")
    assert cluster.dial(address, 80, 40)["failed"] == 0
    flows = cluster.near("lb", "conntrack", "-L", "-p", "tcp")
    assert sum(any(f"src={node} dst={CLIENT}" in line for line in flows.splitlines()) for node in NODES) == 1
    assert cluster.dial(address, 81, 20, "udp")["failed"] == 0
    flows = cluster.near("lb", "conntrack", "-L", "-p", "udp", "-d", address)
    assert sum(f"src={node} dst={CLIENT}" in flows for node in NODES) == 1


def test_a_client_with_affinity_keeps_its_pod_through_the_load_balancer(cluster: Cluster) -> None:
    found = cluster.dial(cluster.address("sticky"), 80, 40)
    assert found["failed"] == 0
    assert len(found["pods"]) == 1


def test_ports_and_addresses_nobody_serves_are_refused_at_once(cluster: Cluster) -> None:
    assert "ConnectionRefusedError" in cluster.dial(cluster.address("spread"), 8888)["failures"][0]
    assert "203.0.113.200" not in cluster.kubectl("get", "services")
    begun = time.monotonic()
    assert cluster.dial("203.0.113.200", 80)["failed"] == 1
    assert time.monotonic() < begun + 4


def test_a_service_without_node_ports_says_that_nobody_answers(cluster: Cluster) -> None:
    cluster.address("portless")
    told = eventually(lambda: [text for reason, text in cluster.events("portless") if reason == "NotProgrammed"], "it")
    assert "node ports" in told[0]
    assert "fairlead.dev/l2" in told[0]
    assert cluster.dial(cluster.address("portless"), 80)["failed"] == 1


def test_pods_that_want_the_proxy_protocol_are_told_the_client_by_it(cluster: Cluster) -> None:
    address = cluster.address("proxied")
    echoed = eventually(lambda: bytes.fromhex(exchange(cluster, address, check=False)), "an answer")
    signature, rest = echoed[:12], echoed[12:]
    assert signature == b"\r\n\r\n\0\r\nQUIT\n"
    assert rest[:4] == b"\x21\x11\x00\x0c", "version 2, proxied, TCP over IPv4, twelve bytes"
    assert rest[4:12] == bytes((198, 51, 100, 2, *map(int, address.split("."))))
    assert rest[14:16] == (80).to_bytes(2, "big")
    assert rest[16:] == b"hello"
    assert cluster.get("service", "proxied")["status"]["loadBalancer"]["ingress"][0]["ipMode"] == "Proxy"
    assert cluster.dial(address, 81, 3, "udp")["failed"] == 0, "over UDP there is no such protocol"
    cluster.kubectl("annotate", "service", "proxied", "--overwrite", "fairlead.dev/proxy-protocol=v1")
    line = f"PROXY TCP4 198.51.100.2 {address} ".encode()
    eventually(lambda: bytes.fromhex(exchange(cluster, address)).startswith(line), "version 1")
    assert bytes.fromhex(exchange(cluster, address)).endswith(b" 80\r\nhello")
    cluster.kubectl("annotate", "service", "proxied", "fairlead.dev/proxy-protocol-")
    eventually(lambda: cluster.backends(address, 80), "rows in place of the relay")
    assert cluster.dial(address, 80, 3)["failed"] == 0


def exchange(cluster: Cluster, address: str, *, check: bool = True) -> str:
    """What comes back, as hexadecimal digits, when five bytes are sent."""
    told = cluster.near("client", sys.executable, "-c", EXCHANGE, address, check=check).strip()
    return told if all(each in "0123456789abcdef" for each in told) else ""


async def test_draining_a_node_fails_no_connection(cluster: Cluster) -> None:
    address = cluster.address("spread")
    async with cluster.load(f"{address}:80") as load:
        await asyncio.sleep(0.5)
        await asyncio.to_thread(cluster.kubectl, "cordon", "node-1")
        try:
            await asyncio.to_thread(
                eventually, lambda: cluster.backends(address, 80) == set(NODES[1:]), "rows without node-1"
            )
            await asyncio.sleep(1)
        finally:
            await asyncio.to_thread(cluster.kubectl, "uncordon", "node-1")
        await asyncio.to_thread(eventually, lambda: cluster.backends(address, 80) == set(NODES), "rows with node-1")
        await asyncio.sleep(0.5)
    assert load.told["failed"] == 0, load.told["failures"]
    assert load.told["made"] > 300
    assert load.told["ended"] == {}, "held connections go on through a node that drains"
    assert len(load.held) == 50


async def test_udp_flows_that_never_pause_go_on_when_their_pods_are_replaced(cluster: Cluster) -> None:
    address = cluster.address("on-two")
    async with flows(cluster, address, 81, 12) as silences:
        await asyncio.to_thread(cluster.kubectl, "rollout", "restart", "deployment/two")
        await asyncio.to_thread(cluster.kubectl, "rollout", "status", "deployment/two", "--timeout=60s")
        selected = "/api/v1/namespaces/default/pods?labelSelector=app%3Dtwo"
        await asyncio.to_thread(
            eventually, lambda: len(cluster.read(selected)["items"]) == 4, "the old pods to be gone"
        )
        await asyncio.sleep(3)  # as long a silence would a flow have that is still led to a pod that is gone
    assert max(silences.values()) < 2.5


async def test_a_node_that_is_cut_off_gets_no_more_connections(cluster: Cluster) -> None:
    address = cluster.address("on-two")
    cluster.near("lb", "conntrack", "-F")
    async with flows(cluster, address, 81, 12) as silences, cluster.load(f"{address}:80", rate=100, hold=30) as load:
        tracked = await asyncio.to_thread(cluster.near, "lb", "conntrack", "-L", "-p", "tcp")
        through = {
            port
            for port in load.held
            if any(f"src={NODES[0]}" in line and f"dport={port} " in line for line in tracked.splitlines())
        }
        assert through, "no held connection goes through the node to be cut off"
        cut = time.time()
        await asyncio.to_thread(cluster.at, "node/node-1", "ip", "link", "set", "eth0", "down")
        await asyncio.to_thread(
            eventually, lambda: cluster.backends(address, 80) == set(NODES[1:]), "rows without node-1"
        )
        noticed = time.time()
        assert await asyncio.to_thread(lambda: cluster.dial(address, 80, 50)["failed"]) == 0
        await asyncio.sleep(3)
    cluster.at("node/node-1", "ip", "link", "set", "eth0", "up")
    cluster.at("node/node-1", "ip", "route", "add", "default", "via", "172.18.0.1")
    assert noticed - cut < 8
    assert max(silences.values()) < noticed - cut + 2, "UDP flows that never pause are led to other nodes"
    ended = {int(port) for port in load.told["ended"]}
    assert ended <= through, "connections through other nodes go on"
    eventually(lambda: cluster.backends(address, 80) == set(NODES), "node-1 to come back")
    back = ("ip", "route", "show", "table", "7472")
    eventually(lambda: "default via 172.18.255.2" in cluster.at("node/node-1", *back, check=False), "its way back")
