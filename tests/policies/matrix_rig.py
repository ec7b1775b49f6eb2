"""Nine pods in network namespaces on one node whose agent parts are at work, and probes of all their pairs at once.

Comes in: policies as documents. Goes out: which probes arrived. A TCP probe arrived when its handshake is done, a UDP
probe when its datagram lies at the receiver: nothing needs to answer, so that all probes are under way together.
"""

import os
import selectors
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import msgspec
from nine_pods import PORTS, PROTOCOLS, namespaces, pods
from oracle import Document

from fairlead.agents.node.objects import ServiceObjects
from fairlead.agents.node.policies import PolicyPart
from fairlead.agents.node.policy_objects import PolicyObjects
from fairlead.agents.node.services import ServicePart, ServiceSettings
from fairlead.agents.node.tables import Feed, Table
from fairlead.drivers.kubeapi import Replaced
from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.drivers.netns import entered, new_namespace, open_socket, write_sysctls
from fairlead.net import parse_prefix
from fairlead.render.policy_chains import PolicySettings

NODE = "172.18.0.2"
WAYS = ("pod", "cluster", "node")
DEADLINE = 10.0
_MOMENT = 0.05
"""How long what must not arrive may take to: everything is on one machine, and arrives in a hundredth of that."""
Probe = tuple[int, int, str, int]
"""Numbers of the source and of the destination, protocol, port of the destination."""
PROBES: tuple[Probe, ...] = tuple(
    (source, target, protocol, port)
    for source in range(9)
    for target in range(9)
    for protocol in PROTOCOLS
    for port in PORTS
)


class Matrix:
    """The pods and the node. The pods' Services have a cluster address and node ports each."""

    def __init__(self) -> None:
        self.pods = pods()
        for pod in self.pods:
            pod["spec"]["nodeName"] = "node-1"
        self._node = new_namespace()
        write_sysctls(self._node, {"net/ipv4/ip_forward": "1", "net/ipv4/conf/all/rp_filter": "0"})
        _ip(self._node, "link set lo up", f"address add {NODE}/32 dev lo")
        self._hosts = [self._attach(number, pod["status"]["podIP"]) for number, pod in enumerate(self.pods)]
        self._listeners = {
            (number, protocol, port): self._listen(host, protocol, port)
            for number, host in enumerate(self._hosts)
            for protocol in PROTOCOLS
            for port in PORTS
        }
        with entered(self._node):
            self._nft = NftSocket()

    def close(self) -> None:
        """Let go of everything."""
        self._nft.close()
        for each in self._listeners.values():
            each.close()
        for host in (self._node, *self._hosts):
            os.close(host)

    def enforce(self, policies: Sequence[Document]) -> None:
        """Be an agent that starts anew on a node without rows, with these policies."""
        self._run("nft", "flush", "ruleset")
        self._run("conntrack", "-F")
        prefixes = (parse_prefix("10.96.0.0/16"),)
        services = ServicePart(ServiceObjects("node-1", None), ServiceSettings(service_prefixes=prefixes), _forget)
        judges = PolicyPart(PolicyObjects("node-1"), PolicySettings(), int(time.monotonic() * 1000))
        documents = [_node(), *namespaces(), *self.pods, *_services(self.pods), *policies]
        for part in (services, judges):
            for feed in part.feeds():
                _list(feed, documents)
            for table in part.tables():
                self._begin(table)

    def arrived(self, way: str, wanted: set[Probe]) -> set[Probe]:
        """Send every probe through pod addresses, cluster addresses or node ports, and return those that arrived.

        Waits until those wanted have, and then a moment for others.
        """
        with ExitStack() as stack:
            dialled = {probe: stack.enter_context(self._dial(way, probe)) for probe in PROBES}
            found: set[Probe] = set()
            deadline = time.monotonic() + DEADLINE
            while not wanted <= found and time.monotonic() < deadline:
                found |= self._look(dialled)
                time.sleep(0.005)
            time.sleep(_MOMENT)
            return found | self._look(dialled)

    def _look(self, dialled: dict[Probe, socket.socket]) -> set[Probe]:
        found: set[Probe] = set()
        with selectors.PollSelector() as selector:
            for probe, opened in dialled.items():
                if probe[2] == "TCP":
                    selector.register(opened, selectors.EVENT_WRITE, probe)
            for key, _ in selector.select(0):
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    found.add(key.data)
        for (target, protocol, port), listener in self._listeners.items():
            for word in _drain(listener, protocol):
                found.add((int(word), target, protocol, port))
        return found

    def _dial(self, way: str, probe: Probe) -> socket.socket:
        source, target, protocol, port = probe
        kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
        opened = open_socket(self._hosts[source], socket.AF_INET, kind)
        opened.setblocking(False)
        to = {
            "pod": (self.pods[target]["status"]["podIP"], port),
            "cluster": (f"10.96.0.{10 + target}", port),
            "node": (NODE, _node_port(target, protocol, port)),
        }[way]
        try:
            opened.connect(to)
            if protocol == "UDP":
                opened.send(str(source).encode())
        except (BlockingIOError, PermissionError):
            pass  # under way, or refused on its way out, which is no arrival
        return opened

    def _begin(self, table: Table) -> None:
        outcome = table.begin(self._nft.list_table(table.family, table.name))
        self._nft.apply(outcome.transaction)
        table.programmed()

    def _attach(self, number: int, address: str) -> int:
        host = new_namespace()
        _ip(
            self._node,
            f"link add p{number} type veth peer name eth0 netns /proc/{os.getpid()}/fd/{host}",
            f"link set p{number} up",
        )
        _ip(
            host,
            "link set lo up",
            f"address add {address}/32 dev eth0",
            "link set eth0 up",
            f"route add {NODE} dev eth0",
            f"route add default via {NODE} dev eth0",
        )
        _ip(self._node, f"route add {address} dev p{number} src {NODE}")
        return host

    def _listen(self, host: int, protocol: str, port: int) -> socket.socket:
        opened = open_socket(host, socket.AF_INET, socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM)
        opened.setblocking(False)
        opened.bind(("0.0.0.0", port))
        if protocol == "TCP":
            opened.listen(512)
        return opened

    def _run(self, *words: str) -> None:
        with entered(self._node):
            subprocess.run(words, check=True, capture_output=True)


def _drain(listener: socket.socket, protocol: str) -> Iterator[str]:
    """Empty a listener, and yield the words of its datagrams."""
    try:
        while True:
            if protocol == "TCP":
                listener.accept()[0].close()
            else:
                yield listener.recv(10).decode()
    except BlockingIOError:
        return


def _list(feed: Feed[Any, Any], documents: Sequence[Document]) -> None:
    kind = feed.cls.__name__.removesuffix("Outline")
    of_kind = [each for each in documents if each["kind"] == kind]
    feed.take(Replaced(tuple(feed.keep(msgspec.convert(each, feed.cls)) for each in of_kind)))


def _forget(*_: Any) -> None:
    """No flow is stale where every round starts from nothing."""


def _node() -> Document:
    return {
        "kind": "Node",
        "metadata": {"name": "node-1"},
        "spec": {"podCIDR": "10.244.0.0/16", "podCIDRs": ["10.244.0.0/16"]},
        "status": {"addresses": [{"type": "InternalIP", "address": NODE}]},
    }


def _node_port(target: int, protocol: str, port: int) -> int:
    return 30000 + 10 * target + 2 * PROTOCOLS.index(protocol) + PORTS.index(port)


def _services(every: Sequence[Document]) -> Iterator[Document]:
    for number, pod in enumerate(every):
        name, space = pod["metadata"]["name"], pod["metadata"]["namespace"]
        address = f"10.96.0.{10 + number}"
        ports: list[Document] = [
            {"name": f"{protocol.lower()}-{port}", "protocol": protocol, "port": port}
            for protocol in PROTOCOLS
            for port in PORTS
        ]
        opened = [{**each, "nodePort": _node_port(number, each["protocol"], each["port"])} for each in ports]
        yield {
            "kind": "Service",
            "metadata": {"name": name, "namespace": space},
            "spec": {"type": "NodePort", "clusterIP": address, "clusterIPs": [address], "ports": opened},
        }
        yield {
            "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": space, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [pod["status"]["podIP"]], "nodeName": "node-1"}],
            "ports": ports,
        }


def _ip(netns: int, *lines: str) -> None:
    with entered(netns):
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True, capture_output=True)
