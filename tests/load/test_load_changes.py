"""Do clients of a service that always has a ready pod notice nothing of what happens to its endpoints?

10,000 random changes of 20 services under traffic; FAIRLEAD_LONG=1 in the environment asks for 100,000. A pod that has
left every service refuses connections, some changes later, as it would when its process has ended.
"""

import json
import os
import random
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from load_network import PORT, TARGET_PORT, Document, Network, a_service, a_slice, pod

from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.drivers.netns import entered
from fairlead.net import Family, parse_address
from fairlead.nft.fields import destination_address
from fairlead.nft.objects import Element, Set, TableFamily
from fairlead.nft.transactions import AddElements, DeleteElements, Transaction

pytestmark = pytest.mark.kernel
CHANGES = 100_000 if os.environ.get("FAIRLEAD_LONG") else 10_000
SERVICES, PODS, MOST = 20, 250, 8
DRAIN = 40
"""How many changes later a pod that nobody leads to any more refuses connections."""
PODS_TABLE = """
table ip pods {
  set away { type ipv4_addr; }
  chain input {
    type filter hook input priority 0
    ct state new ip daddr @away reject with tcp reset
  }
}
"""
AWAY = Set("away", (destination_address(Family.IPV4),))
HERE = Path(__file__).parent


def ip(service: int) -> str:
    return f"10.96.1.{service}"


class World:
    """Twenty services, each with one to eight ready pods, and the pods that are away."""

    def __init__(self, network: Network, chance: random.Random) -> None:
        self._network, self._chance = network, chance
        self.ready = [set(chance.sample(range(PODS), chance.randrange(1, MOST))) for _ in range(SERVICES)]
        self._away: set[int] = set()
        self._leaving: deque[tuple[int, int]] = deque()
        self._turn = 0
        with entered(network.pods):
            self._pods = NftSocket()
            subprocess.run(["nft", "-f", "-"], input=PODS_TABLE, text=True, check=True)
        network.begin(
            [a_service(f"s{number}", ip(number)) for number in range(SERVICES)],
            [self._slice(number) for number in range(SERVICES)],
        )
        self._send_away(set(range(PODS)) - self._wanted())

    def close(self) -> None:
        self._pods.close()

    def change(self) -> None:
        """Give one service other ready pods: one more, one fewer, one in place of another, or wholly others."""
        service = self._chance.randrange(SERVICES)
        old, new = self.ready[service], self._drawn(self.ready[service])
        self._take_back(new)
        self.ready[service] = new
        self._network.hear(self._slice(service))
        self._leaving.extend((self._turn, each) for each in old - new)
        self._turn += 1
        gone: set[int] = set()
        while self._leaving and self._leaving[0][0] < self._turn - DRAIN:
            gone.add(self._leaving.popleft()[1])
        pending = {each for _, each in self._leaving}
        self._send_away(gone - self._wanted() - pending)

    def _drawn(self, old: set[int]) -> set[int]:
        others = sorted(set(range(PODS)) - old)
        match self._chance.choice(("more", "fewer", "exchange", "others")):
            case "more" if len(old) < MOST:
                return old | {self._chance.choice(others)}
            case "fewer" if len(old) > 1:
                return old - {self._chance.choice(sorted(old))}
            case "others":
                return set(self._chance.sample(others, self._chance.randrange(1, MOST)))
            case _:
                return (old - {self._chance.choice(sorted(old))}) | {self._chance.choice(others)}

    def _slice(self, service: int) -> Document:
        return a_slice(f"s{service}", sorted(self.ready[service]))

    def _wanted(self) -> set[int]:
        return set[int]().union(*self.ready)

    def _send_away(self, pods: set[int]) -> None:
        if new := pods - self._away:
            self._away |= new
            self._pods.apply(Transaction(TableFamily.IP, "pods", (AddElements(AWAY, _elements(new)),)))

    def _take_back(self, pods: set[int]) -> None:
        if back := pods & self._away:
            self._away -= back
            self._pods.apply(Transaction(TableFamily.IP, "pods", (DeleteElements(AWAY, _elements(back)),)))


def _elements(pods: set[int]) -> list[Element]:
    return [Element(parse_address(pod(each)).packed) for each in sorted(pods)]


@pytest.fixture
def world(network: Network) -> Iterator[World]:
    world = World(network, random.Random())
    yield world
    world.close()


def programmed(network: Network) -> list[set[str]]:
    """The pods each service leads to, read from the kernel; and the rows are numbered without gaps."""
    table = network.listed()
    backends, frontends = table.sets["backends"].rows, table.sets["frontends"].rows
    assert backends is not None
    assert frontends is not None
    found: list[set[str]] = []
    for number in range(SERVICES):
        start = parse_address(ip(number)).packed
        rows = {key: value for key, value in backends.items() if key.startswith(start)}
        indexes = sorted(int.from_bytes(key[-4:], sys.byteorder) for key in rows)
        assert indexes == list(range(len(rows)))
        (verdict,) = (value for key, value in frontends.items() if key.startswith(start))
        assert str(getattr(verdict, "chain", "")).endswith(f"-{len(rows)}")
        found.append({".".join(map(str, value[:4])) for value in rows.values() if isinstance(value, bytes)})
    return found


def test_random_changes_fail_no_request_and_leave_the_rows_that_the_objects_ask_for(
    network: Network, world: World
) -> None:
    order = {"targets": [f"{ip(each)}:{PORT}" for each in range(SERVICES)], "request": "~?", "answer": "~?"}
    with entered(network.pods):
        serving = subprocess.Popen([sys.executable, HERE / "load_echo.py", str(TARGET_PORT)], stdout=subprocess.PIPE)
    with entered(network.clients):
        dialling = subprocess.Popen(
            [sys.executable, HERE / "load_traffic.py", json.dumps({**order, "workers": 4})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    try:
        assert serving.stdout is not None
        assert dialling.stdout is not None
        assert serving.stdout.readline()
        assert dialling.stdout.readline()
        for _ in range(CHANGES):
            world.change()
        out, _ = dialling.communicate(timeout=20)
    finally:
        for process in (serving, dialling):
            process.kill()
            process.wait()
    told = json.loads(out)
    assert told["failures"] == []
    assert told["made"] > CHANGES / 10
    assert programmed(network) == [{pod(each) for each in ready} for ready in world.ready]
