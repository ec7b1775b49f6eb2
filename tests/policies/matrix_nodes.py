"""Two nodes and nine pods as network namespaces, joined by cables, with addresses of both families.

Comes in: which pod is where, and its addresses. Goes out: descriptors of namespaces. Refuses to know agents and probes.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence

from msgspec import Struct

from fairlead.drivers.netns import entered, new_namespace, write_sysctls

FAMILIES = ("IPv4", "IPv6")
NODES: Mapping[str, tuple[str, str]] = {
    "node-1": ("172.18.0.2", "fd00:172:18::2"),
    "node-2": ("172.18.0.3", "fd00:172:18::3"),
}
"""Each node's address of each family."""
_GATEWAY = "fe80::1"
"""The node at each of its pods: a neighbour answers for addresses of that link alone (RFC 4861, 7.2.3)."""
_OF_ALL = {
    "net/ipv6/conf/all/disable_ipv6": "0",
    "net/ipv6/conf/default/disable_ipv6": "0",
    "net/ipv6/conf/default/accept_dad": "0",
}
_OF_NODES = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv6/conf/all/forwarding": "1",
}


class Place(Struct, frozen=True):
    """Where a pod is: its node, and its address of each family."""

    node: str
    addresses: tuple[str, str]


class Network:
    """The namespaces of two nodes and their pods, every one of them reachable from every other."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.nodes = {name: _host(_OF_NODES) for name in NODES}
        self.pods = [_host({}) for _ in places]
        (first, here), (second, there) = self.nodes.items()
        _ip(here, f"link add peer type veth peer name peer netns {_path(there)}")
        for name, host, other in ((first, here, second), (second, there, first)):
            _ip(host, "link set peer up", *_addresses(NODES[name], (24, 64), "peer"))
            remote = [each for place in places if place.node == other for each in place.addresses]
            _ip(host, *(f"route add {each} via {NODES[other][':' in each]}" for each in remote))
        for number, (pod, place) in enumerate(zip(self.pods, places, strict=True)):
            self._attach(number, pod, place)

    def close(self) -> None:
        """Let go of everything."""
        for host in (*self.nodes.values(), *self.pods):
            os.close(host)

    def run(self, node: str, *words: str) -> None:
        """Run a program at a node, and take its failure for one's own."""
        with entered(self.nodes[node]):
            subprocess.run(words, check=True, capture_output=True)

    def forget_neighbours(self) -> None:
        """Let everybody ask anew where the others are."""
        for host in (*self.nodes.values(), *self.pods):
            with entered(host):
                subprocess.run(["ip", "neigh", "flush", "all"], check=True, capture_output=True)

    def _attach(self, number: int, pod: int, place: Place) -> None:
        node, gateway = self.nodes[place.node], NODES[place.node][0]
        _ip(
            node,
            f"link add p{number} type veth peer name eth0 netns {_path(pod)}",
            f"link set p{number} up",
            f"address add {_GATEWAY}/64 dev p{number}",
            *(f"route add {each} dev p{number}" for each in place.addresses),
        )
        _ip(
            pod,
            "link set eth0 up",
            *_addresses(place.addresses, (32, 128), "eth0"),
            f"route add {gateway} dev eth0",
            f"route add default via {gateway} dev eth0",
            f"route add ::/0 via {_GATEWAY} dev eth0",
        )


def _host(sysctls: Mapping[str, str]) -> int:
    host = new_namespace()
    write_sysctls(host, {**_OF_ALL, **sysctls})
    _ip(host, "link set lo up")
    return host


def _addresses(addresses: Sequence[str], lengths: Sequence[int], link: str) -> list[str]:
    return [
        f"address add {address}/{length} dev {link}" for address, length in zip(addresses, lengths, strict=True)
    ]  # fmt: skip


def _path(host: int) -> str:
    return f"/proc/{os.getpid()}/fd/{host}"


def _ip(host: int, *lines: str) -> None:
    with entered(host):
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True, capture_output=True)
