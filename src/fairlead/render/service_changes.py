"""One round's changes of the service table, collected row by row and put in an order that is right at every step."""

from collections.abc import Iterator

from fairlead.nft.objects import AnySet, Chain, Element
from fairlead.nft.transactions import (
    AddChain,
    AddElements,
    AddRule,
    Command,
    DeleteChain,
    DeleteElements,
    ReplaceElements,
)
from fairlead.nft.verdicts import Verdict
from fairlead.render.service_layout import ChainClass, ServiceLayout, chain_name

Chosen = tuple[ChainClass, int]


class RowChanges:
    """The rows of one set that come, get another value, or go."""

    def __init__(self, target: AnySet) -> None:
        self.target = target
        self.added: list[Element] = []
        self.replaced: list[Element] = []
        self.removed: list[Element] = []

    def additions(self) -> Iterator[Command]:
        """Yield the command for rows that come."""
        if self.added:
            yield AddElements(self.target, self.added)

    def replacements(self) -> Iterator[Command]:
        """Yield the command for rows that get another value."""
        if self.replaced:
            yield ReplaceElements(self.target, self.replaced)

    def removals(self) -> Iterator[Command]:
        """Yield the command for rows that go."""
        if self.removed:
            yield DeleteElements(self.target, self.removed)


class ServiceChanges:
    """What one round changes: rows of each set, and chains by class and width."""

    def __init__(self, layout: ServiceLayout) -> None:
        self._layout = layout
        self.backends = RowChanges(layout.backends)
        self.frontends = RowChanges(layout.frontends)
        self.no_endpoints = RowChanges(layout.no_endpoints)
        self.hairpin = RowChanges(layout.hairpin)
        self.cluster_ips = RowChanges(layout.cluster_ips)
        self.chains_added: list[Chosen] = []
        self.chains_removed: list[Chosen] = []

    def verdict(self, key: bytes, before: tuple[bool, Verdict] | None, after: tuple[bool, Verdict] | None) -> None:
        """Note what a frontend's key leads to before and after; the bool says whether it has backends."""
        if before == after:
            return
        if before is not None and after is not None and before[0] is after[0]:
            self._verdicts(after[0]).replaced.append(Element(key, after[1]))
            return
        if before is not None:
            self._verdicts(before[0]).removed.append(Element(key, before[1]))
        if after is not None:
            self._verdicts(after[0]).added.append(Element(key, after[1]))

    def commands(self) -> tuple[Command, ...]:
        """Return the commands: rows before the verdicts that draw them, verdicts before the rows they left."""
        return (
            *self._new_chains(),
            *self.backends.additions(),
            *self.hairpin.additions(),
            *self.cluster_ips.additions(),
            *self.backends.replacements(),
            *self.frontends.additions(),
            *self.no_endpoints.removals(),
            *self.frontends.replacements(),
            *self.no_endpoints.replacements(),
            *self.no_endpoints.additions(),
            *self.frontends.removals(),
            *self.backends.removals(),
            *self.hairpin.removals(),
            *self.cluster_ips.removals(),
            *(DeleteChain(chain_name(way, width)) for way, width in self.chains_removed),
        )

    def _new_chains(self) -> Iterator[Command]:
        for way, width in self.chains_added:
            name = chain_name(way, width)
            yield AddChain(Chain(name))
            for rule in self._layout.width_rules(way, width):
                yield AddRule(name, rule)

    def _verdicts(self, has_backends: bool) -> RowChanges:
        return self.frontends if has_backends else self.no_endpoints
