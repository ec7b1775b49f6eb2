"""The cluster's network: a fabric, its nodes, a client, a load-balancer host, and pods attached to nodes.

Comes in: a `TopologySpec`, then nodes and pod addresses. Goes out: namespaces by descriptor, wired and routed:

    client ── fabric (bridge) ── node-1 ── pods of node-1, each on a routed veth pair of its own
                    │   └─────── node-2 ── ...
                    └── lb

Refuses to know pods, Services and firewalls: service addresses have no route here, so a packet for one that no node
has translated is answered with an ICMP unreachable. A namespace is one descriptor, a link to a pod two interfaces.
"""

import errno
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct, field

from fairlead.drivers.errors import FairleadError
from fairlead.drivers.netlink.links import (
    LOOPBACK,
    LinkError,
    LinkSocket,
    Request,
    VethEnd,
    add_address,
    add_neighbour,
    add_route,
    add_unreachable,
    create_bridge,
    create_veth,
    remove_link,
    remove_route,
    set_up,
    without_link_local,
)
from fairlead.drivers.netns import current_namespace, entered, new_namespace, write_sysctls
from fairlead.net import Address, Family, Prefix, parse_address, parse_prefix

POD_GATEWAYS = {Family.IPV4: parse_address("169.254.1.1"), Family.IPV6: parse_address("fe80::1")}
"""What every pod routes through: an address on its own link that only its neighbour table knows."""
EVERYTHING = {Family.IPV4: parse_prefix("0.0.0.0/0"), Family.IPV6: parse_prefix("::/0")}

_NODE_SIDE_MAC = b"\xee" * 6  # of every veth on a node: links are point to point, so one will do
_BRIDGE, _CLIENT_SIDE, _FIRST_PORT = 10, 11, 100  # interface indexes in the fabric
_ETH0 = 2  # the first index after loopback, in every host and pod
_FIRST_POD = 1000  # on a node: the index of the link to the first address of its pod prefix
_SHORTEST_WAIT, _LONGEST_WAIT = 0.0002, 0.25  # seconds for a new link to carry packets
_ROUTER_SYSCTLS = {  # written before there are links: each link takes a copy of the defaults when it is made
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "0",  # a new namespace copies the host's; replies may leave by another way
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/conf/all/send_redirects": "0",  # a router here sends packets back out of the link they came in by
    "net/ipv4/conf/default/send_redirects": "0",
}
_ROUTER_SYSCTLS_OF_MODULES = {
    "net/ipv6/conf/all/disable_ipv6": "0",  # which a new namespace may copy from the host
    "net/ipv6/conf/default/disable_ipv6": "0",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv6/conf/default/addr_gen_mode": "1",  # no address of a link's own choice
    "net/bridge/bridge-nf-call-iptables": "0",  # what the fabric switches is no business of a firewall
}


class AddressPlan(Struct, frozen=True, kw_only=True):
    """The addresses of one family; by default those of IPv4."""

    node_prefix: Prefix = field(default_factory=lambda: parse_prefix("172.18.0.0/16"))
    """Holds the fabric at its first address and node number i at the i-th after that."""
    lb_address: Address = field(default_factory=lambda: parse_address("172.18.255.2"))
    lb_pool: Prefix = field(default_factory=lambda: parse_prefix("203.0.113.0/24"))
    client_prefix: Prefix = field(default_factory=lambda: parse_prefix("198.51.100.0/24"))
    """Holds the fabric at its first address and the client at its second."""
    pod_prefix: Prefix = field(default_factory=lambda: parse_prefix("10.244.0.0/16"))
    pod_prefix_length: int = 24
    """Of the share of each node; node number i has the share number i, counted from 0."""
    service_prefix: Prefix = field(default_factory=lambda: parse_prefix("10.96.0.0/16"))

    @property
    def fabric_address(self) -> Address:
        """Where the API server listens, and the nodes' router."""
        return self.node_prefix.address + 1

    @property
    def client_router(self) -> Address:
        """The fabric, as the client sees it."""
        return self.client_prefix.address + 1

    def node_address(self, number: int) -> Address:
        """The address of node `number`, counted from 1."""
        return self.node_prefix.address + (1 + number)

    def pod_prefix_of(self, number: int) -> Prefix:
        """The pod addresses of node `number`, counted from 1."""
        share = 1 << (8 * len(self.pod_prefix.address.packed) - self.pod_prefix_length)
        return Prefix(self.pod_prefix.address + number * share, self.pod_prefix_length)


IPV6_PLAN = AddressPlan(
    node_prefix=parse_prefix("fd00:172:18::/64"),
    lb_address=parse_address("fd00:172:18::ff02"),
    lb_pool=parse_prefix("fd00:203:0:113::/112"),
    client_prefix=parse_prefix("fd00:198:51:100::/64"),
    pod_prefix=parse_prefix("fd00:10:244::/48"),
    pod_prefix_length=64,
    service_prefix=parse_prefix("fd00:10:96::/112"),
)
"""The addresses of the second family, unique local ones (RFC 4193) that resemble those of the first."""


class TopologySpec(AddressPlan, frozen=True, kw_only=True):
    """How large a network, and which addresses; its own are the first family's. Node number i, from 1, is `node-i`."""

    nodes: int = 3
    second: AddressPlan | None = IPV6_PLAN
    """The addresses of the other family; None for a network of one family."""

    @property
    def plans(self) -> tuple[AddressPlan, ...]:
        """The addresses of each family, the first family's first."""
        return (self,) if self.second is None else (self, self.second)

    @property
    def service_prefixes(self) -> tuple[Prefix, ...]:
        """The cluster addresses of each family."""
        return tuple(plan.service_prefix for plan in self.plans)

    def node_names(self) -> tuple[str, ...]:
        """The nodes' names, in the order of their addresses."""
        return tuple(f"node-{number}" for number in range(1, self.nodes + 1))


class HostNetwork(Struct, frozen=True):
    """A machine on the network: its namespace, by a descriptor that this process holds, and an address a family."""

    name: str
    netns: int
    addresses: tuple[Address, ...]

    @property
    def address(self) -> Address:
        """The address of the first family."""
        return self.addresses[0]


class NodeNetwork(Struct, frozen=True):
    """A node: as a host, and the addresses of its pods, a prefix for each family."""

    name: str
    netns: int
    addresses: tuple[Address, ...]
    pod_prefixes: tuple[Prefix, ...]

    @property
    def address(self) -> Address:
        """The address of the first family."""
        return self.addresses[0]

    @property
    def pod_prefix(self) -> Prefix:
        """The pod addresses of the first family."""
        return self.pod_prefixes[0]

    def place_of(self, address: Address) -> int:
        """Where in the first pod prefix an address is, counted from its first."""
        first = self.pod_prefix.address
        return int.from_bytes(address.packed, "big") - int.from_bytes(first.packed, "big")

    def pod_addresses(self, address: Address) -> tuple[Address, ...]:
        """The addresses of the pod with this one of the first family: the same place of each prefix."""
        return tuple(prefix.address + self.place_of(address) for prefix in self.pod_prefixes)


class PodNetwork(Struct, frozen=True):
    """A pod's namespace and the name of the interface on its node that leads there."""

    node: str
    netns: int
    addresses: tuple[Address, ...]
    interface: str

    @property
    def address(self) -> Address:
        """The address of the first family."""
        return self.addresses[0]


class Topology:
    """The network of one cluster. Descriptors are inherited by forks; one process at a time attaches pods."""

    def __init__(self, spec: TopologySpec, fabric: int) -> None:
        self.spec = spec
        self.fabric = fabric
        """The namespace that joins everything."""
        self.nodes: dict[str, NodeNetwork] = {}
        self._hosts: dict[str, HostNetwork] = {}
        self._sockets: dict[str, tuple[int, LinkSocket]] = {}

    @classmethod
    def build(cls, spec: TopologySpec) -> "Topology":
        """Turn the current namespace into the fabric and wire hosts to it.

        Raises FairleadError when the kernel refuses a step, having removed what the steps before it made.
        """
        _refuse_impossible(spec)
        topology = cls(spec, current_namespace())
        try:
            topology._build()
        except BaseException:
            topology.close(undo=True)
            raise
        return topology

    @property
    def client(self) -> HostNetwork:
        """The machine outside the cluster."""
        return self._hosts["client"]

    @property
    def lb(self) -> HostNetwork:
        """The machine of the external load balancer."""
        return self._hosts["lb"]

    def hardware_of(self, address: Address) -> bytes:
        """The hardware address of the host with this first address."""
        return _mac(address)

    def place(self, text: str) -> int | None:
        """The namespace of `client`, `lb`, `fabric` or `node/NAME`; None for any other text."""
        if text == "fabric":
            return self.fabric
        if text in self._hosts:
            return self._hosts[text].netns
        kind, _, name = text.partition("/")
        return self.nodes[name].netns if kind == "node" and name in self.nodes else None

    def places(self) -> tuple[str, ...]:
        """Every text that `place` knows."""
        return (*self._hosts, "fabric", *(f"node/{name}" for name in self.nodes))

    def attach_pod(self, node: str, address: Address) -> PodNetwork:
        """Make a namespace reachable at `address`, which must be of the node's first pod prefix.

        Of the other family it has the address at the same place of that prefix. The pod has `eth0`, a default route
        for each family and nothing else. A link that a pod of an earlier run left behind is
        replaced. Raises FairleadError when the kernel refuses, leaving nothing behind.
        """
        at = self.nodes[node]
        assert address in at.pod_prefix, f"{address} is no pod address of {node}"
        offset = at.place_of(address)
        name, index, addresses = f"pod{offset}", _FIRST_POD + offset, at.pod_addresses(address)
        netns = new_namespace()
        try:
            requests = _pod_link(name, index, addresses, netns)
            try:
                self._socket(node).apply(requests)
            except LinkError as error:
                if error.code not in (errno.EEXIST, errno.EBUSY):
                    raise
                self._socket(node).apply([remove_link(name)])
                self._socket(node).apply(requests)
            try:
                _apply_inside(netns, _pod_inside(addresses))
                _wait_until_carrying(self._socket(node), index)
            except BaseException:
                self._socket(node).apply([remove_link(name)])
                raise
        except BaseException:
            os.close(netns)
            raise
        return PodNetwork(node=node, netns=netns, addresses=addresses, interface=name)

    def detach_pod(self, pod: PodNetwork) -> None:
        """Stop routing to a pod and let go of its namespace. Detaching twice is a bug.

        The interfaces go when the last process or socket in the namespace does: the kernel then removes those of many
        pods in one sweep, where asking for one takes it 40 ms.
        """
        with suppress(LinkError):  # the interface went together with the namespace's last holder
            self._socket(pod.node).apply([remove_route(_single(address)) for address in pod.addresses])
        os.close(pod.netns)

    def close(self, *, undo: bool = False) -> None:
        """Let go of every descriptor; with `undo` also clear the fabric's own interfaces and routes."""
        if undo:
            with entered(self.fabric):
                links = LinkSocket()
                mine = [link.name for link in links.links() if link.index >= _BRIDGE]
                for request in [*map(remove_link, mine), *map(remove_route, self.spec.service_prefixes)]:
                    with suppress(LinkError):
                        links.apply([request])
                links.close()
        for _, links in self._sockets.values():
            links.close()
        for host in (*self._hosts.values(), *self.nodes.values()):
            os.close(host.netns)
        os.close(self.fabric)
        self._sockets, self._hosts, self.nodes = {}, {}, {}

    def _build(self) -> None:
        spec, plans = self.spec, self.spec.plans
        self._hosts["client"] = HostNetwork("client", new_namespace(), tuple(plan.client_router + 1 for plan in plans))
        self._hosts["lb"] = HostNetwork("lb", new_namespace(), tuple(plan.lb_address for plan in plans))
        for number, name in enumerate(spec.node_names(), 1):
            addresses = tuple(plan.node_address(number) for plan in plans)
            prefixes = tuple(plan.pod_prefix_of(number) for plan in plans)
            self.nodes[name] = NodeNetwork(name, new_namespace(), addresses, prefixes)
        for netns in (self.fabric, self.lb.netns, *(node.netns for node in self.nodes.values())):
            write_sysctls(netns, _ROUTER_SYSCTLS | _present(netns, _ROUTER_SYSCTLS_OF_MODULES))
        _apply_inside(
            self.fabric,
            [
                set_up(LOOPBACK),
                create_bridge(_BRIDGE, "fabric", _mac(spec.fabric_address)),
                _cable(_CLIENT_SIDE, _mac(spec.client_router), self.client, master=0),
                *(
                    _cable(_FIRST_PORT + number, _port_mac(number), host, master=_BRIDGE)
                    for number, host in enumerate((self.lb, *self.nodes.values()))
                ),
                *(request for number in range(len(plans)) for request in self._fabric_routes(number)),
                *_neighbours(_CLIENT_SIDE, [self.client]),
                *_neighbours(_BRIDGE, [self.lb, *self.nodes.values()]),
            ],
        )
        bridge = _mac(spec.fabric_address)
        routers = [
            *(add_neighbour(_ETH0, plan.fabric_address, bridge) for plan in plans[1:]),
            *_neighbours(_ETH0, [self.lb, *self.nodes.values()]),
        ]
        at_client = [add_neighbour(_ETH0, plan.client_router, _mac(spec.client_router)) for plan in plans[1:]]
        self._set_up_host(self.client, [(plan.client_prefix.length, plan.client_router) for plan in plans], at_client)
        on_bridge = [(plan.node_prefix.length, plan.fabric_address) for plan in plans]
        self._set_up_host(self.lb, on_bridge, routers)
        _apply_inside(self.lb.netns, [add_unreachable(plan.lb_pool) for plan in plans])
        for node in self.nodes.values():
            self._set_up_host(node, on_bridge, routers)
            routes = [
                add_route(prefix, interface=_ETH0, via=address)
                for other in self.nodes.values()
                if other is not node
                for prefix, address in zip(other.pod_prefixes, other.addresses, strict=True)
            ]
            _apply_inside(node.netns, [*map(add_unreachable, node.pod_prefixes), *routes])
        with entered(self.fabric):
            links = LinkSocket()
        try:
            for index in (_BRIDGE, _CLIENT_SIDE, *(_FIRST_PORT + number for number in range(len(self.nodes) + 1))):
                _wait_until_carrying(links, index)
        finally:
            links.close()

    def _fabric_routes(self, number: int) -> list[Request]:
        """The fabric's addresses and routes of the family with this number."""
        plan = self.spec.plans[number]
        return [
            add_address(_BRIDGE, plan.fabric_address, plan.node_prefix.length),
            add_address(_CLIENT_SIDE, plan.client_router, plan.client_prefix.length),
            add_route(plan.lb_pool, interface=_BRIDGE, via=plan.lb_address),
            *(
                add_route(node.pod_prefixes[number], interface=_BRIDGE, via=node.addresses[number])
                for node in self.nodes.values()
            ),
            add_unreachable(plan.service_prefix),
        ]

    def _set_up_host(
        self, host: HostNetwork | NodeNetwork, ways: Sequence[tuple[int, Address]], neighbours: Sequence[Request]
    ) -> None:
        """Bring up a host's loopback and `eth0`; `ways` has prefix length and router of each family."""
        requests = [set_up(LOOPBACK), without_link_local(_ETH0), set_up(_ETH0)]
        for address, (length, router) in zip(host.addresses, ways, strict=True):
            requests.append(add_address(_ETH0, address, length))
            requests.append(add_route(EVERYTHING[address.family], interface=_ETH0, via=router))
        _apply_inside(host.netns, [*requests, *neighbours])

    def _socket(self, node: str) -> LinkSocket:
        """The rtnetlink socket of a node; a forked process opens its own, since answers go to whoever reads first."""
        owner, links = self._sockets.get(node, (0, None))
        if links is None or owner != os.getpid():
            with entered(self.nodes[node].netns):
                links = LinkSocket()
            self._sockets[node] = (os.getpid(), links)
        return links


def _apply_inside(netns: int, requests: Sequence[Request]) -> None:
    with entered(netns):
        links = LinkSocket()
    try:
        links.apply(requests)
    finally:
        links.close()


def _neighbours(index: int, hosts: Sequence[HostNetwork | NodeNetwork]) -> list[Request]:
    """Where hosts are by their second family.

    A router without a link-local address cannot ask for the neighbour of a packet it forwards (net/ipv6/ndisc.c,
    ndisc_send_ns); with one, it would send redirects, which IPv6 has no setting against.
    """
    return [add_neighbour(index, address, _mac(host.address)) for host in hosts for address in host.addresses[1:]]


def _cable(index: int, mac: bytes, host: HostNetwork | NodeNetwork, *, master: int) -> Request:
    """A veth pair from the fabric, where it is named as the host, to the host's `eth0`."""
    near = VethEnd(index=index, name=host.name, mac=mac, master=master)
    return create_veth(near, VethEnd(index=_ETH0, name="eth0", mac=_mac(host.address), netns=host.netns))


def _pod_link(name: str, index: int, addresses: Sequence[Address], netns: int) -> list[Request]:
    """What a node needs for a pod. The neighbours are permanent, so no pod counts towards the machine's ARP limits."""
    near, mac = VethEnd(index=index, name=name, mac=_NODE_SIDE_MAC), _mac(addresses[0])
    requests = [create_veth(near, VethEnd(index=_ETH0, name="eth0", mac=mac, netns=netns))]
    for address in addresses:
        requests += [add_neighbour(index, address, mac), add_route(_single(address), interface=index)]
    return requests


def _pod_inside(addresses: Sequence[Address]) -> list[Request]:
    requests = [set_up(LOOPBACK), without_link_local(_ETH0), set_up(_ETH0)]
    for address in addresses:
        gateway = POD_GATEWAYS[address.family]
        requests += [
            add_address(_ETH0, address, 8 * address.family.size),
            add_neighbour(_ETH0, gateway, _NODE_SIDE_MAC),
            add_route(EVERYTHING[address.family], interface=_ETH0, via=gateway),
        ]
    return requests


def _wait_until_carrying(links: LinkSocket, index: int) -> None:
    """Wait until the end that came up first has noticed the other: microseconds, more on a busy machine.

    A packet sent sooner is lost, and a connection's first packet is sent again only after a second.
    """
    deadline = time.monotonic() + _LONGEST_WAIT
    while not links.carries(index) and time.monotonic() < deadline:
        time.sleep(_SHORTEST_WAIT)


def _single(address: Address) -> Prefix:
    return Prefix(address, 8 * address.family.size)


def _mac(address: Address) -> bytes:
    """A locally administered unicast hardware address that one can read the IP address from."""
    return b"\x0a\x58" + address.packed[-4:]


def _port_mac(number: int) -> bytes:
    return b"\x0a\x59" + number.to_bytes(4, "big")


def _present(netns: int, sysctls: dict[str, str]) -> dict[str, str]:
    """Those sysctls that this kernel has: without a module, or without IPv6, there is nothing to set."""
    with entered(netns):
        return {key: value for key, value in sysctls.items() if Path("/proc/sys", key).exists()}


def _refuse_impossible(spec: TopologySpec) -> None:
    """Raises FairleadError when the nodes do not fit into the prefixes."""
    for plan in spec.plans:
        shares = 1 << (plan.pod_prefix_length - plan.pod_prefix.length)
        most = min(shares - 1, plan.node_prefix.size // 2)
        if not 1 <= spec.nodes <= most:
            raise FairleadError(
                f"{spec.nodes} nodes do not fit into {plan.node_prefix} with pods in {plan.pod_prefix}",
                f"ask for 1 to {most} nodes",
            )
