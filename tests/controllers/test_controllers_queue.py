"""The keyed queue: once at a time, again when asked meanwhile, later after errors."""

import asyncio
import time

from fairlead.cluster.controllers.queue import WorkQueue


async def test_a_key_added_often_is_handed_out_once() -> None:
    queue = WorkQueue[str]()
    for _ in range(5):
        queue.add("a")
    queue.add("b")
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert len(queue) == 2


async def test_a_key_added_while_it_is_worked_on_comes_again_afterwards() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    await queue.get()
    queue.add("a")
    waiting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.done("a")
    assert await asyncio.wait_for(waiting, 1) == "a"


async def test_failures_in_a_row_wait_twice_as_long_each_time_until_forgotten() -> None:
    queue = WorkQueue[str]()
    assert [queue.retry("a") for _ in range(4)] == [0.005, 0.01, 0.02, 0.04]
    queue.forget("a")
    assert queue.retry("a") == 0.005
    assert await asyncio.wait_for(queue.get(), 1) == "a"


async def test_of_several_delays_the_earliest_counts() -> None:
    queue = WorkQueue[str]()
    queue.add_after("a", 60)
    queue.add_after("a", 0.001)
    queue.add_after("a", 60)
    assert await asyncio.wait_for(queue.get(), 1) == "a"


async def test_a_busy_key_rests_and_then_comes_without_being_lost() -> None:
    queue = WorkQueue[str](rest=1.0, longest_rest=0.05)
    queue.add("a")
    await queue.get()
    time.sleep(0.02)  # noqa: ASYNC251 - the length of the round is what the rest is measured by
    queue.done("a")
    ended = asyncio.get_running_loop().time()
    queue.add("a")
    assert len(queue) == 0
    assert await asyncio.wait_for(queue.get(), 1) == "a"
    assert asyncio.get_running_loop().time() - ended >= 0.015
