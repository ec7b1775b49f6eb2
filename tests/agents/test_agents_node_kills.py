"""Is the kernel ever left between two states when the agent is killed, and does the next one converge?

15 kills; FAIRLEAD_KILLS=50 in the environment asks for 50.
"""

import asyncio
import os
import random
import signal
import sys

import pytest
from agent_machine import Machine
from agent_restless import Restless

from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.drivers.netns import entered
from fairlead.nft.objects import TableFamily
from fairlead.nft.tables import Rows, TableContents
from fairlead.nft.verdicts import Verdict

pytestmark = pytest.mark.kernel
KILLS = int(os.environ.get("FAIRLEAD_KILLS", "15"))


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
