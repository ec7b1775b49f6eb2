"""Pods on two nodes whose agent parts are at work, and probes of all their pairs at once, in both families.

Comes in: pods, namespaces and policies as documents. Goes out: which probes arrived. A TCP probe arrived when its
handshake is done, one of UDP or SCTP when its packet lies at the receiver: nothing needs to answer, so that all probes
are under way together.
"""

import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from enum import StrEnum
from itertools import product
from typing import Any

import msgspec
from matrix_nodes import FAMILIES, NODES, Network, Place
from nine_pods import PROTOCOLS
from oracle import Document
from sctp import SCTP, init_packet, read_init

from fairlead.agents.node.objects import ServiceObjects
from fairlead.agents.node.policies import PolicyPart
from fairlead.agents.node.policy_objects import PolicyObjects
from fairlead.agents.node.services import ServicePart, ServiceSettings
from fairlead.agents.node.tables import Feed, Table
from fairlead.drivers.kubeapi import Replaced
from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.drivers.netns import entered, open_socket
from fairlead.net import parse_prefix
from fairlead.render.policy_chains import PolicySettings

DEADLINE = 10.0
_MOMENT = 0.05
"""How long what must not arrive may take to: everything is on one machine, and arrives in a hundredth of that."""
_POD_RANGES, _SERVICE_RANGES = ["10.244.0.0/16", "fd00:10:244::/48"], ("10.96.0.0/16", "fd00:10:96::/112")
Probe = tuple[int, int, str, int]
"""Numbers of the source and of the destination, protocol, port of the destination."""


class Way(StrEnum):
    """What is dialled: the pod's address, its Service's, or its node port at the dialling pod's node or the other."""

    POD = "pod"
    CLUSTER = "cluster"
    OWN_NODE = "own node"
    OTHER_NODE = "other node"


class Matrix:
    """Pods on nodes, every one of them listening on all ports. Their Services have cluster addresses and node ports.

    Each pod has to name its node, and have an address of each family.
    """

    def __init__(
        self,
        pods: Sequence[Document],
        namespaces: Sequence[Document],
        ports: Sequence[int],
        protocols: Sequence[str] = PROTOCOLS,
    ) -> None:
        self.pods = pods
        self.probes: tuple[Probe, ...] = tuple(product(range(len(pods)), range(len(pods)), protocols, ports))
        self._namespaces = namespaces
        self._protocols = protocols
        self._ports = ports
        self._network = Network([Place(node_of(pod), (address_of(pod, 0), address_of(pod, 1))) for pod in pods])
        self._listeners = {
            (number, protocol, port): self._listen(host, protocol, port)
            for number, host in enumerate(self._network.pods)
            for protocol in protocols
            for port in ports
            if protocol != "SCTP"
        }
        self._associations = [
            (number, open_socket(host, inet, socket.SOCK_RAW, SCTP))
            for number, host in enumerate(self._network.pods)
            for inet in (socket.AF_INET, socket.AF_INET6)
            if "SCTP" in protocols
        ]
        for _, opened in self._associations:
            opened.setblocking(False)
        self._nft: dict[str, NftSocket] = {}
        for name, host in self._network.nodes.items():
            with entered(host):
                self._nft[name] = NftSocket()

    def close(self) -> None:
        """Let go of everything."""
        for each in (*self._nft.values(), *self._listeners.values(), *(opened for _, opened in self._associations)):
            each.close()
        self._network.close()

    def enforce(self, policies: Sequence[Document]) -> None:
        """Be agents that start anew on nodes without rows, with these policies."""
        everything = [*map(_node, NODES), *self._namespaces, *self.pods, *self._services(), *policies]
        prefixes = tuple(map(parse_prefix, _SERVICE_RANGES))
        for node in NODES:
            self._network.run(node, "nft", "flush", "ruleset")
            self._network.run(node, "conntrack", "-F")
            services = ServicePart(ServiceObjects(node, None), ServiceSettings(service_prefixes=prefixes), _forget)
            judges = PolicyPart(PolicyObjects(node), PolicySettings(), int(time.monotonic() * 1000))
            own = [each for each in everything if each["kind"] != "Node" or each["metadata"]["name"] == node]
            for part in (services, judges):
                for feed in part.feeds():
                    _list(feed, own)
                for table in part.tables():
                    _begin(self._nft[node], table)

    def arrived(self, way: Way, family: str, wanted: set[Probe]) -> set[Probe]:
        """Send every probe one way, and return those that arrived.

        Waits until those wanted have, and then a moment for others.
        """
        with ExitStack() as stack:
            dialled = {probe: stack.enter_context(self._dial(way, family, probe)) for probe in self.probes}
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
                with suppress(OSError):  # has failed, and is no more connected than what waits
                    key.fileobj.getpeername()
                    found.add(key.data)
        for (target, protocol, port), listener in self._listeners.items():
            for word in _drain(listener, protocol):
                found.add((int(word), target, protocol, port))
        for target, opened in self._associations:
            with suppress(BlockingIOError):
                while True:
                    source, port = read_init(opened.recv(1000), headed=opened.family is socket.AF_INET)
                    found.add((source, target, "SCTP", port))
        return found

    def _dial(self, way: Way, family: str, probe: Probe) -> socket.socket:
        source, _, protocol, _ = probe
        kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
        inet = socket.AF_INET if family == "IPv4" else socket.AF_INET6
        if protocol == "SCTP":
            address, port = self._dialled(way, FAMILIES.index(family), probe)
            opened = open_socket(self._network.pods[source], inet, socket.SOCK_RAW, SCTP)
            opened.sendto(init_packet(source, port), (address, 0))
            return opened
        opened = open_socket(self._network.pods[source], inet, kind)
        opened.setblocking(False)
        try:
            opened.connect(self._dialled(way, FAMILIES.index(family), probe))
            if protocol == "UDP":
                opened.send(str(source).encode())
        except (BlockingIOError, PermissionError):
            pass  # under way, or refused on its way out, which is no arrival
        return opened

    def _dialled(self, way: Way, family: int, probe: Probe) -> tuple[str, int]:
        source, target, protocol, port = probe
        if way is Way.POD:
            return address_of(self.pods[target], family), port
        if way is Way.CLUSTER:
            return _cluster_address(target, family), port
        node = entry_of(way, self.pods[source])
        return NODES[node][family], self.node_port(target, protocol, port)

    def node_reaches(self, target: int, family: str) -> bool:
        """Whether a pod's own node connects to it, when neither of the two has ever heard of the other."""
        pod = self.pods[target]
        self._network.forget_neighbours()
        host = self._network.nodes[node_of(pod)]
        inet = socket.AF_INET if family == "IPv4" else socket.AF_INET6
        with open_socket(host, inet, socket.SOCK_STREAM) as opened:
            opened.settimeout(DEADLINE)
            with suppress(OSError):
                opened.connect((address_of(pod, FAMILIES.index(family)), self._ports[0]))
                return True
        return False

    def node_port(self, target: int, protocol: str, port: int) -> int:
        """The node port of a pod's Service."""
        return (
            30000
            + (target * len(self._protocols) + self._protocols.index(protocol)) * len(self._ports)
            + self._ports.index(port)
        )

    def _listen(self, host: int, protocol: str, port: int) -> socket.socket:
        opened = open_socket(host, socket.AF_INET6, socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        opened.setblocking(False)
        opened.bind(("::", port))
        if protocol == "TCP":
            opened.listen(512)
        return opened

    def _services(self) -> Iterator[Document]:
        for number, pod in enumerate(self.pods):
            name, space = pod["metadata"]["name"], pod["metadata"]["namespace"]
            addresses = [_cluster_address(number, family) for family in range(2)]
            ports: list[Document] = [
                {"name": f"{protocol.lower()}-{port}", "protocol": protocol, "port": port}
                for protocol in self._protocols
                for port in self._ports
            ]
            opened = [{**each, "nodePort": self.node_port(number, each["protocol"], each["port"])} for each in ports]
            yield {
                "kind": "Service",
                "metadata": {"name": name, "namespace": space},
                "spec": {"type": "NodePort", "clusterIP": addresses[0], "clusterIPs": addresses, "ports": opened},
            }
            for index, family in enumerate(FAMILIES):
                labels = {"kubernetes.io/service-name": name}
                yield {
                    "kind": "EndpointSlice",
                    "metadata": {"name": f"{name}-{family.lower()}", "namespace": space, "labels": labels},
                    "addressType": family,
                    "endpoints": [{"addresses": [address_of(pod, index)], "nodeName": node_of(pod)}],
                    "ports": ports,
                }


def node_of(pod: Document) -> str:
    """The name of a pod's node."""
    return pod["spec"]["nodeName"]


def address_of(pod: Document, family: int) -> str:
    """A pod's address of one family."""
    return pod["status"]["podIPs"][family]["ip"]


def entry_of(way: Way, source: Document) -> str:
    """The node at which a pod's connection is taken in."""
    here = node_of(source)
    return here if way is not Way.OTHER_NODE else next(name for name in NODES if name != here)


def _cluster_address(target: int, family: int) -> str:
    return (f"10.96.0.{10 + target}", f"fd00:10:96::{10 + target:x}")[family]


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


def _begin(nft: NftSocket, table: Table) -> None:
    outcome = table.begin(nft.list_table(table.family, table.name))
    nft.apply(outcome.transaction)
    table.programmed()


def _list(feed: Feed[Any, Any], documents: Sequence[Document]) -> None:
    kind = feed.cls.__name__.removesuffix("Outline")
    of_kind = [each for each in documents if each["kind"] == kind]
    feed.take(Replaced(tuple(feed.keep(msgspec.convert(each, feed.cls)) for each in of_kind)))


def _forget(*_: Any) -> None:
    """No flow is stale where every round starts from nothing."""


def _node(name: str) -> Document:
    return {
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"podCIDR": _POD_RANGES[0], "podCIDRs": _POD_RANGES},
        "status": {"addresses": [{"type": "InternalIP", "address": each} for each in NODES[name]]},
    }
