"""Sets and expressions on the real kernel: what is sent is what is listed, and what `nft list ruleset` can read."""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence

import pytest

from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.drivers.netns import entered, new_namespace
from fairlead.net import parse_address
from fairlead.nft.apply import apply_transaction
from fairlead.nft.diff import diff_tables
from fairlead.nft.fields import (
    DESTINATION_IPV4,
    DESTINATION_PORT,
    L4PROTO,
    RANDOM_CHOICE,
    SOURCE_IPV4,
    SOURCE_IPV6,
)
from fairlead.nft.objects import AnySet, Chain, Element, Map, Set, TableFamily, VerdictMap
from fairlead.nft.tables import TableContents
from fairlead.nft.text import write_transaction
from fairlead.nft.transactions import (
    AddChain,
    AddElements,
    AddSet,
    AddTable,
    Command,
    DeleteElements,
    DeleteTable,
    Transaction,
)
from fairlead.nft.verdicts import DROP, goto

pytestmark = pytest.mark.kernel

Nft = Callable[..., str]


def transaction(*commands: Command) -> Transaction:
    return Transaction(TableFamily.IP, "t", commands)


@pytest.fixture(scope="module")
def netns() -> Iterator[int]:
    fd = new_namespace()
    yield fd
    os.close(fd)


@pytest.fixture
def nft_socket(netns: int) -> Iterator[NftSocket]:
    with entered(netns):
        opened = NftSocket()
    with opened:
        opened.apply(transaction(AddTable(), DeleteTable()))
        yield opened


@pytest.fixture
def nft(netns: int) -> Nft:
    """Run the nft command inside the namespace, and return what it prints."""

    def run(*words: str, script: str | None = None) -> str:
        with entered(netns):
            done = subprocess.run(["nft", *words], input=script, text=True, check=True, capture_output=True)
        return done.stdout

    return run


def listed(nft_socket: NftSocket) -> TableContents:
    table = nft_socket.list_table(TableFamily.IP, "t")
    assert table is not None
    return table


def ip(text: str) -> bytes:
    return parse_address(text).packed


def port(number: int) -> bytes:
    return number.to_bytes(2, "big") + bytes(2)


TCP = b"\6\0\0\0"
BLOCKS = Set("blocks", (SOURCE_IPV4,), interval=True)
EVERYTHING = Set("everything", (SOURCE_IPV6,), interval=True)
PORTS = Map("ports", (DESTINATION_PORT,), (DESTINATION_IPV4,), interval=True)
WAYS = VerdictMap("ways", (SOURCE_IPV4,), interval=True)
PEERS = Set("peers", (SOURCE_IPV4, L4PROTO, DESTINATION_PORT), interval=True)
SOURCES = VerdictMap("sources", (DESTINATION_IPV4, SOURCE_IPV4), interval=True)
SINGLE = Set("single", (DESTINATION_PORT,))
RANGES: dict[AnySet, Sequence[Element]] = {
    BLOCKS: [
        Element(ip("10.0.0.0"), end=ip("10.0.0.255")),
        Element(ip("10.0.1.0"), end=ip("10.0.1.255")),
        Element(ip("1.2.3.4")),
        Element(ip("240.0.0.0"), end=ip("255.255.255.255")),
    ],
    EVERYTHING: [Element(bytes(16), end=b"\xff" * 16)],
    PORTS: [
        Element(port(1000), ip("1.1.1.1"), port(2000)),
        Element(port(80), ip("1.1.1.2")),
        Element(port(65535), ip("1.1.1.3")),
    ],
    WAYS: [Element(bytes(4), DROP, ip("0.255.255.255")), Element(ip("10.0.0.0"), goto("c"), ip("10.0.0.77"))],
    PEERS: [
        Element(ip("10.0.0.0") + TCP + port(80), None, ip("10.0.0.255") + TCP + port(90)),
        Element(ip("10.9.0.0") + TCP + port(80)),
    ],
    SOURCES: [Element(ip("10.0.0.1") + ip("10.0.0.0"), goto("c"), ip("10.0.0.1") + ip("10.0.0.77"))],
    SINGLE: [Element(port(80))],
}
FILLED = transaction(
    AddTable(),
    AddChain(Chain("c")),
    *(AddSet(target) for target in RANGES),
    *(AddElements(target, elements) for target, elements in RANGES.items()),
)


def test_ranges_are_listed_as_they_were_sent(nft_socket: NftSocket) -> None:
    nft_socket.apply(FILLED)
    assert listed(nft_socket) == apply_transaction(None, FILLED)


def test_nft_reads_ranges_as_prefixes_and_spans(nft_socket: NftSocket, nft: Nft) -> None:
    nft_socket.apply(FILLED)
    text = " ".join(nft("list", "ruleset").split())
    for words in (
        "typeof ip saddr flags interval elements = { 1.2.3.4, 10.0.0.0/24, 10.0.1.0/24, 240.0.0.0/4 }",
        "typeof ip6 saddr flags interval elements = { ::/0 }",
        "typeof th dport : ip daddr flags interval elements = { 80 : 1.1.1.2, 1000-2000 : 1.1.1.1, 65535 : 1.1.1.3 }",
        "elements = { 0.0.0.0/8 : drop, 10.0.0.0-10.0.0.77 : goto c }",
        "elements = { 10.0.0.0/24 . tcp . 80-90, 10.9.0.0 . tcp . 80 }",
        "elements = { 10.0.0.1 . 10.0.0.0-10.0.0.77 : goto c }",
        "typeof th dport elements = { 80 }",
    ):
        assert words in text


def test_ranges_written_as_text_make_the_same_table(nft_socket: NftSocket, nft: Nft) -> None:
    nft("-f", "-", script=write_transaction(FILLED, tuple(RANGES)))
    by_text = listed(nft_socket)
    nft_socket.apply(transaction(DeleteTable(), *FILLED.commands))
    by_netlink = listed(nft_socket)
    for name, held in by_netlink.sets.items():
        assert by_text.sets[name].rows == held.rows
        assert by_text.sets[name].shape == held.shape


@pytest.mark.parametrize("target", RANGES, ids=lambda target: target.name)
def test_a_range_is_deleted_by_both_its_ends(nft_socket: NftSocket, target: AnySet) -> None:
    nft_socket.apply(FILLED)
    nft_socket.apply(transaction(DeleteElements(target, RANGES[target][:1])))
    wanted = apply_transaction(None, FILLED)
    assert wanted is not None
    after = apply_transaction(wanted, transaction(DeleteElements(target, RANGES[target][:1])))
    assert listed(nft_socket) == after
    nft_socket.apply(transaction(*diff_tables(tuple(RANGES), listed(nft_socket), wanted)))
    assert listed(nft_socket) == wanted


def test_many_ranges_fit_messages_and_come_back(nft_socket: NftSocket) -> None:
    blocks = [Element(ip(f"10.{n >> 8}.{n & 255}.0"), None, ip(f"10.{n >> 8}.{n & 255}.99")) for n in range(3000)]
    sent = transaction(AddTable(), AddSet(BLOCKS), AddElements(BLOCKS, blocks))
    nft_socket.apply(sent)
    assert listed(nft_socket) == apply_transaction(None, sent)


AFFINITY = Map(
    "affinity", (SOURCE_IPV4, RANDOM_CHOICE), (DESTINATION_IPV4, DESTINATION_PORT), timeout=0, dynamic=True, size=1000
)
RECENT = Set("recent", (SOURCE_IPV4,), timeout=10_800_000)
SEEN = Set("seen", (SOURCE_IPV4,), dynamic=True)
STATES = (AFFINITY, RECENT, SEEN)


def test_sets_of_state_keep_their_rows_out_of_the_listing_and_the_difference(nft_socket: NftSocket, nft: Nft) -> None:
    kept = Element(ip("10.0.0.1") + b"\1\0\0\0", ip("1.2.3.4") + port(90), timeout=3_600_000)
    empty = transaction(AddTable(), *(AddSet(target) for target in STATES))
    nft_socket.apply(empty)
    wanted = listed(nft_socket)
    assert wanted == apply_transaction(None, empty)
    nft_socket.apply(
        transaction(
            AddElements(AFFINITY, [kept]),
            AddElements(RECENT, [Element(ip("10.0.0.1")), Element(ip("10.0.0.2"), timeout=5000)]),
        )
    )
    assert listed(nft_socket) == wanted
    assert diff_tables(STATES, listed(nft_socket), wanted) == ()
    text = nft("list", "ruleset")
    assert "10.0.0.1 . 1 timeout 1h expires" in text
    assert ": 1.2.3.4 . 90" in text
    assert "flags dynamic,timeout" in text
    assert "10.0.0.2 timeout 5s" in text
    assert "timeout 3h" in text
