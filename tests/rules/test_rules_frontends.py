"""Where a service can be dialled, each rule on real packets. Source: reference, section 1.5."""

import socket
import struct
from typing import Any

import pytest
from rule_hosts import DEADLINE, HOSTS, NODE, SECONDARY, Answer
from rule_rig import Rig, a_port, a_service, a_slice, an_endpoint

from fairlead.drivers.netns import entered
from fairlead.net import parse_address

pytestmark = pytest.mark.kernel

IP, IP6 = "10.96.0.10", "fd00:96::10"
EXTERNAL, VIP = "192.0.2.7", "203.0.113.7"
PORTS = [a_port(node_port=30080)]
REFUSED = Answer("refused")
EVERYWHERE = ("web-2", "node", "client", "node-2")
SIX = an_endpoint("web-1", 1)


@pytest.mark.parametrize("place", EVERYWHERE)
def test_a_cluster_ip_is_translated_in_prerouting_and_in_output(rig: Rig, place: str) -> None:
    """1.5: from pods, from other hosts and from the node itself, for both families and all of its ports."""
    rig.begin(a_service(), a_slice("web-1"), a_slice(SIX))
    assert rig.ask(place, IP, 80).by == "web-1"
    assert rig.ask(place, IP6, 80).by == "web-1"


@pytest.mark.parametrize("place", EVERYWHERE)
def test_a_node_port_is_open_on_the_node_s_primary_addresses(rig: Rig, place: str) -> None:
    """1.5: the primary address of each family."""
    rig.begin(a_service(type="NodePort", ports=PORTS), a_slice("web-1"), a_slice(SIX))
    assert rig.ask(place, NODE[0], 30080).by == "web-1"
    assert rig.ask(place, NODE[1], 30080).by == "web-1"


@pytest.mark.parametrize("place", EVERYWHERE)
def test_a_node_port_is_not_open_on_other_addresses_of_the_node(rig: Rig, place: str) -> None:
    """1.5: nodePortAddresses defaults to `primary`."""
    rig.begin(a_service(type="NodePort", ports=PORTS), a_slice("web-1"), a_slice(SIX))
    assert rig.ask(place, SECONDARY[0], 30080) == REFUSED
    assert rig.ask(place, SECONDARY[1], 30080) == REFUSED


def test_a_node_port_is_not_open_on_localhost(rig: Rig) -> None:
    """1.5: neither on 127.0.0.0/8 nor on ::1."""
    rig.begin(a_service(type="NodePort", ports=PORTS), a_slice("web-1"), a_slice(SIX))
    for address in ("127.0.0.1", "127.7.7.7", "::1"):
        assert rig.ask("node", address, 30080) == REFUSED, address


def test_a_node_port_is_open_on_the_addresses_that_were_asked_for(rig: Rig) -> None:
    """1.5: with `--nodeport-addresses` on those of the node's addresses that are inside, and on no others."""
    asked = tuple(map(parse_address, SECONDARY))
    rig.begin(a_service(type="NodePort", ports=PORTS), a_slice("web-1"), a_slice(SIX), opens_on=asked)
    for family in (0, 1):
        assert rig.ask("client", SECONDARY[family], 30080).by == "web-1"
        assert rig.ask("client", NODE[family], 30080) == REFUSED


def test_a_node_port_of_another_node_is_left_to_that_node(rig: Rig) -> None:
    """1.5: only the own addresses are frontends: what goes to another node passes."""
    rig.begin(a_service(type="NodePort", ports=[a_port(node_port=8080)]), a_slice("web-1"))
    assert rig.ask("web-2", HOSTS["node-2"][0], 8080).by == "node-2"


@pytest.mark.parametrize("place", EVERYWHERE)
def test_an_external_ip_that_no_node_has_works_from_everywhere(rig: Rig, place: str) -> None:
    """1.5: also from pods and the node; packets do not leave it for the address."""
    rig.begin(a_service(externalIPs=[EXTERNAL]), a_slice("web-1"))
    assert rig.ask(place, EXTERNAL, 80).by == "web-1"
    assert rig.ask(place, "192.0.2.8", 80).by == "internet"


@pytest.mark.parametrize("place", EVERYWHERE)
def test_a_load_balancer_address_is_served_without_going_out(rig: Rig, place: str) -> None:
    """1.5: ipMode absent or VIP: pods and nodes reach the service here, though it leads elsewhere outside."""
    ingress = [{"ip": VIP}, {"ip": "203.0.113.8", "ipMode": "VIP"}]
    rig.begin(a_service(type="LoadBalancer", ingress=ingress), a_slice("web-1"))
    assert rig.ask(place, VIP, 80).by == "web-1"
    assert rig.ask(place, "203.0.113.8", 80).by == "web-1"


def test_a_load_balancer_address_of_mode_proxy_is_left_to_the_load_balancer(rig: Rig) -> None:
    """1.5: ipMode Proxy is not programmed: the traffic leaves the node."""
    rig.begin(a_service(type="LoadBalancer", ingress=[{"ip": VIP, "ipMode": "Proxy"}]), a_slice("web-1"))
    for place in EVERYWHERE:
        assert rig.ask(place, VIP, 80).by == "internet", place
    rig.apply(a_service(type="LoadBalancer", ingress=[{"ip": VIP, "ipMode": "VIP"}]))
    assert rig.ask("web-2", VIP, 80).by == "web-1"


def test_a_load_balancer_that_is_a_host_name_is_not_programmed(rig: Rig) -> None:
    """1.5: hostname ingress: nothing to match packets by; the cluster IP works."""
    rig.begin(a_service(type="LoadBalancer", ingress=[{"hostname": "lb.example.com"}]), a_slice("web-1"))
    assert rig.ask("web-2", IP, 80).by == "web-1"
    assert len(rig.table().sets["frontends"].rows or {}) == 1


def test_a_load_balancer_without_node_ports_serves_its_address(rig: Rig) -> None:
    """1.5: allocateLoadBalancerNodePorts=false: there is no node port, and the address never needs one."""
    service = a_service(type="LoadBalancer", allocateLoadBalancerNodePorts=False, ingress=[{"ip": VIP}])
    rig.begin(service, a_slice("web-1"))
    assert rig.ask("client", VIP, 80).by == "web-1"
    assert rig.ask("client", NODE[0], 30080) == REFUSED


def test_an_address_is_a_frontend_only_while_the_service_has_it(rig: Rig) -> None:
    """1.5: external IPs, load-balancer addresses and node ports come and go with spec and status."""
    rig.begin(a_service(), a_slice("web-1"))
    full: dict[str, Any] = {"type": "LoadBalancer", "externalIPs": [EXTERNAL], "ingress": [{"ip": VIP}], "ports": PORTS}
    for _ in range(2):
        rig.apply(a_service(**full))
        for address, port in ((EXTERNAL, 80), (VIP, 80), (NODE[0], 30080)):
            assert rig.ask("client", address, port).by == "web-1"
        rig.apply(a_service())
        assert rig.ask("client", EXTERNAL, 80).by == "internet"
        assert rig.ask("client", VIP, 80).by == "internet"
        assert rig.ask("client", NODE[0], 30080) == REFUSED


def test_a_node_port_opens_no_socket(rig: Rig) -> None:
    """1.5: nothing listens: `ss` shows no socket, before or after."""
    rig.begin(a_service(type="NodePort", ports=[*PORTS, a_port(53, "dns", "UDP", 30053)]), a_slice("web-1"))
    assert rig.ask("client", NODE[0], 30080).by == "web-1"
    assert rig.run("ss", "-antuH46", "sport = :30080 or sport = :30053") == ""
    with entered(rig.hosts.node), socket.create_server((NODE[0], 30080)):
        assert rig.ask("client", NODE[0], 30080).by == "web-1"


def test_sctp_is_translated_by_rules_and_nobody_opens_a_socket_for_it(rig: Rig) -> None:
    """1.5: an SCTP service is plain DNAT; the address changes and the checksum of the packet stays right."""
    before = _protocols(rig)
    rig.begin(a_service(ports=[a_port(90, "sig", "SCTP")]), a_slice("web-1", ports=[_sctp_port(9000)]))
    packet = _sctp_init(40000, 90)
    with entered(rig.hosts["web-1"]):
        listener = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)
    with entered(rig.hosts["web-2"]):
        sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)
    with listener, sender:
        listener.settimeout(DEADLINE)
        sender.sendto(packet, (IP, 0))
        arrived = listener.recv(1000)[20:]
    assert arrived == _sctp_init(40000, 9000)
    assert _protocols(rig) == before


def test_an_sctp_service_without_endpoints_is_rejected(rig: Rig) -> None:
    """1.3: with an ICMP port unreachable, as UDP."""
    rig.begin(a_service(ports=[a_port(90, "sig", "SCTP")]))
    with entered(rig.hosts["web-2"]):
        sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)
        hearing = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with sender, hearing:
        hearing.settimeout(DEADLINE)
        sender.sendto(_sctp_init(40000, 90), (IP, 0))
        assert hearing.recv(1000)[20:22] == b"\3\3"


def _protocols(rig: Rig) -> list[str]:
    """The transports this kernel has sockets of: loading sctp.ko would add one."""
    return [line.split()[0] for line in rig.run("cat", "/proc/net/protocols").splitlines()]


def _sctp_port(number: int) -> dict[str, Any]:
    return {"name": "sig", "protocol": "SCTP", "port": number}


def _sctp_init(source: int, destination: int) -> bytes:
    """An SCTP packet with one INIT chunk (RFC 9260, sections 3.1 and 3.3.2)."""
    chunk = struct.pack(">BBHIIHHI", 1, 0, 20, 1, 65536, 1, 1, 1)
    bare = struct.pack(">HHII", source, destination, 0, 0) + chunk
    return bare[:8] + struct.pack("<I", _crc32c(bare)) + bare[12:]


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
