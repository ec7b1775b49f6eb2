"""Does the agent end at the right rows, and never tear down what is right, whatever the API server does to it?"""

import asyncio
import random

import pytest
from agent_machine import Machine, a_slice
from agent_restless import Restless

pytestmark = pytest.mark.kernel


async def test_lists_refused_watches_broken_and_events_told_twice_late_and_as_nonsense_end_at_the_right_rows(
    machine: Machine,
) -> None:
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    restless = Restless(machine, chance)
    machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    machine.world.mischief = chance
    for number in range(400):
        await restless.change()
        await asyncio.sleep(0.001)
        if number % 40 == 0:
            assert {"10.244.1.2", "10.244.2.2"} <= machine.addresses(), f"seed {seed}: {machine.log()}"
    machine.world.mischief = None
    await machine.wait_for(restless.addresses(), seconds=30)
    assert "event=refused" not in machine.log()
    assert "event=waiting" in machine.log()


async def test_a_server_that_is_away_for_long_and_comes_back_with_fewer_revisions_is_followed_again(
    machine: Machine,
) -> None:
    machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    for number in range(20):
        await machine.world.put("endpointslices", a_slice("web", "10.244.1.2", f"10.244.2.{number + 2}"))
    await machine.wait_for({"10.244.1.2", "10.244.2.21"})
    await machine.world.stop()
    await machine.wait_for_log("event=waiting", times=4)
    assert machine.addresses() == {"10.244.1.2", "10.244.2.21"}
    await machine.world.forget()
    await machine.world.put("endpointslices", a_slice("web", "10.244.1.3"))
    await machine.world.start()
    await machine.wait_for({"10.244.1.3"}, seconds=30)
