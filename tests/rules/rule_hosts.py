"""Hosts in network namespaces around one node: pods here and elsewhere, another node, a client; all of them answer.

Comes in: nothing. Goes out: dialled connections and datagrams, and who answered them and whom it saw.
"""

import errno
import os
import selectors
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable

from msgspec import Struct

from fairlead.drivers.netns import entered, new_namespace, open_socket, write_sysctls

NODE, FABRIC = ("172.18.0.2", "fd00:18::2"), ("172.18.0.1", "fd00:18::1")
SECONDARY = ("172.18.0.12", "fd00:18::12")
"""A second address of the node, which its object does not name first."""
HOSTS = {
    "web-1": ("10.244.1.2", "fd00:244:1::2"),
    "web-2": ("10.244.1.3", "fd00:244:1::3"),
    "far-1": ("10.244.2.2", "fd00:244:2::2"),
    "far-2": ("10.244.2.3", "fd00:244:2::3"),
    "node-2": ("172.18.0.3", "fd00:18::3"),
    "client": ("198.51.100.2", "fd00:198::2"),
}
"""Two pods of the node, two of another node, that node itself, and a host outside the cluster."""
INTERNET = ("192.0.2.0/24", "203.0.113.0/24", "2001:db8::/32")
"""Addresses of nobody here: what a node does not take for its own comes to a host that answers at port 80."""
LISTENING = (8080, 9090)
DEADLINE = 20.0
_GATEWAY = "fe80::1"
_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES}


class Answer(Struct, frozen=True):
    """What became of a first packet: who answered and whom it saw, or `refused`, `silence`, `unreachable`."""

    outcome: str
    by: str = ""
    seen: str = ""

    def __str__(self) -> str:
        return f"{self.by} sees {self.seen}" if self.by else self.outcome


class Hosts:
    """The namespaces, and one thread in which everything that listens answers."""

    def __init__(self) -> None:
        self.node = new_namespace()
        self._hosts: dict[str, int] = {"node": self.node}
        self._prepare()
        self._echo = Echo()
        for name, fd in self._hosts.items():
            if name == "fabric":
                self._echo.listen("internet", fd, [80])
            elif name != "node":
                self._echo.listen(name, fd)
        self._echo.start()

    def close(self) -> None:
        """Let go of everything."""
        self._echo.close()
        for fd in self._hosts.values():
            os.close(fd)

    def __getitem__(self, place: str) -> int:
        return self._hosts[place]

    def _prepare(self) -> None:
        forwarding = {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1", "net/ipv4/icmp_ratelimit": "0"}
        loose = {f"net/ipv4/conf/{where}/rp_filter": "0" for where in ("all", "default")}
        write_sysctls(self.node, {**forwarding, **loose, "net/ipv6/conf/default/accept_dad": "0"})
        write_sysctls(self.node, {"net/ipv6/icmp/ratelimit": "0"})
        own = [f"address add {each}{_single(each)} dev lo" for each in (NODE[0], *SECONDARY, NODE[1])]
        run_ip(self.node, "link set lo up", *own)  # the kernel prefers the first IPv4 address, and the last IPv6 one
        for number, (name, addresses) in enumerate(HOSTS.items()):
            self._attach(f"h{number}", name, addresses, ["default"])
        behind = ["10.244.0.0/16", "198.51.100.0/24", HOSTS["node-2"][0], "fd00:244::/32", "fd00:198::/64"]
        self._attach("fabric", "fabric", FABRIC, behind)
        run_ip(self._hosts["fabric"], *(f"route add local {each} dev lo" for each in INTERNET))
        run_ip(
            self.node,
            f"route add default via {FABRIC[0]} dev fabric src {NODE[0]}",
            f"route add default via {FABRIC[1]} dev fabric src {NODE[1]}",
        )

    def _attach(self, link: str, name: str, addresses: tuple[str, str], routes: list[str]) -> None:
        host = self._hosts[name] = new_namespace()
        write_sysctls(host, {"net/ipv6/conf/default/accept_dad": "0"})
        path = f"/proc/{os.getpid()}/fd/{host}"
        run_ip(
            self.node,
            f"link add {link} type veth peer name eth0 netns {path}",
            f"address add {_GATEWAY}/64 dev {link} nodad",
            f"link set {link} up",
        )
        four, six = addresses
        ways = [f"route add {to} via {_GATEWAY if ':' in to else NODE[0]} dev eth0" for to in routes if to != "default"]
        if "default" in routes:
            ways += [f"route add default via {NODE[0]} dev eth0", f"route add ::/0 via {_GATEWAY} dev eth0"]
        run_ip(
            host,
            "link set lo up",
            f"address add {four}/32 dev eth0",
            f"address add {six}/128 dev eth0 nodad",
            "link set eth0 up",
            f"route add {NODE[0]} dev eth0",
            f"route add {NODE[1]} via {_GATEWAY} dev eth0",
            *ways,
        )
        run_ip(self.node, f"route add {four} dev {link} src {NODE[0]}", f"route add {six} dev {link}")

    def socket(self, place: str, address: str, protocol: str, source: str = "") -> socket.socket:
        """Open a socket at a place, of the family of the address it is to dial, from `source` if given."""
        kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
        opened = open_socket(self._hosts[place], socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        if source:
            opened.bind((source, 0))
        return opened

    def dial(self, place: str, address: str, port: int, protocol: str = "TCP", source: str = "") -> "Conversation":
        """Send a first packet, and return at once."""
        opened = self.socket(place, address, protocol, source)
        conversation = Conversation(opened)
        try:
            opened.connect((address, port))
            if protocol == "UDP":
                opened.send(b"?\n")
        except (BlockingIOError, PermissionError):
            pass  # a connection is under way; what the output hook refused is told by the answer that follows, if any
        except OSError as error:
            conversation.failure = error.errno
        return conversation


class Conversation:
    """One connection, or one pair of ports that exchange datagrams."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self.failure: int | None = None

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def hear(self, patience: float = DEADLINE) -> Answer:
        """Return what comes back, or silence after so long."""
        if self.failure is not None:
            return _failed(self.failure)
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            if not selector.select(patience):
                return Answer("silence")
        failure = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            return _failed(failure)
        try:
            data = self._socket.recv(1000)
        except OSError as error:
            return _failed(error.errno or 0)
        if not data:
            return Answer("closed")
        by, _, seen = data.decode().strip().partition(" sees ")
        return Answer("answered", by, seen)

    def ask(self, patience: float = DEADLINE) -> Answer:
        """Send another packet of the same conversation, and return what comes back."""
        try:
            self._socket.send(b"?\n")
        except OSError as error:
            return _failed(error.errno or 0)
        return self.hear(patience)


def _failed(number: int) -> Answer:
    if number in (errno.ECONNREFUSED, errno.ECONNRESET):
        return Answer("refused")
    return Answer("unreachable" if number in _UNREACHABLE else errno.errorcode.get(number, str(number)))


class Echo(threading.Thread):
    """Answers whoever connects, and every line and datagram, with its own name and whom it sees."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._selector = selectors.DefaultSelector()
        self._names: dict[socket.socket, str] = {}
        self._waker, self._wakened = socket.socketpair()
        self._selector.register(self._wakened, selectors.EVENT_READ)

    def listen(self, name: str, namespace: int, ports: Iterable[int] = LISTENING) -> None:
        """Answer in a namespace, on TCP and UDP and both families."""
        for port in ports:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                opened = open_socket(namespace, socket.AF_INET6, kind)
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                opened.bind(("::", port))
                if kind == socket.SOCK_STREAM:
                    opened.listen(512)
                self._names[opened] = name
                self._selector.register(opened, selectors.EVENT_READ)

    def close(self) -> None:
        """End the thread and close what it held."""
        self._waker.send(b"x")
        self.join(DEADLINE)
        for opened in (*self._names, self._waker, self._wakened):
            opened.close()
        self._selector.close()

    def run(self) -> None:
        """Answer until told to end."""
        while True:
            for key, _ in self._selector.select():
                opened = key.fileobj
                if opened is self._wakened:
                    return
                assert isinstance(opened, socket.socket)
                try:
                    self._serve(opened)
                except OSError:
                    self._drop(opened)

    def _serve(self, opened: socket.socket) -> None:
        name = self._names[opened]
        if opened.type == socket.SOCK_DGRAM:
            _, peer = opened.recvfrom(1000)
            opened.sendto(_line(name, peer[0]), peer)
        elif opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            connection, peer = opened.accept()
            connection.setblocking(False)
            self._names[connection] = name
            self._selector.register(connection, selectors.EVENT_READ)
            connection.send(_line(name, peer[0]))
        elif opened.recv(1000):
            opened.send(_line(name, opened.getpeername()[0]))
        else:
            self._drop(opened)

    def _drop(self, opened: socket.socket) -> None:
        if opened.type == socket.SOCK_STREAM and not opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            self._selector.unregister(opened)
            del self._names[opened]
            opened.close()


def _line(name: str, peer: str) -> bytes:
    return f"{name} sees {peer.removeprefix('::ffff:')}\n".encode()


def _single(address: str) -> str:
    return "/128 nodad" if ":" in address else "/32"


def run_ip(netns: int, *lines: str) -> None:
    """Run commands of `ip` inside a namespace."""
    with entered(netns):
        done = subprocess.run(
            ["ip", "-batch", "-"], input="\n".join(lines), text=True, check=False, capture_output=True
        )
    assert done.returncode == 0, f"{done.stderr}\n{lines}"


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Look again and again until something holds."""
    deadline = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
