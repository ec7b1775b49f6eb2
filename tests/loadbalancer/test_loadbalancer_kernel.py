"""Does Linux take what the load-balancer host and the way back are made of, and give it back as it was written?"""

import errno
import os
import subprocess
from collections.abc import Iterator

import pytest

from fairlead.agents.node.returning import ReturnHost, ReturnPath, parse_return_host
from fairlead.drivers.netlink.links import LinkError, LinkSocket, add_local, add_rule, remove_local
from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.drivers.netns import entered, new_namespace
from fairlead.net import Family, Prefix, parse_address
from fairlead.nft.objects import TableFamily
from fairlead.render.return_path import TABLE, return_table

pytestmark = pytest.mark.kernel
HARDWARE = bytes.fromhex("525400123456")


@pytest.fixture
def host() -> Iterator[int]:
    """A namespace with a link `eth0` to nobody, 192.0.2.5 and 2001:db8::5."""
    namespace = new_namespace()
    run(namespace, "link set lo up", "link add eth0 type veth peer name far", "link set eth0 up", "link set far up")
    run(namespace, "address add 192.0.2.5/24 dev eth0", "address add 2001:db8::5/64 dev eth0 nodad")
    yield namespace
    os.close(namespace)


def run(namespace: int, *commands: str) -> str:
    with entered(namespace):
        told = [subprocess.run(["ip", *each.split()], check=True, capture_output=True, text=True) for each in commands]
    return "".join(each.stdout for each in told)


@pytest.mark.parametrize("text", ["203.0.113.1", "2001:db8:1::1"])
def test_an_address_is_taken_listed_and_given_up(host: int, text: str) -> None:
    address = parse_address(text)
    single = Prefix(address, 8 * address.family.size)
    with entered(host):
        links = LinkSocket()
    links.apply([add_local(single), add_local(single)])
    assert links.local_addresses() == (address,)
    assert f"local {text}" in run(host, f"route get {text}")
    links.apply([remove_local(single)])
    assert links.local_addresses() == ()
    links.close()


@pytest.mark.parametrize("family", list(Family))
def test_a_routing_rule_is_there_once(host: int, family: Family) -> None:
    with entered(host):
        links = LinkSocket()
    links.apply([add_rule(family, mark=0x2000, table=7472)])
    with pytest.raises(LinkError) as refused:
        links.apply([add_rule(family, mark=0x2000, table=7472)])
    assert refused.value.code == errno.EEXIST
    shown = run(host, "rule" if family is Family.IPV4 else "-6 rule")
    assert "fwmark 0x2000/0x2000 lookup 7472" in shown
    links.close()


@pytest.mark.parametrize("family", list(Family))
def test_the_table_of_the_way_back_reads_as_it_was_written(host: int, family: Family) -> None:
    through = parse_address("192.0.2.9" if family is Family.IPV4 else "2001:db8::9")
    with entered(host), NftSocket() as nft:
        path = ReturnPath((ReturnHost(through, HARDWARE),), nft)
        path.apply()
        wanted = return_table(family, [HARDWARE])
        assert nft.list_table(TableFamily.of(family), TABLE) == wanted
        listed = subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout
        assert "ether saddr 52:54:00:12:34:56 ct state new ct label set 77" in listed
        assert "ct direction reply ct label 77 meta mark set meta mark | 0x00002000" in listed
        word = "ip" if family is Family.IPV4 else "ip6"
        subprocess.run(["nft", "flush", "table", word, TABLE], check=True)
        path.apply()
        assert nft.list_table(TableFamily.of(family), TABLE) == wanted, "what somebody flushed is mended"
    shown = run(host, f"{'' if family is Family.IPV4 else '-6 '}route show table 7472")
    assert f"default via {through} dev eth0" in shown


def test_a_host_on_no_link_is_said_and_stops_nobody(host: int, capsys: pytest.CaptureFixture[str]) -> None:
    with entered(host), NftSocket() as nft:
        ReturnPath((ReturnHost(parse_address("198.51.100.9"), HARDWARE),), nft).apply()
    assert "event=refused table=fairlead-return" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["192.0.2.9", "192.0.2.9=52:54", "nonsense=52:54:00:12:34:56", "192.0.2.9=zz:54:00:12:34:56"]
)
def test_what_names_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"192|nonsense|non-hexadecimal"):
        parse_return_host(text)


def test_a_host_is_named_by_address_and_hardware() -> None:
    assert parse_return_host("192.0.2.9=52:54:00:12:34:56") == ReturnHost(parse_address("192.0.2.9"), HARDWARE)
