"""Does one object that the kernel refuses leave all others programmed, and is it named?

The same tests run against a table held as a value and against Linux: both get transactions in which the verdicts of
some addresses lead to a chain that is not there.
"""

import errno
import os
from collections.abc import Iterator
from typing import Protocol

import pytest
from agent_objects import a_node, a_service, a_slice
from msgspec.structs import replace

from fairlead.agents.node.objects import ServiceObjects
from fairlead.agents.node.services import ServiceSettings, ServiceTable
from fairlead.agents.node.staleness import Answerers
from fairlead.agents.node.tables import Table
from fairlead.agents.node.upkeep import COMPARE_SECONDS, LEFT_OUT_SECONDS, Upkeep, Work
from fairlead.drivers.kubeapi import Applied, Replaced
from fairlead.drivers.netlink.nftables import NftError, NftSocket
from fairlead.drivers.netns import entered, new_namespace
from fairlead.model import Finding
from fairlead.net import Family, parse_address
from fairlead.nft.apply import RefusedError, apply_transaction
from fairlead.nft.objects import Element, TableFamily, VerdictMap
from fairlead.nft.tables import TableContents
from fairlead.nft.transactions import AddElements, Command, ReplaceElements, Transaction
from fairlead.nft.verdicts import goto


class Kernel(Protocol):
    def apply(self, transaction: Transaction) -> None: ...
    def list_table(self, family: TableFamily, name: str) -> TableContents | None: ...


class HeldKernel:
    """Tables as values."""

    def __init__(self) -> None:
        self.table: TableContents | None = None

    def apply(self, transaction: Transaction) -> None:
        try:
            self.table = apply_transaction(self.table, transaction)
        except RefusedError as error:
            raise NftError(error.number, error.command, "") from error

    def list_table(self, family: TableFamily, name: str) -> TableContents | None:
        return self.table


class PickyKernel:
    """A kernel that refuses what has to do with some addresses, and everything while `broken`."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.disliked: set[str] = set()
        self.broken = 0
        self.applied = 0

    def apply(self, transaction: Transaction) -> None:
        if self.broken:
            raise NftError(self.broken, None, "")
        self.applied += 1
        self._kernel.apply(replace(transaction, commands=tuple(map(self._spoil, transaction.commands))))

    def list_table(self, family: TableFamily, name: str) -> TableContents | None:
        return self._kernel.list_table(family, name)

    def _spoil(self, command: Command) -> Command:
        if isinstance(command, AddElements | ReplaceElements) and isinstance(command.set, VerdictMap):
            return replace(command, elements=[self._spoilt(element) for element in command.elements])
        return command

    def _spoilt(self, element: Element) -> Element:
        packed = tuple(parse_address(address).packed for address in self.disliked)
        return replace(element, value=goto("nowhere")) if packed and element.key.startswith(packed) else element


class Ears:
    """Hears what an upkeep says."""

    def __init__(self) -> None:
        self.work: list[Work] = []
        self.errors: list[NftError] = []
        self.findings: list[Finding] = []

    def programmed(self, table: Table, work: Work) -> None:
        self.work.append(work)

    def refused(self, table: Table, error: NftError) -> None:
        self.errors.append(error)

    def found(self, findings: tuple[Finding, ...]) -> None:
        self.findings += findings


def _ignore(family: Family, answerers: Answerers) -> None:
    """Nobody here has flows."""


class Bench:
    """A service table of some services, kept in a picky kernel."""

    def __init__(self, kernel: Kernel, services: int) -> None:
        self.kernel = PickyKernel(kernel)
        self.objects = ServiceObjects("node-1")
        self.table = ServiceTable(self.objects, Family.IPV4, ServiceSettings(), _ignore)
        self.ears = Ears()
        self.upkeep = Upkeep(self.table, self.kernel, self.ears)
        numbers = range(1, services + 1)
        pieces = (self.objects.keep_slice(a_slice(f"s{n}", f"svc-{n}", f"10.244.1.{n}")) for n in numbers)
        self.objects.take_services(Replaced(tuple(a_service(f"svc-{n}", f"10.96.0.{n}") for n in numbers)))
        self.objects.take_slices(Replaced(tuple(pieces)))
        self.objects.take_pods(Replaced(()))
        self.objects.take_nodes(Replaced((a_node(),)))

    def put(self, number: int, *addresses: str) -> None:
        self.objects.take_slices(Applied(self.objects.keep_slice(a_slice(f"s{number}", f"svc-{number}", *addresses))))

    def programmed(self) -> set[int]:
        """The last byte of each address that has a frontend in the kernel."""
        listed = self.kernel.list_table(TableFamily.IP, "fairlead")
        assert listed is not None
        rows = listed.sets["frontends"].rows
        assert rows is not None
        return {key[3] for key in rows}

    def accused(self) -> set[str]:
        return {finding.origin.name for finding in self.ears.findings}


@pytest.fixture(params=["value", pytest.param("linux", marks=pytest.mark.kernel)])
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    if request.param == "value":
        yield HeldKernel()
        return
    namespace = new_namespace()
    with entered(namespace):
        real = NftSocket()
    yield real
    real.close()
    os.close(namespace)


def test_who_is_refused_at_the_start_is_named_and_all_others_are_programmed(kernel: Kernel) -> None:
    bench = Bench(kernel, 40)
    bench.kernel.disliked = {"10.96.0.7", "10.96.0.31"}
    bench.upkeep.attend(0.0)
    assert bench.programmed() == set(range(1, 41)) - {7, 31}
    assert bench.accused() == {"svc-7", "svc-31"}
    assert {origin.name for origin in bench.upkeep.left_out} == {"svc-7", "svc-31"}
    assert bench.kernel.applied < 40


def test_who_is_refused_later_is_named_and_changes_in_the_same_round_are_programmed(kernel: Kernel) -> None:
    bench = Bench(kernel, 10)
    bench.upkeep.attend(0.0)
    bench.kernel.disliked = {"10.96.0.3"}
    for number in (2, 3, 4):
        bench.put(number, "10.244.2.1", "10.244.2.2")
    bench.upkeep.attend(1.0)
    assert bench.programmed() == set(range(1, 11)) - {3}
    assert bench.accused() == {"svc-3"}
    assert len(bench.table.machine.frontends()) == 9


def test_who_is_left_out_is_tried_again_when_it_changes(kernel: Kernel) -> None:
    bench = Bench(kernel, 5)
    bench.kernel.disliked = {"10.96.0.3"}
    bench.upkeep.attend(0.0)
    bench.kernel.disliked = set()
    bench.put(3, "10.244.3.1")
    bench.upkeep.attend(1.0)
    assert bench.programmed() == {1, 2, 3, 4, 5}
    assert not bench.upkeep.left_out


def test_who_is_left_out_is_tried_again_now_and_then(kernel: Kernel) -> None:
    bench = Bench(kernel, 5)
    bench.kernel.disliked = {"10.96.0.3", "10.96.0.4"}
    bench.upkeep.attend(0.0)
    bench.kernel.disliked = {"10.96.0.4"}
    assert bench.upkeep.next_time() == LEFT_OUT_SECONDS
    bench.upkeep.attend(LEFT_OUT_SECONDS)
    assert bench.programmed() == {1, 2, 3, 5}
    assert {origin.name for origin in bench.upkeep.left_out} == {"svc-4"}
    assert bench.upkeep.next_time() == 2 * LEFT_OUT_SECONDS


def test_a_refusal_that_is_nobodys_fault_is_waited_out_and_nobody_accused(kernel: Kernel) -> None:
    bench = Bench(kernel, 5)
    bench.upkeep.attend(0.0)
    bench.kernel.broken = errno.ENOMEM
    bench.put(3, "10.244.3.1")
    bench.upkeep.attend(10.0)
    assert bench.programmed() == {1, 2, 3, 4, 5}
    assert bench.upkeep.next_time() == 11.0
    bench.kernel.broken = 0
    bench.upkeep.attend(10.5)
    assert bench.table.suspects()
    bench.upkeep.attend(11.0)
    assert not bench.table.suspects()
    assert not bench.ears.findings


def test_when_even_an_empty_table_is_refused_nobody_is_accused(kernel: Kernel) -> None:
    bench = Bench(kernel, 5)
    bench.kernel.broken = errno.EINVAL
    bench.upkeep.attend(0.0)
    assert not bench.ears.findings
    bench.kernel.broken = 0
    bench.upkeep.attend(1.0)
    assert bench.programmed() == {1, 2, 3, 4, 5}


def test_a_table_that_is_right_is_compared_each_hour_and_left_alone(kernel: Kernel) -> None:
    bench = Bench(kernel, 5)
    bench.upkeep.attend(0.0)
    assert bench.upkeep.next_time() == COMPARE_SECONDS
    applied = bench.kernel.applied
    bench.upkeep.attend(COMPARE_SECONDS)
    assert bench.ears.work[-1].reason == "hourly"
    assert bench.kernel.applied == applied
    bench.upkeep.doubt("touched")
    bench.upkeep.attend(COMPARE_SECONDS + 10)
    assert bench.kernel.applied == applied


def test_a_table_too_large_to_be_listed_is_not_made_anew_each_hour_but_when_somebody_wrote_into_it() -> None:
    held = HeldKernel()
    bench = Bench(held, 5)
    bench.upkeep.attend(0.0)
    assert held.table is not None
    right = held.table.sets["backends"].rows
    held.table.sets["backends"].rows = None
    applied = bench.kernel.applied
    bench.upkeep.attend(COMPARE_SECONDS)
    assert bench.kernel.applied == applied
    bench.upkeep.doubt("touched")
    bench.upkeep.attend(COMPARE_SECONDS + 10)
    assert bench.kernel.applied == applied + 1
    assert held.table.sets["backends"].rows == right


def test_what_somebody_does_without_end_is_undone_again_and_again_but_not_at_any_cost(kernel: Kernel) -> None:
    bench = Bench(kernel, 5)
    bench.upkeep.attend(0.0)
    compared = len(bench.ears.work)
    for hundredth in range(100):
        bench.upkeep.doubt("touched")
        bench.upkeep.attend(10.0 + hundredth / 100)
    assert compared + 2 <= len(bench.ears.work) <= compared + 4


def test_an_agent_that_starts_beside_the_rows_of_an_earlier_one_changes_only_what_differs(kernel: Kernel) -> None:
    Bench(kernel, 5).upkeep.attend(0.0)
    later = Bench(kernel, 6)
    later.upkeep.attend(0.0)
    assert later.programmed() == {1, 2, 3, 4, 5, 6}
    commands = later.ears.work[0].outcome.transaction.commands
    assert all(isinstance(command, AddElements) and len(command.elements) == 1 for command in commands)
    assert len(commands) == len(("backends", "frontends", "hairpin"))
