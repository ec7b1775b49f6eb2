"""Does a change in stages wait for its grace periods, and end right whatever the kernel refuses in between?"""

import asyncio
import errno
import threading
from collections.abc import Set as AbstractSet

import pytest

from fairlead.agents.node.tables import Outcome, Table
from fairlead.agents.node.upkeep import Upkeep, Work
from fairlead.drivers import graceperiods
from fairlead.drivers.graceperiods import GracePeriodsBeside
from fairlead.drivers.netlink.nftables import NftError
from fairlead.model import Finding, Origin
from fairlead.nft.objects import TableFamily
from fairlead.nft.tables import TableContents
from fairlead.nft.transactions import FlushChain, Transaction

OBJECT = Origin("NetworkPolicy", "n", "p")


def asking(name: str) -> Transaction:
    return Transaction(TableFamily.IP, "t", (FlushChain(name),))


class StagedTable:
    """A table whose every round is a change in three stages."""

    label, ip_family, family, name = "staged", None, TableFamily.IP, "t"
    synced, outdated = True, False

    def __init__(self) -> None:
        self.pending = False
        self.acknowledged = 0
        self.rounds = 0
        self.held_back: set[Origin] = set()

    def begin(self, listed: TableContents | None) -> Outcome:
        self.pending = False
        if self.held_back:
            return Outcome(transaction=asking("none"))
        return Outcome(transaction=asking("all"))

    def round(self) -> Outcome:
        self.pending = False
        self.rounds += 1
        first, then, last = (asking(f"{word}-{self.rounds}") for word in ("before", "rows", "after"))
        return Outcome(before=first, transaction=then, after=last)

    def programmed(self) -> None:
        self.acknowledged += 1

    def suspects(self) -> AbstractSet[Origin]:
        return {OBJECT}

    def objects(self) -> AbstractSet[Origin]:
        return {OBJECT}

    def withheld(self) -> AbstractSet[Origin]:
        return self.held_back

    def withhold(self, objects: AbstractSet[Origin]) -> None:
        self.held_back |= objects

    def admit(self, objects: AbstractSet[Origin]) -> None:
        self.held_back -= objects


class Record:
    """A kernel that writes down what it is asked, a clock of grace periods, and a witness."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refused_names: set[str] = set()
        self.begun = self.over = self.waited = 0
        self.findings: tuple[Finding, ...] = ()

    def apply(self, transaction: Transaction) -> None:
        for each in transaction.commands:
            assert isinstance(each, FlushChain)
            if each.name in self.refused_names:
                raise NftError(errno.EINVAL, each, "")
            self.asked.append(each.name)

    def list_table(self, family: TableFamily, name: str) -> TableContents | None:
        return None

    def begin(self) -> int:
        self.begun += 1
        return self.begun

    def passed(self, number: int) -> bool:
        return number <= self.over

    def wait(self) -> None:
        self.waited += 1

    def programmed(self, table: Table, work: Work) -> None:
        assert work.outcome.transaction

    def refused(self, table: Table, error: NftError) -> None:
        pass

    def found(self, findings: tuple[Finding, ...]) -> None:
        self.findings += findings


class Scene:
    """An upkeep that has begun, all of it written down."""

    def __init__(self) -> None:
        self.table, self.record = StagedTable(), Record()
        self.upkeep = Upkeep(self.table, self.record, self.record, self.record)
        self.upkeep.attend(0)
        assert self.record.asked == ["all"]
        self.record.asked.clear()

    def change(self) -> None:
        self.table.pending = True
        self.upkeep.attend(1)

    def let_pass(self) -> None:
        self.record.over = self.record.begun
        self.upkeep.attend(1)


def test_each_stage_waits_for_a_grace_period_after_the_one_before() -> None:
    scene = Scene()
    scene.change()
    assert (scene.record.asked, scene.table.acknowledged) == (["before-1"], 1)
    scene.upkeep.attend(1)
    assert scene.record.asked == ["before-1"]
    assert scene.upkeep.next_time() is None
    scene.let_pass()
    assert (scene.record.asked, scene.table.acknowledged) == (["before-1", "rows-1"], 2)
    scene.let_pass()
    assert (scene.record.asked, scene.table.acknowledged) == (["before-1", "rows-1", "after-1"], 2)
    assert scene.record.waited == 0


def test_what_changes_meanwhile_waits_for_the_last_stage_and_follows_at_once() -> None:
    scene = Scene()
    scene.change()
    scene.let_pass()
    scene.change()
    assert scene.record.asked == ["before-1", "rows-1"]
    scene.let_pass()
    assert scene.record.asked == ["before-1", "rows-1", "after-1", "before-2"]


@pytest.mark.parametrize("stage", ["before", "rows", "after"])
def test_a_stage_that_is_refused_gives_the_others_up_and_has_everything_compared(stage: str) -> None:
    scene = Scene()
    scene.record.refused_names.add(f"{stage}-1")
    scene.change()
    for _ in range(3):
        scene.let_pass()
    assert scene.record.asked[-1] == "all"
    assert not any(each.startswith("after") for each in scene.record.asked)
    assert not scene.record.findings


def test_who_is_refused_in_a_later_stage_is_named_and_what_was_begun_is_cleared_away() -> None:
    scene = Scene()
    scene.record.refused_names |= {"all", *(f"rows-{number}" for number in range(9))}
    scene.change()
    scene.let_pass()
    assert {each.origin for each in scene.record.findings} == {OBJECT}
    assert scene.upkeep.left_out == {OBJECT}
    assert scene.record.waited == 1  # a search waits, since it must know the answer
    assert scene.record.asked[-1].startswith("before")
    scene.upkeep.attend(10)
    assert scene.record.asked[-1] == "none"


async def test_a_grace_period_that_is_begun_while_one_passes_needs_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is for packets that may have come after the other one began."""
    entered, may_pass = threading.Semaphore(0), threading.Semaphore(0)

    def pass_when_told() -> None:
        entered.release()
        may_pass.acquire(timeout=20)

    monkeypatch.setattr(graceperiods, "wait_for_grace_period", pass_when_told)
    told = asyncio.Event()
    graces = GracePeriodsBeside(told.set)
    first = graces.begin()
    assert await asyncio.to_thread(entered.acquire, timeout=20)
    second, third = graces.begin(), graces.begin()
    assert not graces.passed(first)
    may_pass.release()
    await asyncio.wait_for(told.wait(), 20)
    assert graces.passed(first)
    assert not graces.passed(second)
    told.clear()
    may_pass.release()
    await asyncio.wait_for(told.wait(), 20)
    assert graces.passed(third)


@pytest.mark.kernel
def test_the_kernel_knows_grace_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(graceperiods.time, "sleep", slept.append)
    graceperiods.wait_for_grace_period()
    assert slept == []


def test_where_the_kernel_refuses_a_long_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(graceperiods.time, "sleep", slept.append)
    monkeypatch.setattr(graceperiods, "_libc", _Refusing())
    graceperiods.wait_for_grace_period()
    assert slept == [graceperiods.LONG_SECONDS]


class _Refusing:
    """A kernel, or a filter of system calls, that knows no membarrier."""

    def syscall(self, *_: object) -> int:
        return -1
