"""A node with two pods of its own, two of another node and a client outside: real namespaces for the service tables."""

import errno
import os
import socket
import subprocess
from contextlib import ExitStack, suppress

from msgspec import Struct

from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.drivers.netns import entered, new_namespace, write_sysctl
from fairlead.model import Frontend, FrontendKey
from fairlead.net import Family, parse_prefix
from fairlead.render.services import ServiceRows

NODE, CLIENT = "172.18.0.2", "198.51.100.2"
LOCAL_1, LOCAL_2, REMOTE_1, REMOTE_2 = "10.244.1.2", "10.244.1.3", "10.244.2.2", "10.244.2.3"
VIP = "10.96.0.9"
EXTERNAL, EXTERNALS = "203.0.113.5", "203.0.113.0/24"
PODS, SERVICES = (parse_prefix("10.244.1.0/24"),), parse_prefix("10.96.0.0/16")
SECONDS = 5.0


class World(Struct):
    """The node's namespace, its firewall, and those of its neighbours by address."""

    node: int
    nft: NftSocket
    hosts: dict[str, int]
    rows: ServiceRows
    frontends: dict[FrontendKey, Frontend] = {}
    aliases: dict[str, str] = {}

    def serve(self, *frontends: Frontend) -> None:
        """Program these beside the others."""
        changes = {each.key: each for each in frontends}
        self.frontends |= changes
        self.nft.apply(self.rows.replace(changes))

    def serve_only(self, *frontends: Frontend) -> None:
        """Program these and take away all others."""
        changes: dict[FrontendKey, Frontend | None] = dict.fromkeys(self.frontends)
        self.frontends = {each.key: each for each in frontends}
        self.nft.apply(self.rows.replace(changes | self.frontends))

    def close(self) -> None:
        self.nft.close()
        for fd in self.hosts.values():
            os.close(fd)


def run_ip(netns: int, *lines: str) -> None:
    with entered(netns):
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True, capture_output=True)


def attach(node: int, number: int, address: str) -> int:
    host = new_namespace()
    path = f"/proc/{os.getpid()}/fd/{host}"
    run_ip(node, f"link add h{number} type veth peer name eth0 netns {path}", f"link set h{number} up")
    run_ip(
        host,
        "link set lo up",
        f"address add {address}/32 dev eth0",
        "link set eth0 up",
        "route add 169.254.1.1 dev eth0",
        "route add default via 169.254.1.1",
    )
    run_ip(node, f"address add 169.254.1.1/32 dev h{number}", f"route add {address} dev h{number}")
    return host


def make_world() -> World:
    """Make the namespaces; `close` them."""
    node = new_namespace()
    run_ip(
        node,
        "link set lo up",
        f"address add {NODE}/32 dev lo",
        f"route add {SERVICES} dev lo",
        f"route add {EXTERNALS} dev lo",
    )
    write_sysctl(node, "net/ipv4/ip_forward", "1")
    addresses = (LOCAL_1, LOCAL_2, REMOTE_1, REMOTE_2, CLIENT)
    hosts = {address: attach(node, number, address) for number, address in enumerate(addresses)}
    hosts[NODE] = node
    with entered(node):
        nft = NftSocket()
    rows = ServiceRows(Family.IPV4, PODS, SERVICES)
    nft.apply(rows.base())
    return World(node, nft, hosts, rows)


class Servers:
    """TCP listeners on port 8080 of pods, which say whose connection they accepted."""

    def __init__(self, world: World, stack: ExitStack, *addresses: str) -> None:
        self._world = world
        self._listeners: dict[str, socket.socket] = {}
        for address in addresses:
            with entered(world.hosts[address]):
                listener = stack.enter_context(socket.create_server((address, 8080), backlog=512))
            listener.setblocking(False)
            self._listeners[address] = listener

    def connect(self, source: str, address: str = VIP, port: int = 80) -> tuple[str, str]:
        """Connect from a host; return the backend reached and the source address it saw."""
        host = self._world.aliases.get(source)
        with entered(self._world.hosts[host or source]):
            bound = (source, 0) if host else None
            caller = socket.create_connection((address, port), timeout=SECONDS, source_address=bound)
        with caller:
            for pod, listener in self._listeners.items():
                with suppress(BlockingIOError):
                    accepted, peer = listener.accept()
                    accepted.close()
                    return pod, peer[0]
        raise AssertionError(f"{address}:{port} answered {source}, but none of {list(self._listeners)} was reached")


def refused_with(world: World, source: str, address: str = VIP, port: int = 80, seconds: float = SECONDS) -> str:
    """Return the error of a connection that must not come about."""
    with entered(world.hosts[source]):
        caller = socket.socket()
    with caller:
        caller.settimeout(seconds)
        try:
            caller.connect((address, port))
        except TimeoutError:
            return "timeout"
        except OSError as error:
            return errno.errorcode[error.errno or 0]
    return "connected"
