"""Clients that stay with their backends: the rules that remember, and those that heed what is remembered.

Comes in: maps, a width and a timeout. Goes out: the rules of a choice that keeps clients where they are. Refuses to
know rows and Services: there are as many chains as widths and timeouts.

A client's row in `affinity`, by the number of a Service port and the client's address, holds the number of a backend,
which begins with that of the port. `draws` has a number for each backend of a frontend, `sticky` the backend of each
number. A backend that a frontend has no more has no number there, so whoever held it draws anew at once. Nothing but
the packet itself can carry the number from rule to rule in a way `nft list` can spell: its priority does, which routing
sets anew anyhow, and which is cleared where it would leave the node (docs/decisions/0003).
"""

from collections.abc import Iterator

from fairlead.net import Family
from fairlead.nft.expressions import (
    Bitwise,
    Cmp,
    Comparison,
    Dynset,
    DynsetOperation,
    Expression,
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
from fairlead.nft.objects import Map, Rule, TableFamily
from fairlead.render.service_numbers import MARKED, MARKED_BITS, PORT_BITS
from fairlead.render.service_steps import Steps, host

CLEAR = Rule(
    (
        Meta(0, MetaKey.PRIORITY),
        Bitwise(0, 0, host(MARKED_BITS), host(0)),
        Cmp(0, Comparison.EQ, host(MARKED)),
        Immediate(0, host(0)),
        MetaSet(0, MetaKey.PRIORITY),
    )
)
"""Take a number off the packet that still carries it."""


class AffinityRules:
    """The rules of a choice by which a client stays with its backend, in one family."""

    def __init__(self, family: Family, clients: Map) -> None:
        self._family = TableFamily.of(family)
        self._clients = clients
        self._steps = Steps(family)
        self._value = 4 if family is Family.IPV4 else 8
        """The register of a row's value, beside its key, as nft chooses it."""

    def rules(self, draws: Map, sticky: Map, timeout: int, width: int) -> Iterator[Rule]:
        """Yield the rules that draw one of `width` numbers, and heed the number the client has if it has a backend."""
        hold, translate, let_go = self._hold(timeout), self._translate(sticky), self._let_go()
        yield self._draw(draws, width)
        yield hold
        yield self._recall()
        yield translate
        for fewer in (width, 1):  # the backend it held is gone; and so is, once in a while, the one just drawn
            yield let_go
            yield self._draw(draws, fewer)
            yield hold
            yield translate

    def _client(self) -> tuple[Expression, ...]:
        """Load the port's part of the number that the packet carries, and the source address."""
        return (
            Meta(0, MetaKey.PRIORITY),
            Bitwise(0, 0, host(PORT_BITS), host(0)),
            self._steps.load_source(1),
        )

    def _draw(self, draws: Map, width: int) -> Rule:
        steps = self._steps
        drawn = Numgen(steps.frontend_words, NumgenType.RANDOM, width)
        return Rule((*steps.load_frontend(), drawn, LookupValue(draws.name, 0, 0), MetaSet(0, MetaKey.PRIORITY)))

    def _hold(self, timeout: int) -> Rule:
        """Let the client have the number, or keep the one it has for another while."""
        return self._change(DynsetOperation.UPDATE, timeout * 1000)

    def _let_go(self) -> Rule:
        return self._change(DynsetOperation.DELETE, None)

    def _change(self, operation: DynsetOperation, timeout: int | None) -> Rule:
        row = Dynset(self._clients.name, operation, 0, self._value, timeout)
        return Rule((*self._client(), Meta(self._value, MetaKey.PRIORITY), row))

    def _recall(self) -> Rule:
        return Rule((*self._client(), LookupValue(self._clients.name, 0, 0), MetaSet(0, MetaKey.PRIORITY)))

    def _translate(self, sticky: Map) -> Rule:
        steps = self._steps
        number = Meta(steps.frontend_words, MetaKey.PRIORITY)
        dnat = Nat(NatType.DNAT, self._family, 0, steps.words)
        return Rule((*steps.load_frontend(), number, LookupValue(sticky.name, 0, 0), dnat))
