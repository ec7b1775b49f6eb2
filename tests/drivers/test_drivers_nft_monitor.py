"""Does the monitor hear of others, and only of others?"""

import os
import select
import subprocess
from collections.abc import Iterator

import pytest

from fairlead.drivers.netlink.monitor import RulesetMonitor, Touched
from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.drivers.netns import entered, new_namespace
from fairlead.nft.objects import Chain, TableFamily
from fairlead.nft.transactions import AddChain, AddTable, Transaction

pytestmark = pytest.mark.kernel
IP = int(TableFamily.IP)


class Place:
    """A namespace with our socket, a monitor, and somebody else's nft."""

    def __init__(self) -> None:
        self.namespace = new_namespace()
        with entered(self.namespace):
            self.mine = NftSocket()
            self.monitor = RulesetMonitor(self.mine.port)

    def others(self, *words: str, script: str = "") -> None:
        with entered(self.namespace):
            subprocess.run(["nft", *(words or ("-f", "-"))], input=script, text=True, check=True)

    def heard(self) -> Touched:
        """The kernel has told before the writer's command returns; waiting is for a slow machine."""
        select.select([self.monitor], [], [], 5)
        return self.monitor.read()

    def close(self) -> None:
        self.mine.close()
        self.monitor.close()
        os.close(self.namespace)


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.close()


def test_others_are_heard_with_their_name_and_table(place: Place) -> None:
    place.others("add", "table", "ip", "fairlead")
    assert place.heard() == Touched(frozenset({(IP, "fairlead")}), frozenset({"nft"}))
    place.others("add", "table", "inet", "strange")
    place.others("add", "set", "ip", "fairlead", "s", "{ type ipv4_addr; }")
    place.others("add", "element", "ip", "fairlead", "s", "{ 10.0.0.1 }")
    place.others("delete", "element", "ip", "fairlead", "s", "{ 10.0.0.1 }")
    assert place.heard().tables == {(1, "strange"), (IP, "fairlead")}
    place.others("add", "chain", "ip", "fairlead", "c")
    place.others("add", "rule", "ip", "fairlead", "c", "counter")
    assert place.heard().tables == {(IP, "fairlead")}
    place.others("flush", "ruleset")
    assert (IP, "fairlead") in place.heard().tables


def test_our_own_transactions_are_not_heard_and_others_after_them_are(place: Place) -> None:
    place.mine.apply(Transaction(TableFamily.IP, "fairlead", (AddTable(), AddChain(Chain("mine")))))
    assert place.monitor.read() == Touched()
    place.others("add", "chain", "ip", "fairlead", "theirs")
    assert place.heard().tables == {(IP, "fairlead")}


def test_more_than_the_buffer_holds_is_told_as_lost_and_the_next_is_heard_again(place: Place) -> None:
    elements = ",".join(f"10.{a}.{b}.{c}" for a in range(4) for b in range(100) for c in range(100))
    place.others(script=f"table ip strange {{ set s {{ type ipv4_addr; elements = {{ {elements} }}\n}}\n}}")
    heard: list[Touched] = []
    while select.select([place.monitor], [], [], 0)[0]:
        heard.append(place.monitor.read())
    assert any(each.lost for each in heard)
    place.others("add", "table", "ip", "fairlead")
    assert (IP, "fairlead") in place.heard().tables
