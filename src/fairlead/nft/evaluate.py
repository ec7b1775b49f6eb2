"""A packet's way through a table: base chains by hook and priority, and what they make of it.

Comes in: the contents of a table (as rendered, or as the kernel lists it), the first packet of a connection, whether it
arrives or is sent by the host itself, and what surrounds it. Goes out: accepted, dropped or rejected, the packet as it
leaves, and every rule it met. UnknownError where the way depends on what is not known. Refuses to know what the rows
mean. Source: netfilter's packet flow, kernel `net/netfilter/core.c` and `nf_nat_core.c`.
"""

from collections.abc import Iterator
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from fairlead.nft.evaluate_rules import CT_NEW, Looked, Packet, Run, Surroundings, UnknownError
from fairlead.nft.objects import ChainType, Hook, Policy, Rule
from fairlead.nft.tables import ChainContents, TableContents
from fairlead.nft.verdicts import ACCEPT, DROP, Verdict, VerdictCode

__all__ = [
    "Ending",
    "Entry",
    "Packet",
    "Passage",
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


class Passage(Struct, frozen=True):
    """A packet's way through a table.

    `packet` is what leaves, with its destination and mark rewritten; `masqueraded` says that its source becomes the
    address of the interface it leaves by. `moduli` are the widths of the numbers drawn, in order.
    """

    ending: Ending
    packet: Packet
    masqueraded: bool
    moduli: tuple[int, ...]
    steps: tuple[Step, ...]


def evaluate_packet(table: TableContents, packet: Packet, entry: Entry, surroundings: Surroundings) -> Passage:
    """Return the way of a packet through all hooks of its host, routed by its destination after translation."""
    walk = _Walk(table, packet, surroundings)
    ending = walk.through(_hooks(walk, entry, surroundings))
    return Passage(ending, walk.run.packet, walk.run.masqueraded, tuple(walk.run.moduli), tuple(walk.steps))


def evaluate_every_draw(
    table: TableContents, packet: Packet, entry: Entry, surroundings: Surroundings
) -> Iterator[Passage]:
    """Yield the packet's way once for each number its generator can draw; only a first draw is varied."""
    first = evaluate_packet(table, packet, entry, replace(surroundings, numbers=()))
    yield first
    for number in range(1, first.moduli[0] if first.moduli else 1):
        yield evaluate_packet(table, packet, entry, replace(surroundings, numbers=(number,)))


def _hooks(walk: "_Walk", entry: Entry, surroundings: Surroundings) -> Iterator[Hook]:
    """Yield the hooks on the packet's way. What a host sends to itself goes round once, over loopback."""
    yield Hook.PREROUTING if entry is Entry.ARRIVES else Hook.OUTPUT
    local = surroundings.is_local(walk.run.packet.destination)
    if entry is Entry.ARRIVES:
        yield Hook.INPUT if local else Hook.FORWARD
    if entry is Entry.SENT or not local:
        yield Hook.POSTROUTING
    if entry is Entry.SENT and local:
        yield Hook.PREROUTING
        yield Hook.INPUT


class _Walk:
    """One packet's way so far. A connection's destination and source are each translated once, at their first hook."""

    def __init__(self, table: TableContents, packet: Packet, surroundings: Surroundings) -> None:
        self.table = table
        self.run = Run(packet, surroundings, table.sets)
        self.steps: list[Step] = []
        self._translated: set[bool] = set()

    def through(self, hooks: Iterator[Hook]) -> Ending:
        for hook in hooks:
            ends_source = hook in (Hook.POSTROUTING, Hook.INPUT)
            translates = self.run.packet.ct_state & CT_NEW and ends_source not in self._translated
            self._translated.add(ends_source)
            for held in _base_chains(self.table, hook):
                if _type(held) is ChainType.NAT and not translates:
                    continue
                status = self.run.packet.ct_status
                verdict = self._chain(hook, held, 0) or _policy(held)
                if verdict.code is VerdictCode.DROP:
                    return Ending.REJECT if self.run.rejected else Ending.DROP
                translates = translates and self.run.packet.ct_status == status
        return Ending.ACCEPT

    def _chain(self, hook: Hook, held: ChainContents, depth: int) -> Verdict | None:
        """Return ACCEPT or DROP, or None at the chain's end."""
        if depth > _DEEPEST:
            raise UnknownError(f"chains lead to chains {depth} times, ending with {held.chain.name}")
        for number, rule in enumerate(held.rules):
            rested = self.run.rule(rule)
            looked, verdict = tuple(self.run.looked), rested.verdict
            self.steps.append(Step(hook, held.chain.name, number, rule, looked, rested.matched, verdict))
            match verdict.code if verdict else VerdictCode.CONTINUE:
                case VerdictCode.CONTINUE:
                    pass
                case VerdictCode.ACCEPT | VerdictCode.DROP:
                    return verdict
                case VerdictCode.RETURN:
                    return None
                case VerdictCode.GOTO | VerdictCode.JUMP:
                    assert verdict is not None
                    ended = self._chain(hook, self._target(verdict), depth + 1)
                    if ended is not None or verdict.code is VerdictCode.GOTO:
                        return ended
        return None

    def _target(self, verdict: Verdict) -> ChainContents:
        held = self.table.chains.get(verdict.chain)
        if held is None:
            raise UnknownError(f"there is no chain {verdict.chain}")
        return held


def _base_chains(table: TableContents, hook: Hook) -> list[ChainContents]:
    """The base chains of a hook by rising priority; of equals the one registered first."""
    found = [held for held in table.chains.values() if held.chain.base and held.chain.base.hook is hook]
    return sorted(found, key=lambda held: held.chain.base.priority if held.chain.base else 0)


def _type(held: ChainContents) -> ChainType | None:
    return held.chain.base.type if held.chain.base else None


def _policy(held: ChainContents) -> Verdict:
    base = held.chain.base
    return DROP if base and base.policy is Policy.DROP else ACCEPT
