"""A node between clients and pods, in three network namespaces, and as many connections as one asks for.

Comes in: objects as an API server would send them. Goes out: rows in the node's kernel, by the agent's own service
part, and who was reached from where. There is no API server and no loop: a change is in the kernel before `hear`
returns.
"""

import itertools
import os
import socket
import struct
import subprocess
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from fairlead.agents.node.objects import ServiceObjects
from fairlead.agents.node.services import Answerers, ServicePart, ServiceSettings
from fairlead.drivers.kubeapi import Applied, Replaced
from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.drivers.netns import entered, new_namespace, write_sysctls
from fairlead.kube.core import Node, Service
from fairlead.kube.discovery import EndpointSliceOutline
from fairlead.net import Family, parse_prefix
from fairlead.nft.tables import TableContents

Document = dict[str, Any]
PORT, TARGET_PORT = 80, 8080
CLIENTS = tuple(f"10.244.3.{host}" for host in range(2, 252))
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_BATCH = 200
_PATIENCE = 10


class Network:
    """The namespaces `node`, `clients` and `pods`, with 250 addresses on either side; the clients are pods too."""

    def __init__(self) -> None:
        self.node, self.clients, self.pods = new_namespace(), new_namespace(), new_namespace()
        write_sysctls(self.node, {"net/ipv4/ip_forward": "1"})
        run_ip(self.node, "link set lo up", "address add 172.18.0.2/32 dev lo")
        self._attach(self.clients, "clients", "10.244.3")
        self._attach(self.pods, "pods", "10.244.1")
        with entered(self.node):
            self.nft = NftSocket()

    def close(self) -> None:
        """Let go of everything."""
        self.nft.close()
        for namespace in (self.node, self.clients, self.pods):
            os.close(namespace)

    def _attach(self, namespace: int, link: str, prefix: str) -> None:
        run_ip(
            self.node,
            f"link add {link} type veth peer name eth0 netns /proc/{os.getpid()}/fd/{namespace}",
            f"address add {prefix}.1/24 dev {link}",
            f"link set {link} up",
        )
        addresses = (f"address add {prefix}.{host}/24 dev eth0" for host in range(2, 252))
        run_ip(namespace, "link set lo up", *addresses, "link set eth0 up", f"route add default via {prefix}.1")

    def begin(self, services: list[Document], slices: list[Document]) -> None:
        """Start over as an agent that finds a world of these objects."""
        self.objects = ServiceObjects("node-1")
        settings = ServiceSettings(service_prefixes=(parse_prefix("10.96.0.0/16"),))
        part = ServicePart(self.objects, settings, _nothing_stale)
        feeds = {feed.cls: feed for feed in part.feeds()}
        self._services, self._slices = feeds.pop(Service), feeds.pop(EndpointSliceOutline)
        self._table = next(table for table in part.tables() if table.ip_family is Family.IPV4)
        nodes = feeds.pop(Node)
        nodes.take(Replaced((nodes.keep(msgspec.convert(_NODE, Node)),)))
        for other in feeds.values():
            other.take(Replaced(()))
        kept = (self._services.keep(msgspec.convert(each, Service)) for each in services)
        self._services.take(Replaced(tuple(kept)))
        self._slices.take(Replaced(tuple(map(self._keep, slices))))
        listed = self.nft.list_table(self._table.family, self._table.name)
        self.nft.apply(self._table.begin(listed).transaction)
        self._table.programmed()

    def hear(self, slice_: Document) -> None:
        """Take the change of a slice, and have it in the kernel."""
        self._slices.take(Applied(self._keep(slice_)))
        self.nft.apply(self._table.round().transaction)
        self._table.programmed()

    def _keep(self, slice_: Document) -> Any:
        return self._slices.keep(msgspec.convert(slice_, EndpointSliceOutline))

    def listed(self) -> TableContents:
        """The table as the kernel has it."""
        found = self.nft.list_table(self._table.family, self._table.name)
        assert found is not None
        return found

    def connect(self, address: str, count: int, sources: Iterable[str] = CLIENTS) -> Iterator[tuple[str, str]]:
        """Make `count` connections from the sources in turn, and yield of each who made it and which pod it reached.

        Raises TimeoutError where one arrives nowhere. Connection tracking is emptied before: a client that has reset a
        connection and takes the same source port again within ten seconds is led to the pod it had before.
        """
        with entered(self.node):
            subprocess.run(["conntrack", "-F"], check=True, capture_output=True)
        turns = itertools.cycle(sources)
        with entered(self.pods):
            listener = socket.create_server(("0.0.0.0", TARGET_PORT), backlog=4096)
        listener.settimeout(_PATIENCE)
        while count > 0:
            batch = min(count, _BATCH)
            count -= batch
            with entered(self.clients):
                dialled = [_dial(address, next(turns)) for _ in range(batch)]
            for _ in range(batch):
                accepted, peer = listener.accept()
                with accepted:
                    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                    yield peer[0], accepted.getsockname()[0]
            for each in dialled:
                each.close()
        listener.close()


def _nothing_stale(family: Family, answerers: Answerers) -> None:
    """Leave UDP flows alone: there are none."""


def _dial(address: str, source: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    opened.setblocking(False)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    opened.setsockopt(socket.SOL_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
    opened.bind((source, 0))
    opened.connect_ex((address, PORT))
    return opened


_IP_BIND_ADDRESS_NO_PORT = 24
_NODE: Document = {
    "metadata": {"name": "node-1"},
    "spec": {"podCIDRs": ["10.244.0.0/16"]},
    "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.2"}]},
}


def pod(number: int) -> str:
    """The address of pod `number`, counted from 0; there are 250."""
    return f"10.244.1.{number + 2}"


def a_service(name: str, ip: str, **spec: Any) -> Document:
    """A Service with one TCP port."""
    ports = [{"name": "http", "port": PORT, "targetPort": TARGET_PORT, "protocol": "TCP"}]
    return {
        "metadata": {"name": name, "namespace": "load"},
        "spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ports": ports, **spec},
    }


def a_slice(service: str, pods: Iterable[int]) -> Document:
    """The slice of a service whose ready pods these are."""
    return {
        "metadata": {"name": service, "namespace": "load", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [pod(each)], "nodeName": "node-1"} for each in pods],
        "ports": [{"name": "http", "port": TARGET_PORT, "protocol": "TCP"}],
    }


def run_ip(namespace: int, *lines: str) -> None:
    """Run commands of `ip` inside a namespace."""
    with entered(namespace):
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)
