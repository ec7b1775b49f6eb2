"""A packet's way through a host's tables: base chains by hook and priority, and what they make of it.

Comes in: the contents of tables (as rendered, or as the kernel lists them), a packet, whether it arrives or is sent by
the host itself, and what surrounds it. Goes out: accepted, dropped or rejected, the packet as it leaves, every rule it
met, and the rows those rules have added. UnknownError where the way depends on what is not known. Refuses to know what
the rows mean. Source: netfilter's packet flow, kernel `net/netfilter/core.c` and `nf_nat_core.c`.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from fairlead.net import Family
from fairlead.nft.evaluate_rules import Run
from fairlead.nft.expressions import Log
from fairlead.nft.memory import Looked
from fairlead.nft.objects import ChainType, Hook, Policy, Rule, TableFamily
from fairlead.nft.packets import CT_NEW, Ends, Packet, Remembered, State, Surroundings, UnknownError
from fairlead.nft.tables import ChainContents, TableContents
from fairlead.nft.verdicts import ACCEPT, DROP, Verdict, VerdictCode

__all__ = [
    "Ending",
    "Ends",
    "Entry",
    "Looked",
    "Packet",
    "Passage",
    "Remembered",
    "State",
    "Step",
    "Surroundings",
    "UnknownError",
    "evaluate_every_draw",
    "evaluate_packet",
]

_DEEPEST = 16
"""Jumps within jumps the kernel allows (`NFT_JUMP_STACK_SIZE`)."""


class Entry(Enum):
    """How a packet comes to a host's tables."""

    ARRIVES = "arrives"
    SENT = "sent"


class Ending(Enum):
    """What a table makes of a packet."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"


class Step(Struct, frozen=True):
    """One rule the packet met: where, what it looked up, whether it applied; `verdict` None led to the next rule."""

    hook: Hook
    chain: str
    number: int
    rule: Rule
    looked: tuple[Looked, ...]
    matched: bool
    verdict: Verdict | None = None
    table: str = ""


class Passage(Struct, frozen=True):
    """A packet's way through a host's tables.

    `packet` is what leaves, with its destination and marks rewritten and its interfaces as given; `masqueraded` says
    that its source becomes the address of the interface it leaves by. `moduli` are the widths of the numbers drawn, in
    order. `state` are the rows that rules have added by now, and `logged` what the packet was sent to listeners for.
    """

    ending: Ending
    packet: Packet
    masqueraded: bool
    moduli: tuple[int, ...]
    steps: tuple[Step, ...]
    state: State = {}
    logged: tuple[Log, ...] = ()


def evaluate_packet(
    tables: TableContents | Sequence[TableContents], packet: Packet, entry: Entry, surroundings: Surroundings
) -> Passage:
    """Return the way of a packet through all hooks of its host, routed by its destination after translation.

    The base chains of all tables take their turns by priority; those of another family never see the packet.
    """
    seen = (tables,) if isinstance(tables, TableContents) else tables
    walk = _Walk([table for table in seen if _sees(table, packet)], packet, surroundings)
    ending = walk.through(_hooks(walk, entry, surroundings))
    run = walk.run
    return Passage(
        ending,
        replace(run.packet, iifname=packet.iifname, oifname=packet.oifname),
        run.masqueraded,
        tuple(run.moduli),
        tuple(walk.steps),
        run.memory.state,
        tuple(run.logged),
    )


def evaluate_every_draw(
    tables: TableContents | Sequence[TableContents], packet: Packet, entry: Entry, surroundings: Surroundings
) -> Iterator[Passage]:
    """Yield the packet's way once for each sequence of numbers its generator can draw, each as likely."""
    pending: deque[tuple[int, ...]] = deque([()])
    while pending:
        numbers = pending.popleft()
        passage = evaluate_packet(tables, packet, entry, replace(surroundings, numbers=numbers))
        yield passage
        for at in range(len(numbers), len(passage.moduli)):
            drawn = numbers + (0,) * (at - len(numbers))
            pending.extend((*drawn, number) for number in range(1, passage.moduli[at]))


def _sees(table: TableContents, packet: Packet) -> bool:
    own = TableFamily.IP if packet.source.family is Family.IPV4 else TableFamily.IP6
    return table.family in (own, TableFamily.INET)


def _hooks(walk: "_Walk", entry: Entry, surroundings: Surroundings) -> Iterator[Hook]:
    """Yield the hooks on the packet's way. What a host sends to itself goes round once, over loopback.

    A host routes what arrives after the first hook, and what it sends itself before it and again where its destination
    was translated there: only from then on is the interface known by which the packet leaves.
    """
    if entry is Entry.ARRIVES:
        walk.set_interfaces(walk.run.packet.iifname, "")
    else:
        walk.set_interfaces("", surroundings.interface_to(walk.run.packet.destination))
    yield Hook.PREROUTING if entry is Entry.ARRIVES else Hook.OUTPUT
    local = surroundings.is_local(walk.run.packet.destination)
    onward = "" if local and entry is Entry.ARRIVES else surroundings.interface_to(walk.run.packet.destination)
    walk.set_interfaces(walk.run.packet.iifname, onward)
    if entry is Entry.ARRIVES:
        yield Hook.INPUT if local else Hook.FORWARD
    if entry is Entry.SENT or not local:
        yield Hook.POSTROUTING
    if entry is Entry.SENT and local:
        walk.set_interfaces("lo", "")
        yield Hook.PREROUTING
        yield Hook.INPUT


class _Walk:
    """One packet's way so far. A connection's destination and source are each translated once, at their first hook."""

    def __init__(self, tables: Sequence[TableContents], packet: Packet, surroundings: Surroundings) -> None:
        self._tables = tables
        self._leaving = packet.oifname
        self.run = Run(packet, surroundings)
        self.steps: list[Step] = []
        self._translated: set[bool] = set()

    def set_interfaces(self, arriving: str | None, leaving: str | None) -> None:
        """Note where the packet came in and where it will leave: where no route tells, by what it was given with."""
        packet = self.run.packet
        leaving = self._leaving if leaving is None else leaving
        if (arriving, leaving) != (packet.iifname, packet.oifname):
            self.run.packet = replace(packet, iifname=arriving, oifname=leaving)

    def through(self, hooks: Iterator[Hook]) -> Ending:
        for hook in hooks:
            ends_source = hook in (Hook.POSTROUTING, Hook.INPUT)
            translates = self.run.packet.ct_state & CT_NEW and ends_source not in self._translated
            self._translated.add(ends_source)
            for table, held in _base_chains(self._tables, hook):
                if _type(held) is ChainType.NAT and not translates:
                    continue
                status = self.run.packet.ct_status
                verdict = self._chain(hook, table, held, 0) or _policy(held)
                if verdict.code is VerdictCode.DROP:
                    return Ending.REJECT if self.run.rejected else Ending.DROP
                translates = translates and self.run.packet.ct_status == status
        return Ending.ACCEPT

    def _chain(self, hook: Hook, table: TableContents, held: ChainContents, depth: int) -> Verdict | None:
        """Return ACCEPT or DROP, or None at the chain's end."""
        if depth > _DEEPEST:
            raise UnknownError(f"chains lead to chains {depth} times, ending with {held.chain.name}")
        for number, rule in enumerate(held.rules):
            rested = self.run.rule(table, rule)
            looked, verdict = tuple(self.run.looked), rested.verdict
            step = Step(hook, held.chain.name, number, rule, looked, rested.matched, verdict, table.name)
            self.steps.append(step)
            match verdict.code if verdict else VerdictCode.CONTINUE:
                case VerdictCode.CONTINUE:
                    pass
                case VerdictCode.ACCEPT | VerdictCode.DROP:
                    return verdict
                case VerdictCode.RETURN:
                    return None
                case VerdictCode.GOTO | VerdictCode.JUMP:
                    assert verdict is not None
                    ended = self._chain(hook, table, _target(table, verdict), depth + 1)
                    if ended is not None or verdict.code is VerdictCode.GOTO:
                        return ended
        return None


def _target(table: TableContents, verdict: Verdict) -> ChainContents:
    held = table.chains.get(verdict.chain)
    if held is None:
        raise UnknownError(f"there is no chain {verdict.chain}")
    return held


def _base_chains(tables: Sequence[TableContents], hook: Hook) -> list[tuple[TableContents, ChainContents]]:
    """The base chains of a hook by rising priority; of equals the one registered first."""
    found = [
        (held.chain.base.priority, table, held)
        for table in tables
        for held in table.chains.values()
        if held.chain.base and held.chain.base.hook is hook
    ]
    return [(table, held) for _, table, held in sorted(found, key=lambda each: each[0])]


def _type(held: ChainContents) -> ChainType | None:
    return held.chain.base.type if held.chain.base else None


def _policy(held: ChainContents) -> Verdict:
    base = held.chain.base
    return DROP if base and base.policy is Policy.DROP else ACCEPT
