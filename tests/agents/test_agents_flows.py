"""Are the UDP flows of a real kernel ended in exactly the cases kube-proxy ends them, in both families?"""

import errno
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest
from agent_objects import a_node, a_service, a_slice
from msgspec.structs import replace

from fairlead.agents.node.flows import FlowCleaning
from fairlead.agents.node.metrics import Counts, exposition
from fairlead.agents.node.objects import ServiceObjects
from fairlead.agents.node.services import ServiceSettings, ServiceTable
from fairlead.agents.node.staleness import Answerers
from fairlead.agents.node.tables import Table
from fairlead.agents.node.upkeep import Upkeep, Work
from fairlead.drivers.kubeapi import Applied, Deleted, Replaced
from fairlead.drivers.netlink.conntrack import ConntrackSocket
from fairlead.drivers.netlink.nftables import NftError, NftSocket
from fairlead.drivers.netns import entered, new_namespace, open_socket
from fairlead.kube.core import Service
from fairlead.model import Finding
from fairlead.net import Family, Port, parse_address

pytestmark = pytest.mark.kernel
KIND = {
    Family.IPV4: (socket.AF_INET, socket.SOCK_STREAM),
    Family.IPV6: (socket.AF_INET6, socket.SOCK_STREAM),
}
SETS = {
    Family.IPV4: ("10.244.1.1/24", "10.96.0.0/16", "10.96.0.53", "10.244.1.52", "10.244.1.53", "172.18.0.2"),
    Family.IPV6: ("fd00:1::1/64", "fd00:96::/112", "fd00:96::53", "fd00:1::52", "fd00:1::53", "fd00:18::2"),
}


class Deaf:
    def programmed(self, table: Table, work: Work) -> None: ...
    def refused(self, table: Table, error: NftError) -> None: ...
    def found(self, findings: tuple[Finding, ...]) -> None: ...


class Place:
    """A namespace whose pods nobody answers for, a UDP service, and what keeps its rows."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.inside, services, self.vip, self.first, self.second, self.node = SETS[family]
        self.namespace = new_namespace()
        dot6 = ("-6",) if family is Family.IPV6 else ()
        with entered(self.namespace):
            for words in (
                ("link", "add", "pods", "type", "veth", "peer", "name", "others"),
                ("link", "set", "others", "up"),
                ("address", "add", self.inside, "dev", "pods", *(("nodad",) if dot6 else ())),
                ("link", "set", "pods", "up"),
                (*dot6, "route", "add", services, "dev", "pods"),
                ("address", "add", f"{self.node}/{128 if dot6 else 32}", "dev", "pods"),
            ):
                subprocess.run(["ip", *words], check=True)
            self.nft, self.conntrack = NftSocket(), ConntrackSocket()
        self.objects = ServiceObjects("node-1")
        table = ServiceTable(self.objects, family, ServiceSettings(), self._forget)
        self.upkeep = Upkeep(table, self.nft, Deaf())
        self.counts = Counts()
        self.cleaning = FlowCleaning(self.counts)
        cidr = "fd00:1::/64" if dot6 else "10.244.1.0/24"
        self.objects.take_pods(Replaced(()))
        self.objects.take_nodes(Replaced((a_node(self.node, cidrs=(cidr,)),)))
        self.objects.take_services(Replaced((self.service(),)))
        self.objects.take_slices(Replaced(()))
        self.upkeep.attend(0.0)

    def _forget(self, family: Family, answerers: Answerers) -> None:
        with entered(self.namespace):
            self.cleaning.forget(family, answerers)

    def service(self) -> Service:
        service = a_service("dns", self.vip, 30053, port=53)
        ports = tuple(replace(port, protocol="UDP") for port in service.spec.ports)
        return replace(service, spec=replace(service.spec, ports=ports))

    def endpoints(self, *addresses: str, port: int = 8053) -> None:
        piece = a_slice("dns-1", "dns", *addresses)
        family = self.family.value
        ports = tuple(replace(each, port=port, protocol="UDP") for each in piece.ports)
        kept = self.objects.keep_slice(replace(piece, ports=ports, address_type=family))
        self.objects.take_slices(Applied(kept))
        self.upkeep.attend(1.0)

    def send(self, source_port: int, address: str, port: int = 53) -> None:
        kind = socket.AF_INET if self.family is Family.IPV4 else socket.AF_INET6
        with open_socket(self.namespace, kind, socket.SOCK_DGRAM) as sender:
            sender.bind((self.inside.split("/")[0], source_port))
            sender.sendto(b"x", (address, port))

    def answerers(self) -> set[str]:
        return {f"{flow.answerer} {flow.answerer_port}" for flow in self.conntrack.udp_flows(self.family)}

    def close(self) -> None:
        self.nft.close()
        self.conntrack.close()
        os.close(self.namespace)


@pytest.fixture(params=list(Family), ids=lambda family: family.value)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    place = Place(request.param)
    yield place
    place.close()


def test_a_flow_to_an_endpoint_that_went_is_ended_and_one_to_an_endpoint_that_stays_is_kept(place: Place) -> None:
    place.endpoints(place.first)
    place.send(5001, place.vip)
    place.endpoints(place.first, place.second)
    assert place.answerers() == {f"{place.first} 8053"}
    place.endpoints(place.second)
    assert place.answerers() == set()
    place.send(5001, place.vip)
    assert place.answerers() == {f"{place.second} 8053"}
    page = exposition(place.counts)[0].decode().splitlines()
    of = f'{{ip_family="{place.family.value}"}}'
    assert f"kubeproxy_conntrack_reconciler_sync_duration_seconds_count{of} 3.0" in page
    assert f"kubeproxy_conntrack_reconciler_deleted_entries_total{of} 1.0" in page


def test_a_flow_to_a_service_that_had_no_endpoints_is_ended_by_its_first(place: Place) -> None:
    blackhole = Service(metadata=place.service().metadata)
    place.objects.take_services(Deleted(blackhole))
    place.upkeep.attend(1.0)  # without the service nothing refuses, and the packet leaves for nowhere
    place.send(5001, place.vip)
    place.objects.take_services(Applied(place.service()))
    assert place.answerers() == {f"{place.vip} 53"}
    place.endpoints(place.first)
    assert place.answerers() == set()


def test_a_flow_to_the_old_target_port_is_ended(place: Place) -> None:
    place.endpoints(place.first)
    place.send(5001, place.vip)
    place.send(5002, place.node, 30053)
    assert place.answerers() == {f"{place.first} 8053"}
    place.endpoints(place.first, port=9053)
    assert place.answerers() == set()


def test_flows_of_a_service_without_endpoints_or_that_is_gone_are_left_alone(place: Place) -> None:
    place.endpoints(place.first)
    place.send(5001, place.vip)
    place.endpoints()
    assert place.answerers() == {f"{place.first} 8053"}
    place.objects.take_services(Deleted(place.service()))
    place.upkeep.attend(2.0)
    assert place.answerers() == {f"{place.first} 8053"}


def test_the_kernel_lists_only_what_was_asked_for(place: Place) -> None:
    place.endpoints(place.first, place.second)
    place.send(5001, place.vip)
    place.send(5002, place.node, 30053)
    with open_socket(place.namespace, *KIND[place.family]) as dialling:
        dialling.connect_ex((place.second, 9))  # a TCP connection that nobody answers
    listed = place.conntrack.udp_flows(place.family)
    assert {flow.destination_port for flow in listed} == {53, 30053}
    (one,) = place.conntrack.udp_flows(place.family, (parse_address(place.vip), Port(53)))
    assert (str(one.destination), one.destination_port) == (place.vip, 53)
    assert place.conntrack.udp_flows(place.family, (parse_address(place.vip), Port(54))) == []


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


class Interrupted:
    """A netlink socket on which a listing of one flow is interrupted."""

    def __init__(self, *_: object) -> None:
        addresses = attribute(1, bytes((10, 244, 1, 9))) + attribute(2, bytes((10, 96, 0, 53)))
        ports = attribute(1, b"\x11") + attribute(2, b"\x13\x89") + attribute(3, b"\x00\x35")
        ends = attribute(0x8001, addresses) + attribute(0x8002, ports)
        flow = bytes(4) + attribute(0x8001, ends) + attribute(0x8002, ends)
        failed = (-errno.EINTR).to_bytes(4, sys.byteorder, signed=True)
        self._data = b"".join(
            struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 0) + body for kind, body in ((0x100, flow), (2, failed))
        )

    def bind(self, address: object) -> None: ...
    def send(self, data: bytes) -> None: ...

    def recv(self, size: int) -> bytes:
        return self._data


def test_a_listing_that_is_interrupted_gives_what_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairlead.drivers.netlink.conntrack.socket.socket", Interrupted)
    (flow,) = ConntrackSocket().udp_flows(Family.IPV4)
    assert (str(flow.destination), flow.destination_port) == ("10.96.0.53", 53)
