"""Clients that stay with their backends: what is remembered of them, and the rules that remember.

Comes in: a frontend's affinity and backends. Goes out: the map that holds the clients of one Service port, the numbers
backends go by in it, and the rules of a choice that keeps to it. Refuses to know transactions.

A client's row holds a number. `draws` has a number for each backend of a frontend, `sticky` the backend of each number.
A backend that a frontend has no more has no number there, so whoever held it draws anew at once. Nothing but the packet
itself can carry the number from rule to rule in a way `nft list ruleset` can spell: its priority does, which routing
sets anew anyhow, and which is cleared where it left the node (docs/decisions/0003).
"""

from collections.abc import Iterator, Sequence
from zlib import crc32

from fairlead.model import Affinity, Backend
from fairlead.net import Family
from fairlead.nft.expressions import (
    Bitwise,
    Cmp,
    Comparison,
    Dynset,
    DynsetOperation,
    Immediate,
    LookupValue,
    Meta,
    MetaKey,
    MetaSet,
    Nat,
    NatType,
    Numgen,
    NumgenType,
)
from fairlead.nft.fields import PRIORITY, source_address
from fairlead.nft.objects import Map, Rule, TableFamily
from fairlead.render.service_bytes import pack_backend
from fairlead.render.service_steps import Steps, host

_CLIENTS = 131_072
"""How many clients of one Service port are remembered at most; those beyond draw anew with each connection."""

_MARKED, _MARKED_BITS = 0xE000_0000, 0xF000_0000
_NUMBER_BITS = 0x0FFF_FFFF
_SECOND = 4
"""The register of a row's value beside its key, as nft chooses it."""

CLEAR = Rule(
    (
        Meta(0, MetaKey.PRIORITY),
        Bitwise(0, 0, host(_MARKED_BITS), host(0)),
        Cmp(0, Comparison.EQ, host(_MARKED)),
        Immediate(0, host(0)),
        MetaSet(0, MetaKey.PRIORITY),
    )
)
"""Take a number off the packet that still carries it."""


def clients_map(port: str, family: Family) -> Map:
    """Return the map of one Service port's clients; its name is that of the port, so that a new agent finds it."""
    key = (source_address(family),)
    return Map(name=clients_name(port), key=key, value=(PRIORITY,), timeout=0, dynamic=True, size=_CLIENTS)


def clients_name(port: str) -> str:
    """Return the name of the map of a port's clients."""
    return f"affinity/{port}"


def number_backends(backends: Sequence[Backend]) -> dict[Backend, bytes]:
    """Return the number of each backend, as registers hold it.

    It is made of address and port alone, so that it stays the same over every change, in every frontend and in the next
    agent. Where two numbers are the same, which chance makes one pair in 268 million, the next free one is taken.
    """
    found: dict[Backend, bytes] = {}
    taken: set[int] = set()
    for backend in sorted(backends):
        number = crc32(pack_backend(backend)) & _NUMBER_BITS
        while number in taken:
            number = (number + 1) & _NUMBER_BITS
        taken.add(number)
        found[backend] = host(_MARKED | number)
    return found


class AffinityRules:
    """The rules of a choice by which a client stays with its backend, in one family."""

    def __init__(self, family: Family) -> None:
        self._family = TableFamily.of(family)
        self._steps = Steps(family)

    def rules(self, draws: Map, sticky: Map, affinity: Affinity, width: int) -> Iterator[Rule]:
        """Yield the rules that draw one of `width` numbers, and heed the number the client has if it has a backend."""
        draw, hold, translate = self._draw(draws, width), self._change(affinity, hold=True), self._translate(sticky)
        yield draw
        yield hold
        yield self._recall(affinity)
        yield translate
        yield self._change(affinity, hold=False)
        yield draw
        yield hold
        yield translate

    def _draw(self, draws: Map, width: int) -> Rule:
        steps = self._steps
        drawn = Numgen(steps.frontend_words, NumgenType.RANDOM, width)
        return Rule((*steps.load_frontend(), drawn, LookupValue(draws.name, 0, 0), MetaSet(0, MetaKey.PRIORITY)))

    def _change(self, affinity: Affinity, *, hold: bool) -> Rule:
        """Let the client have the number, or keep the one it has for another while; or let it go."""
        operation = DynsetOperation.UPDATE if hold else DynsetOperation.DELETE
        timeout = affinity.timeout * 1000 if hold else None
        row = Dynset(clients_name(affinity.port), operation, 0, _SECOND, timeout)
        return Rule((self._steps.load_source(), Meta(_SECOND, MetaKey.PRIORITY), row))

    def _recall(self, affinity: Affinity) -> Rule:
        known = LookupValue(clients_name(affinity.port), 0, 0)
        return Rule((self._steps.load_source(), known, MetaSet(0, MetaKey.PRIORITY)))

    def _translate(self, sticky: Map) -> Rule:
        steps = self._steps
        number = Meta(steps.frontend_words, MetaKey.PRIORITY)
        dnat = Nat(NatType.DNAT, self._family, 0, steps.words)
        return Rule((*steps.load_frontend(), number, LookupValue(sticky.name, 0, 0), dnat))
