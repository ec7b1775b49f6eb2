"""Is the kernel ever left between two states when the agent is killed, and does the next one converge?

15 kills; FAIRLEAD_KILLS=50 in the environment asks for 50.
"""

import asyncio
import os
import random
import signal
import sys

import pytest
from agent_machine import Machine, a_service, a_slice

from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.drivers.netns import entered
from fairlead.nft.objects import TableFamily
from fairlead.nft.tables import Rows, TableContents
from fairlead.nft.verdicts import Verdict

pytestmark = pytest.mark.kernel
KILLS = int(os.environ.get("FAIRLEAD_KILLS", "15"))
SERVICES = 30


def rows_of(table: TableContents, name: str) -> Rows:
    rows = table.sets[name].rows
    assert rows is not None
    return rows


def between_two_states(table: TableContents) -> str:
    """What does not fit together in a table; empty when it is one that a transaction leaves."""
    backends = rows_of(table, "backends")
    drawn: set[bytes] = set()
    for key, verdict in rows_of(table, "frontends").items():
        assert isinstance(verdict, Verdict)
        width = int(str(verdict.chain).rpartition("-")[2])
        rows = {key + index.to_bytes(4, sys.byteorder) for index in range(width)}
        if missing := rows - backends.keys():
            return f"{key.hex()} draws one of {width}, and {len(missing)} rows are missing"
        if verdict.chain not in table.chains:
            return f"{key.hex()} leads to {verdict.chain}, which is not there"
        drawn |= rows
    return "" if drawn == backends.keys() else f"{len(backends.keys() - drawn)} rows are drawn by nobody"


class Restless:
    """Changes services and their endpoints without end."""

    def __init__(self, machine: Machine, chance: random.Random) -> None:
        self._machine, self._chance = machine, chance
        self.endpoints: dict[int, list[str]] = {}

    async def change(self) -> None:
        """Give one service other endpoints, or take it away, or bring it back."""
        number = self._chance.randrange(SERVICES)
        name, world = f"s{number}", self._machine.world
        if number in self.endpoints and self._chance.random() < 0.2:
            del self.endpoints[number]
            await world.remove("services", name)
            return
        pods = self._chance.sample(range(2, 250), self._chance.randrange(1, 9))
        if number not in self.endpoints:
            await world.put("services", a_service(name, f"10.96.1.{number}"))
        self.endpoints[number] = [f"10.244.{1 + pod % 2}.{pod}" for pod in pods]
        await world.put("endpointslices", a_slice(name, *self.endpoints[number]))

    async def run(self) -> None:
        while True:
            await self.change()
            await asyncio.sleep(0)

    def addresses(self) -> set[str]:
        """The addresses of all backends there should be, those of the first service included."""
        return {"10.244.1.2", "10.244.2.2", *(each for found in self.endpoints.values() for each in found)}


async def test_the_agent_killed_at_any_moment_leaves_a_whole_state_and_the_next_one_converges(machine: Machine) -> None:
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    restless = Restless(machine, chance)
    with entered(machine.namespace):
        nft = NftSocket()
    for kill in range(KILLS):
        agent = machine.start_agent()
        changing = asyncio.create_task(restless.run())
        await machine.wait_for_log("reason=start", times=kill + 1)
        await asyncio.sleep(chance.random() * 0.2)  # the moment is what is drawn at random
        agent.send_signal(signal.SIGKILL)
        await asyncio.to_thread(agent.wait, 10)
        changing.cancel()
        table = nft.list_table(TableFamily.IP, "fairlead")
        assert table is not None
        assert between_two_states(table) == "", f"seed {seed}, kill {kill}"
    machine.start_agent()
    await machine.wait_for(restless.addresses())
    assert machine.log().count("event=refused") == 0
    nft.close()
