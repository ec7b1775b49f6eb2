"""rtnetlink against the kernel: what was asked for is there, and a refusal names the request."""

import errno
import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from fairlead.drivers.netlink.links import (
    LOOPBACK,
    LinkError,
    LinkSocket,
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
from fairlead.drivers.netns import entered, new_namespace
from fairlead.net import parse_address, parse_prefix

pytestmark = pytest.mark.kernel

ONE, TWO = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"


class Place:
    def __init__(self) -> None:
        self.netns = new_namespace()
        with entered(self.netns):
            self.links = LinkSocket()

    def ip(self, *words: str) -> str:
        with entered(self.netns):
            shown = subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout
        return " ".join(shown.split())

    def close(self) -> None:
        self.links.close()
        os.close(self.netns)


@pytest.fixture
def here() -> Iterator[Place]:
    place = Place()
    yield place
    place.close()


@pytest.fixture
def there() -> Iterator[Place]:
    place = Place()
    yield place
    place.close()


def names(place: Place) -> list[str]:
    return [link.name for link in place.links.links()]


def test_a_pair_has_each_end_in_its_namespace_with_index_and_hardware_address(here: Place, there: Place):
    far = VethEnd(index=40, name="far", mac=TWO, netns=there.netns)
    here.links.apply([create_veth(VethEnd(index=30, name="near", mac=ONE), far)])
    assert [(link.index, link.name, link.up) for link in here.links.links()] == [(1, "lo", False), (30, "near", True)]
    assert [(link.index, link.name, link.up) for link in there.links.links()] == [(1, "lo", False), (40, "far", False)]
    assert "02:00:00:00:00:01" in here.ip("link", "show", "near")
    assert "02:00:00:00:00:02" in there.ip("link", "show", "far")


def test_a_link_carries_packets_once_its_other_end_is_up_too(here: Place, there: Place):
    far = VethEnd(index=40, name="far", mac=TWO, netns=there.netns)
    here.links.apply([create_veth(VethEnd(index=30, name="near", mac=ONE), far)])
    assert not here.links.carries(30)
    there.links.apply([set_up(40)])
    deadline = time.monotonic() + 5
    while not here.links.carries(30):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    with pytest.raises(LinkError, match="show interface 31: No such device"):
        here.links.carries(31)


def test_a_bridge_has_its_ports(here: Place, there: Place):
    far = VethEnd(index=2, name="eth0", mac=TWO, netns=there.netns)
    port = VethEnd(index=31, name="port", mac=ONE, master=30)
    here.links.apply([create_bridge(30, "br", TWO), create_veth(port, far)])
    there.links.apply([set_up(2)])
    shown = here.ip("-d", "link", "show", "port")
    assert "master br" in shown
    assert "bridge_slave state forwarding" in shown
    assert "mcast_snooping 0" in here.ip("-d", "link", "show", "br")


@pytest.mark.parametrize(
    ("own", "peer", "everything"),
    [("10.244.1.2", "169.254.1.1", "0.0.0.0/0"), ("fd00::2", "fe80::1", "::/0")],
)
def test_address_neighbour_and_default_route_of_both_families(here: Place, own: str, peer: str, everything: str):
    address, gateway = parse_address(own), parse_address(peer)
    ends = VethEnd(index=2, name="eth0", mac=ONE), VethEnd(index=3, name="other", mac=TWO)
    here.links.apply(
        [
            create_veth(*ends),
            set_up(3),
            add_address(2, address, 8 * address.family.size),
            add_neighbour(2, gateway, TWO),
            add_route(parse_prefix(everything), interface=2, via=gateway),
        ]
    )
    family = "-4" if "." in own else "-6"
    assert f" {own}/" in here.ip(family, "addr", "show", "eth0")
    assert "tentative" not in here.ip("addr", "show", "dev", "eth0", "to", own)
    assert here.ip(family, "route", "show", "default").startswith(f"default via {peer} dev eth0")
    assert "02:00:00:00:00:02 PERMANENT" in here.ip("neigh", "show", peer)


def test_routes_to_hosts_and_to_nowhere_come_and_go(here: Place):
    network = parse_prefix("10.244.1.0/24")
    here.links.apply(
        [
            set_up(LOOPBACK),
            add_route(parse_prefix("10.244.1.2"), interface=LOOPBACK, source=parse_address("127.0.0.1")),
            add_unreachable(network),
        ]
    )
    assert here.ip("route").split(" ")[:2] == ["unreachable", "10.244.1.0/24"]
    assert "10.244.1.2 dev lo proto static scope link src 127.0.0.1" in here.ip("route")
    here.links.apply([remove_route(network), remove_route(parse_prefix("10.244.1.2"))])
    assert here.ip("route") == ""


def test_a_route_that_is_there_is_replaced(here: Place):
    prefix = parse_prefix("10.244.1.0/24")
    here.links.apply([set_up(LOOPBACK), add_route(prefix, interface=LOOPBACK)])
    here.links.apply([add_route(prefix, interface=LOOPBACK, source=parse_address("127.0.0.1"))])
    assert "src 127.0.0.1" in here.ip("route")


def test_link_local_addresses_can_be_kept_away(here: Place):
    first = VethEnd(index=2, name="with", mac=ONE), VethEnd(index=3, name="bare", mac=TWO)
    here.links.apply([create_veth(*first), without_link_local(3), set_up(3)])
    assert "fe80" in here.ip("-6", "addr", "show", "with")
    assert here.ip("-6", "addr", "show", "bare") == ""


def test_removing_one_end_removes_the_other(here: Place, there: Place):
    far = VethEnd(index=2, name="eth0", mac=TWO, netns=there.netns)
    here.links.apply([create_veth(VethEnd(index=30, name="near", mac=ONE), far)])
    here.links.apply([remove_link("near")])
    assert names(here) == names(there) == ["lo"]


def test_a_refusal_names_the_first_request_and_the_rest_is_done(here: Place):
    with pytest.raises(LinkError, match="remove the interface nobody: No such device") as refusal:
        here.links.apply([remove_link("nobody"), remove_link("neither"), set_up(LOOPBACK)])
    assert refusal.value.code == errno.ENODEV
    assert here.links.links()[0].up


def test_the_kernels_own_words_are_passed_on(here: Place):
    gateway = add_route(parse_prefix("10.0.0.0/8"), interface=77)
    with pytest.raises(LinkError) as refusal:
        here.links.apply([gateway])
    assert "route 10.0.0.0/8 over interface 77" in refusal.value.message
    assert refusal.value.code == errno.ENODEV


def test_more_requests_than_the_receive_buffer_has_answers_for(here: Place):
    here.links.apply([set_up(LOOPBACK)])
    first = parse_address("127.1.0.0")
    here.links.apply([add_address(LOOPBACK, first + number, 32) for number in range(1000)])
    assert here.ip("addr", "show", "lo").count("inet 127.1.") == 1000


def test_many_links_are_all_listed(here: Place):
    for number in range(0, 400, 2):
        ends = (VethEnd(index=10 + number + end, name=f"v{number + end}", mac=ONE) for end in (0, 1))
        here.links.apply([create_veth(*ends)])
    assert len(names(here)) == 401
