"""One round's changes of the service table, collected row by row and put in an order that is right at every step."""

from collections.abc import Iterator

from fairlead.nft.objects import AnySet, Chain, Element
from fairlead.nft.tables import Rows, row_element
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
from fairlead.render.service_chains import ChoiceChains, Chosen
from fairlead.render.service_sets import ServiceSets


class RowChanges:
    """The rows of one set that come, get another value, or go; `outworn` ones go before others come."""

    def __init__(self, target: AnySet) -> None:
        self.target = target
        self.outworn: list[Element] = []
        self.added: list[Element] = []
        self.replaced: list[Element] = []
        self.removed: list[Element] = []

    def additions(self) -> Iterator[Command]:
        """Yield the command for rows that come, behind that for rows that could overlap them."""
        if self.outworn:
            yield DeleteElements(self.target, self.outworn)
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

    def __init__(self, sets: ServiceSets, choices: ChoiceChains) -> None:
        self._choices = choices
        self.backends = RowChanges(sets.backends)
        self.frontends = RowChanges(sets.frontends)
        self.no_endpoints = RowChanges(sets.no_endpoints)
        self.hairpin = RowChanges(sets.hairpin)
        self.cluster_ips = RowChanges(sets.cluster_ips)
        self.extras = {target.name: RowChanges(target) for target in sets.extra}
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

    def extra(self, before: dict[str, Rows], after: dict[str, Rows]) -> None:
        """Note a frontend's rows of the other sets, before and after."""
        for name, changes in self.extras.items():
            old, new = before.get(name, {}), after.get(name, {})
            target = changes.target
            gone = changes.outworn if new and target.interval else changes.removed
            gone += (row_element(target, key) for key in old if key not in new)
            for key, value in new.items():
                if key not in old:
                    changes.added.append(row_element(target, key, value))
                elif old[key] != value:
                    changes.replaced.append(row_element(target, key, value))

    def commands(self) -> tuple[Command, ...]:
        """Return the commands but for new chains: rows before the verdicts that draw them, verdicts before the rows
        they left.
        """
        extras = tuple(self.extras.values())
        return (
            *self.backends.additions(),
            *self.hairpin.additions(),
            *self.cluster_ips.additions(),
            *(command for changes in extras for command in changes.additions()),
            *self.backends.replacements(),
            *(command for changes in extras for command in changes.replacements()),
            *self.frontends.additions(),
            *self.no_endpoints.removals(),
            *self.frontends.replacements(),
            *self.no_endpoints.replacements(),
            *self.no_endpoints.additions(),
            *self.frontends.removals(),
            *self.backends.removals(),
            *(command for changes in reversed(extras) for command in changes.removals()),
            *self.hairpin.removals(),
            *self.cluster_ips.removals(),
            *(DeleteChain(chosen.name) for chosen in self.chains_removed),
        )

    def new_chains(self) -> Iterator[Command]:
        """Yield the commands for chains that the others lead to."""
        for chosen in self.chains_added:
            yield AddChain(Chain(chosen.name))
            for rule in self._choices.rules(chosen):
                yield AddRule(chosen.name, rule)

    def _verdicts(self, has_backends: bool) -> RowChanges:
        return self.frontends if has_backends else self.no_endpoints
