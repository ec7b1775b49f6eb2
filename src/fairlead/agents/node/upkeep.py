"""One table kept as it is wanted: rounds, comparisons, retries, and the search for whom the kernel refuses.

Comes in: a table (`tables.Table`), an nftables socket, the time, grace periods, and doubts. Goes out: transactions, and
to a witness what became of them. Whatever the kernel says, it never raises NftError: rows in place stay, and it tries
again. A change in stages goes on when `attend` is called after a grace period; whatever follows a doubt is carried out
at once as a whole, and waits for its grace periods.
"""

import errno
import time
from collections import deque
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Protocol

from msgspec import Struct

from fairlead.agents.lines import log
from fairlead.agents.node.tables import Outcome, Table
from fairlead.drivers.graceperiods import AwaitedGracePeriods, GracePeriods
from fairlead.drivers.netlink.nftables import NftError
from fairlead.model import Finding, Origin, Severity
from fairlead.nft.objects import TableFamily
from fairlead.nft.tables import TableContents
from fairlead.nft.transactions import Transaction

COMPARE_SECONDS = 3600.0
"""How often the whole table is compared although nobody was seen to touch it."""
LEFT_OUT_SECONDS = 60.0
"""How often objects that the kernel refused are tried again."""
MOST_REFUSED = 50
"""How many offenders are looked for one by one; what is untried by then waits for the next attempt."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds before a table is tried again that was refused as a whole
_COMPARE_PAUSE = 0.4  # seconds between comparisons that somebody else's writing asks for
_SHARE = 4.0  # a comparison that takes long is followed by a pause this many times as long
_NOBODYS_FAULT = frozenset(
    {errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ENOBUFS, errno.EIO}
    | {errno.ENOMEM, errno.EAGAIN, errno.EINTR}
)


class NftTables(Protocol):
    """What is needed of an nftables socket."""

    def apply(self, transaction: Transaction) -> None:
        """Carry out a transaction. Raises NftError."""
        ...

    def list_table(self, family: TableFamily, name: str) -> TableContents | None:
        """The table as it is. Raises NftError."""
        ...


class Work(Struct, frozen=True, kw_only=True):
    """One acknowledged piece of work, and the seconds it took in Python and in the kernel.

    `reason` says why the whole table was compared, and is empty where only changes were sent.
    """

    outcome: Outcome
    reason: str
    python: float
    kernel: float


class Witness(Protocol):
    """Who hears what became of a table."""

    def programmed(self, table: Table, work: Work) -> None:
        """The kernel holds what `work` asked for."""
        ...

    def refused(self, table: Table, error: NftError) -> None:
        """The kernel refused a transaction."""
        ...

    def found(self, findings: tuple[Finding, ...]) -> None:
        """There is something to tell the authors of objects."""
        ...


class _Course:
    """An outcome on its way into the kernel: the stages that are left, and the times it took."""

    def __init__(self, outcome: Outcome, reason: str, started: float) -> None:
        self.outcome = outcome
        self.reason = reason
        self.left = deque(outcome.transactions())
        self.begun = False
        self.grace = 0
        """The number of the grace period that must pass before the next stage."""
        self.python = time.perf_counter() - started
        self.kernel = 0.0

    @property
    def work(self) -> Work:
        """What it was."""
        return Work(outcome=self.outcome, reason=self.reason, python=self.python, kernel=self.kernel)


class Upkeep:
    """The life of one table in the kernel."""

    def __init__(self, table: Table, nft: NftTables, witness: Witness, graces: GracePeriods | None = None) -> None:
        self.table = table
        self._nft = nft
        self._witness = witness
        self._graces = graces or AwaitedGracePeriods()
        self._course: _Course | None = None
        self._doubt = "start"
        self._not_before = 0.0
        self._compare_at = 0.0
        self._pause = _FIRST_PAUSE
        self._left_out: dict[Origin, NftError] = {}
        self._try_left_out_at = 0.0

    @property
    def left_out(self) -> AbstractSet[Origin]:
        """The objects that have no rows because the kernel refuses them."""
        return self._left_out.keys()

    def doubt(self, reason: str) -> None:
        """Have the whole table compared at the next occasion."""
        self._doubt = self._doubt or reason

    def next_time(self) -> float | None:
        """When `attend` wants to be called although nothing was heard, not even of a grace period; None for never."""
        if not self.table.synced or self._course is not None:
            return None
        if self._doubt or self.table.pending:
            return self._not_before
        times = [self._compare_at, *([self._try_left_out_at] if self._left_out else [])]
        return max(self._not_before, min(times))

    def attend(self, now: float) -> None:
        """Do what is to be done now. Returns quickly when that is nothing."""
        table = self.table
        if not table.synced:
            return
        if self._course is not None:
            self._try(now, self._advance)
        if self._course is not None or now < self._not_before:
            return
        if table.outdated:
            self.doubt("outdated")
        elif now >= self._compare_at:
            self.doubt("hourly")
        if self._doubt:
            self._settle(now)
        elif table.pending:
            self._try(now, self._step)
        elif self._left_out and now >= self._try_left_out_at:
            self._try_left_out(now)

    def _try(self, now: float, do: Callable[[], None]) -> None:
        """Go on with changes, and when the kernel refuses them compare everything."""
        try:
            do()
        except NftError as error:
            self._complain(error)
            self._doubt = "refused"
            self._settle(now)

    def _settle(self, now: float) -> None:
        """Bring the whole table to what is wanted, without those whom the kernel refuses."""
        reason, self._doubt = self._doubt, ""
        try:
            took = self._compare(reason)
        except NftError as error:
            self._complain(error)
            try:
                if error.number in _NOBODYS_FAULT or not self.table.objects():
                    raise
                took = self._isolate(error)
            except NftError as last:
                if last is not error:
                    self._complain(last)
                self._doubt = reason
                self._not_before = now + self._pause
                log(event="waiting", table=self.table.label, error=str(last), again_in=f"{self._pause:.0f}s")
                self._pause = min(self._pause * 2, _LONGEST_PAUSE)
                return
            self._try_left_out_at = now + LEFT_OUT_SECONDS
        self._pause = _FIRST_PAUSE
        self._compare_at = now + COMPARE_SECONDS
        if reason != "start":
            self._not_before = now + max(_COMPARE_PAUSE, took * _SHARE)

    def _compare(self, reason: str) -> float:
        """List the table, apply what differs, and return the seconds it took. Raises NftError."""
        started = time.perf_counter()
        listed = self._nft.list_table(self.table.family, self.table.name)
        if reason == "hourly" and listed is not None and _too_large(listed):
            return time.perf_counter() - started  # to make a million rows anew each hour would be no repair
        self._course = _Course(self.table.begin(listed), reason, started)
        self._finish()
        return time.perf_counter() - started

    def _step(self) -> None:
        """Begin to carry out what changed."""
        started = time.perf_counter()
        self._course = _Course(self.table.round(), "", started)
        self._advance()

    def _finish(self) -> None:
        """Carry out a course to its end, and wait for its grace periods. Raises NftError."""
        while (course := self._course) is not None:
            self._carry_out(course)
            if course.left:
                self._graces.wait()

    def _advance(self) -> None:
        """Carry out those stages of a course whose time has come. Raises NftError."""
        while (course := self._course) is not None and self._graces.passed(course.grace):
            self._carry_out(course)
            if course.left:
                course.grace = self._graces.begin()

    def _carry_out(self, course: _Course) -> None:
        """Carry out the next stage. Raises NftError, and gives the course up."""
        transaction = course.left.popleft()
        self._course = None
        before = time.perf_counter()
        if transaction:
            self._nft.apply(transaction)
        course.kernel += time.perf_counter() - before
        course.begun = True
        if course.left:
            self._course = course
        if transaction is course.outcome.transaction:
            self._programmed(course.work)

    def _programmed(self, work: Work) -> None:
        outcome = work.outcome
        self._witness.programmed(self.table, work)
        self.table.programmed()
        if outcome.findings:
            self._witness.found(outcome.findings)
        if self._left_out:
            for origin in self._left_out.keys() - self.table.withheld():
                del self._left_out[origin]
                log(event="accepted", table=self.table.label, object=str(origin))

    def _complain(self, error: NftError) -> None:
        log(event="refused", table=self.table.label, error=str(error))
        self._witness.refused(self.table, error)

    def _isolate(self, error: NftError) -> float:
        """Program all but the objects that the kernel refuses, and name those. Raises NftError when it refuses all."""
        started = time.perf_counter()
        table, before = self.table, frozenset(self._left_out)
        for suspects in (frozenset(table.suspects()), frozenset(table.objects())):
            if not suspects:
                continue
            table.withhold(suspects | before)
            try:
                self._compare("isolate")
            except NftError as again:
                table.admit(suspects)
                error = again
                continue
            self._let_in(sorted(suspects))
            return time.perf_counter() - started
        raise error

    def _let_in(self, suspects: list[Origin]) -> None:
        """Admit objects by halves; those that are refused alone stay out."""
        waiting = [suspects]
        refused = 0
        while waiting:
            part = waiting.pop()
            error = self._admit(part)
            if error is None:
                continue
            if len(part) == 1 or refused >= MOST_REFUSED:
                refused += 1
                self._leave_out(part, error)
            else:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]

    def _admit(self, objects: list[Origin]) -> NftError | None:
        """Let objects in; when the kernel refuses them they are out as before, and the error is returned."""
        self.table.admit(frozenset(objects))
        course = self._course = _Course(self.table.round(), "", time.perf_counter())
        try:
            self._finish()
        except NftError as error:
            self.table.withhold(frozenset(objects))
            self.table.round()  # the kernel holds nothing of them: what this returns is what it never took
            if course.begun:
                self.doubt("refused")  # but for what nothing leads to
            return error
        return None

    def _leave_out(self, objects: list[Origin], error: NftError) -> None:
        for origin in objects:
            known = self._left_out.get(origin)
            self._left_out[origin] = error
            if known is None or known.number != error.number:
                log(event="left-out", table=self.table.label, object=str(origin), error=error.message)
        message = f"the kernel refuses its rows, so it is left out on this node: {error.message}"
        remedy = "change the object, or see the node agent's log; it is tried again every minute"
        self._witness.found(tuple(Finding(Severity.ERROR, origin, message, remedy) for origin in objects))

    def _try_left_out(self, now: float) -> None:
        """Try each object that is left out once more, on its own."""
        for origin in sorted(self._left_out)[:MOST_REFUSED]:
            error = self._admit([origin])
            if error is not None:
                self._leave_out([origin], error)
        self._try_left_out_at = now + LEFT_OUT_SECONDS


def _too_large(listed: TableContents) -> bool:
    """Whether a set has more rows than are listed."""
    return any(contents.rows is None for contents in listed.sets.values())
