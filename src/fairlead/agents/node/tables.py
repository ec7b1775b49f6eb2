"""The seam between the agent and what it programs: parts, their feeds, and their tables.

A *part* is one concern of the agent (Services; NetworkPolicies). It says what it follows at the API server, its feeds,
and which kernel tables it keeps. The agent does everything else: it lists and watches, collects events into rounds,
sends transactions, notices what somebody else did to a table, compares, retries, finds out which object the kernel
refuses, reports findings, logs and measures. So a table only decides; it does no IO and never waits. One agent runs any
number of tables beside each other, and trouble with one leaves the others alone.

How the agent calls a table, all from one thread:

- `take` functions of the feeds, as changes arrive, in any order, with doubles, with `Replaced` at any time.
- Nothing more until `synced`. Then `begin(listed)` once, with what the kernel holds of an earlier life or None. The
  transaction leads from there to everything wanted. It is called again whenever the kernel's state is in doubt:
  somebody wrote into the table, a transaction was refused, `outdated` says so, and once an hour. A table that is right
  gets an empty transaction, so `begin` must not shuffle what is equal.
- `round()` whenever `pending`: the transaction from what was wanted last to what is wanted now, in time proportional
  to what changed. What `begin` and `round` return is taken for applied at once. One whose stages are under way is not
  asked for more until the last of them is done, but may be handed changes.
- `programmed()` once the kernel acknowledged it (also for an empty one): the place for what must follow the rows. What
  is to come `after` may still be outstanding.
- After a refusal: `begin` again. Refused again: `suspects()` are asked for, withheld by `withhold`, and let in by
  halves with `admit` and `round()`, until it is known whom the kernel refuses. A withheld object has no rows, and
  `round()` after `withhold` returns the transaction that removes them. An object that changes is to be let in by the
  table itself; the agent also tries all again now and then.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from fairlead.drivers.kubeapi import Change
from fairlead.kube.meta import KubeObject
from fairlead.model import Finding, Origin
from fairlead.net import Family
from fairlead.nft.objects import TableFamily
from fairlead.nft.tables import TableContents
from fairlead.nft.transactions import Transaction

T = TypeVar("T", bound=KubeObject)
K = TypeVar("K")


class Feed(Struct, Generic[T, K], frozen=True):
    """Objects to follow, what is kept of each, and who takes the changes; `labels` and `fields` are selectors.

    `absent` is told, again and again, that the API server knows no such kind, or does not show it to us.

    `keep` is called with one object at a time, so that a long list never is in memory whole; it must be quick and pure.
    """

    cls: type[T]
    keep: Callable[[T], K]
    take: Callable[[Change[K]], None]
    labels: str = ""
    fields: str = ""
    absent: Callable[[], None] | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """What a round asks of the kernel, and what it has to say.

    `transaction` is what brings the change about; `before` is carried out first and `after` last, with a grace period
    (`drivers/graceperiods.py`) between one and the next. `objects` is how many were looked at, `changes` how many
    frontends, pods or the like differ, `total` how many there are. `findings` are all that hold for the objects looked
    at.
    """

    transaction: Transaction
    before: Transaction | None = None
    after: Transaction | None = None
    objects: int = 0
    changes: int = 0
    total: int = 0
    findings: tuple[Finding, ...] = ()

    def transactions(self) -> tuple[Transaction, ...]:
        """All there is to carry out, in order; the one in the middle also when it is empty."""
        before, after = (() if not each else (each,) for each in (self.before, self.after))
        return *before, self.transaction, *after


class Table(Protocol):
    """One kernel table as a part wants it. The contract is the module's docstring."""

    @property
    def label(self) -> str:
        """The name for logs and metrics: `services-ipv4`."""
        ...

    @property
    def ip_family(self) -> Family | None:
        """The family a service table carries, under which health and kube-proxy's metrics count it; else None."""
        ...

    @property
    def family(self) -> TableFamily:
        """The kernel table's family."""
        ...

    @property
    def name(self) -> str:
        """The kernel table's name."""
        ...

    @property
    def synced(self) -> bool:
        """Whether all it needs was listed once, and there is anything for it to do on this node."""
        ...

    @property
    def pending(self) -> bool:
        """Whether a round would look at anything."""
        ...

    @property
    def outdated(self) -> bool:
        """Whether `begin` must be called in place of `round`: the table's constant part has changed."""
        ...

    def begin(self, listed: TableContents | None) -> Outcome:
        """The transaction from what the kernel lists to everything wanted."""
        ...

    def round(self) -> Outcome:
        """The transaction from the last state to the one wanted now."""
        ...

    def programmed(self) -> None:
        """Note that the kernel holds everything returned so far."""
        ...

    def suspects(self) -> AbstractSet[Origin]:
        """The objects that what was returned since `programmed` was about; origins without a field."""
        ...

    def objects(self) -> AbstractSet[Origin]:
        """Every object that has rows or is withheld; origins without a field."""
        ...

    def withheld(self) -> AbstractSet[Origin]:
        """The objects that are left out now: withheld, and neither admitted nor changed since."""
        ...

    def withhold(self, objects: AbstractSet[Origin]) -> None:
        """Leave these objects out from the next `round` or `begin` on."""
        ...

    def admit(self, objects: AbstractSet[Origin]) -> None:
        """Let these objects in again from the next `round` or `begin` on."""
        ...


class Part(Protocol):
    """One concern of the agent."""

    def feeds(self) -> Sequence[Feed[Any, Any]]:
        """What to follow. Feeds with the same class, selectors and `keep` share one watch."""
        ...

    def tables(self) -> Sequence[Table]:
        """The tables to keep, always the same ones; one that has nothing to do here stays not `synced`."""
        ...
