"""What a node enforces to rows: the policy table of one node and one address family, kept by changes.

Comes in: changes of subjects and collections. Goes out: the transactions that take the table there, touching no row
that stays. Refuses to know Kubernetes and the kernel.

A subject is a verdict that leads from its address to its profile's chain, one map for each direction. A new pod, or one
with other labels, is rows; only a profile nobody had before is a chain.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct, field

from fairlead.model.origins import Origin
from fairlead.model.policies import NamedPort, PodGroup
from fairlead.model.policy_profiles import Collection, Member, PodEnd, PolicyChanges, Profile, Subject
from fairlead.net import Address, Family
from fairlead.nft.diff import build_table, diff_tables
from fairlead.nft.objects import AnySet, Element, TableFamily
from fairlead.nft.tables import ChainContents, Rows, SetContents, TableContents
from fairlead.nft.transactions import (
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    Command,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    ReplaceElements,
    Transaction,
)
from fairlead.nft.verdicts import Verdict
from fairlead.render.policy_chains import TABLE, PolicyChains, PolicySettings, name_of
from fairlead.render.policy_stages import Joining, Sets, Stages, one_stage, stage_commands
from fairlead.render.service_steps import host
from fairlead.render.tallies import Tally

_NFPROTOS = {Family.IPV4: b"\x02\0\0\0", Family.IPV6: b"\x0a\0\0\0"}
_LAST_GENERATION = (1 << 32) - 1


class _Delta(Struct):
    """Elements that come, get another value, or go."""

    added: list[Element] = field(default_factory=list[Element])
    replaced: list[Element] = field(default_factory=list[Element])
    removed: list[Element] = field(default_factory=list[Element])

    def value(self, key: bytes, before: Verdict | None, after: Verdict | None) -> None:
        """Note a row's verdict before and after."""
        if before == after:
            return
        if before is None:
            self.added.append(Element(key, after))
        elif after is None:
            self.removed.append(Element(key, before))
        else:
            self.replaced.append(Element(key, after))

    def presence(self, key: bytes, before: bool, after: bool) -> None:
        """Note whether a row without a value is there, before and after."""
        if before is not after:
            (self.added if after else self.removed).append(Element(key))

    def commands(self, target: AnySet) -> Iterator[Command]:
        """Yield what carries this out."""
        if self.added:
            yield AddElements(target, self.added)
        if self.replaced:
            yield ReplaceElements(target, self.replaced)
        if self.removed:
            yield DeleteElements(target, self.removed)


class PolicyRows:
    """The rows of one node's policy table. What a method returns is taken for applied.

    `generation` is where the numbers begin that tell by which rules a connection was judged; one that was used for
    other rules before must not come again. It is never 0, the mark of a connection that nobody judged.
    """

    def __init__(self, family: Family, settings: PolicySettings, generation: int) -> None:
        self.family = family
        self.table_family = TableFamily.of(family)
        self._chains = PolicyChains(family, settings)
        self._sets = self._chains.sets
        self._generation = _following(generation - 1)
        self._subjects: dict[Address, Subject] = {}
        self._rows: dict[Collection, set[bytes]] = {}
        self._profiles: Tally[Profile] = Tally()
        self._asked_first: Tally[str] = Tally()
        self._own_sets: Tally[str] = Tally()
        self._definitions: dict[str, tuple[AnySet, tuple[Element, ...]]] = {}

    @property
    def sets(self) -> tuple[AnySet, ...]:
        """The definitions of the sets there are now; a set of verdicts comes last."""
        collections = (self._sets.of_collection(each) for each in self._rows)
        own = (self._definitions[name][0] for name in self._own_sets)
        return (*collections, *own, *self._sets.constant)

    @property
    def subjects(self) -> Mapping[Address, Subject]:
        """Whom the table judges."""
        return self._subjects

    def policies_of(self, prefix: str) -> tuple[Origin, ...]:
        """The policies of the profile whose denials are logged under a prefix."""
        return next((each.policies for each in self._profiles if name_of(each) == prefix), ())

    def replace(self, changes: PolicyChanges) -> Stages:
        """Return what carries changes out, nothing where the kernel has no part in them.

        A packet under way sees chains and rows as of different moments, hence the stages. The new generation begins in
        the last, when nothing is judged by the former rows any more. Between the two both count as judged, so that an
        agent that starts in between finds the number in doubt.
        """
        new_sets, moved, gone_sets = self._take_collections(changes)
        egress, ingress, own, isolated = _Delta(), _Delta(), _Delta(), _Delta()
        for address, subject in changes.subjects.items():
            if address.family is self.family:
                self._place(address, subject, egress, ingress, own, isolated)
        gone_own_sets, new_own_sets, gone_chains, new_chains = self._settle()
        sets = self._sets
        commands = [
            *new_sets,
            *new_own_sets,
            *new_chains,
            *moved,
            *own.commands(sets.own),
            *isolated.commands(sets.isolated),
            *egress.commands(sets.egress),
            *ingress.commands(sets.ingress),
            *gone_chains,
            *gone_own_sets,
            *gone_sets,
        ]
        if commands:
            commands += self._turn()
        return self._stages(commands, self._joining(changes))

    def build(self) -> Transaction:
        """Return the transaction that makes the whole table, in place of any of that name."""
        return Transaction(self.table_family, TABLE, build_table(self.sets, self.desired()))

    def adopt(self, listed: TableContents | None) -> Stages:
        """Return what leads from what the kernel lists (None: no such table) to what the table should hold.

        Where nothing else differs the generation stays what it is in the kernel, and no connection is judged again.
        """
        if listed is None:
            return one_stage(self.build())
        self._generation = _listed_generation(listed, self._sets.judged.name) or self._generation
        commands = diff_tables(self.sets, listed, self.desired())
        if commands:
            self._generation = _following(self._generation)
            commands = diff_tables(self.sets, listed, self.desired())
        return self._stages(commands, Joining.WITH_THE_ROWS)

    def desired(self) -> TableContents:
        """Return all the table should hold. Costs as much as all rows."""
        table = TableContents(self.table_family, TABLE)
        for chain, rules in self._chains.base():
            table.chains[chain.name] = ChainContents(chain, list(rules))
        for profile in self._profiles:
            for chain, rules in self._chains.of_profile(profile).chains:
                table.chains[chain.name] = ChainContents(chain, list(rules))
        for target in self._sets.constant:
            table.sets[target.name] = SetContents.of(target)
        for name in self._own_sets:
            target, elements = self._definitions[name]
            table.sets[name] = SetContents.of(target, elements)
        for collection, rows in self._rows.items():
            contents = SetContents.of(self._sets.of_collection(collection))
            contents.rows = dict.fromkeys(rows)
            table.sets[contents.shape.name] = contents
        self._fill_constant(table)
        return table

    def _fill_constant(self, table: TableContents) -> None:
        sets = self._sets
        rows: dict[str, Rows] = {target.name: {} for target in sets.constant}
        for address, subject in self._subjects.items():
            packed = address.packed
            rows[sets.own.name][packed * 2] = None
            rows[sets.isolated.name][packed] = None
            for target, profile in ((sets.egress, subject.egress), (sets.ingress, subject.ingress)):
                if profile is not None:
                    rows[target.name][packed] = self._chains.verdict(profile)
        mark = host(self._generation)
        rows[sets.judged.name][mark] = None
        rows[sets.stamp.name][_NFPROTOS[self.family]] = mark
        for name, found in rows.items():
            table.sets[name].rows = found

    def _joining(self, changes: PolicyChanges) -> Joining:
        """Members join early where whoever is judged here is judged as before, and at most one of them moves."""
        moves = changes.moves.values()
        moved = {_address(member) for each in moves for members in (each.joined, each.left) for member in members}
        alone = not changes.subjects and len(moved & self._subjects.keys()) <= 1
        return Joining.EARLY if alone else Joining.WITH_THE_ROWS

    def _stages(self, commands: Iterable[Command], joining: Joining) -> Stages:
        sets = self._sets
        constant = frozenset(each.name for each in sets.constant)
        known = Sets(constant, frozenset(self._asked_first), sets.judged.name, sets.stamp.name)
        return stage_commands(self.table_family, TABLE, commands, known, joining)

    def _take_collections(self, changes: PolicyChanges) -> tuple[list[Command], list[Command], list[Command]]:
        """Note members; return what makes new sets, what moves members, and what removes sets that nobody uses."""
        new: list[Command] = []
        moved: list[Command] = []
        gone: list[Command] = []
        for collection, members in changes.collections.items():
            target, held = self._sets.of_collection(collection), self._rows.get(collection)
            if members is None:
                if held is not None:
                    del self._rows[collection]
                    gone.append(DeleteSet(target.name))
                continue
            rows = set(self._sets.pack_members(members))
            if held is not None:
                moved += self._move(target, held, rows - held, held - rows)
                continue
            self._rows[collection] = rows
            new.append(AddSet(target))
            if rows:
                new.append(AddElements(target, [Element(key) for key in rows]))
        for collection, moves in changes.moves.items():
            target, held = self._sets.of_collection(collection), self._rows[collection]
            joined, left = set(self._sets.pack_members(moves.joined)), set(self._sets.pack_members(moves.left))
            moved += self._move(target, held, joined, left)
        return new, moved, gone

    def _move(self, target: AnySet, rows: set[bytes], joined: set[bytes], left: set[bytes]) -> Iterator[Command]:
        rows |= joined
        rows -= left
        if joined:
            yield AddElements(target, [Element(key) for key in joined])
        if left:
            yield DeleteElements(target, [Element(key) for key in left])

    def _place(
        self, address: Address, subject: Subject | None, egress: _Delta, ingress: _Delta, own: _Delta, isolated: _Delta
    ) -> None:
        old, packed = self._subjects.get(address), address.packed
        egress.value(packed, self._verdict(old, egress=True), self._verdict(subject, egress=True))
        ingress.value(packed, self._verdict(old, egress=False), self._verdict(subject, egress=False))
        own.presence(packed * 2, old is not None, subject is not None)
        isolated.presence(packed, old is not None, subject is not None)
        for profile in _profiles(subject):
            self._profiles.add(profile)
        for profile in _profiles(old):
            self._profiles.remove(profile)
        if subject is None:
            self._subjects.pop(address, None)
        else:
            self._subjects[address] = subject

    def _verdict(self, subject: Subject | None, *, egress: bool) -> Verdict | None:
        profile = None if subject is None else subject.egress if egress else subject.ingress
        return None if profile is None else self._chains.verdict(profile)

    def _settle(self) -> tuple[list[Command], list[Command], list[Command], list[Command]]:
        """Return what removes and makes the sets and the chains of profiles that vanished and appeared."""
        appeared, vanished = self._profiles.settle()
        gone_chains: list[Command] = []
        new_chains: list[Command] = []
        for profile in appeared:
            made = self._chains.of_profile(profile)
            for name in self._asked_by(profile):
                self._asked_first.add(name)
            for target, elements in made.sets:
                self._own_sets.add(target.name)
                self._definitions[target.name] = target, elements
            new_chains += (AddChain(chain) for chain, _ in reversed(made.chains))
            new_chains += (AddRule(chain.name, rule) for chain, rules in reversed(made.chains) for rule in rules)
        for profile in vanished:
            made = self._chains.of_profile(profile)
            for name in self._asked_by(profile):
                self._asked_first.remove(name)
            for target, _ in made.sets:
                self._own_sets.remove(target.name)
            gone_chains += (DeleteChain(chain.name) for chain, _ in made.chains)
        new_names, gone_names = self._own_sets.settle()
        new_sets: list[Command] = []
        for name in new_names:
            target, elements = self._definitions[name]
            new_sets += (AddSet(target), AddElements(target, elements))
        for name in gone_names:
            del self._definitions[name]
        return [DeleteSet(name) for name in gone_names], new_sets, gone_chains, new_chains

    def _asked_by(self, profile: Profile) -> Iterator[str]:
        """The sets of members that a profile asks in its first part, whose answers end the questions."""
        for term in profile.admin:
            for asked in (term.peer, term.ports):
                if isinstance(asked, PodGroup | NamedPort):
                    yield self._sets.of_collection(asked).name

    def _turn(self) -> Iterable[Command]:
        """Begin a new generation: what was judged before is judged again."""
        judged, old = self._sets.judged, host(self._generation)
        self._generation = _following(self._generation)
        new = host(self._generation)
        return (
            AddElements(judged, [Element(new)]),
            DeleteElements(judged, [Element(old)]),
            ReplaceElements(self._sets.stamp, [Element(_NFPROTOS[self.family], new)]),
        )


def _address(member: Member) -> Address:
    return member.address if isinstance(member, PodEnd) else member


def _following(generation: int) -> int:
    return generation % _LAST_GENERATION + 1


def _profiles(subject: Subject | None) -> tuple[Profile, ...]:
    return tuple(each for each in (subject.egress, subject.ingress) if each is not None) if subject else ()


def _listed_generation(listed: TableContents, name: str) -> int | None:
    """The generation that a listed table is in."""
    held = listed.sets.get(name)
    marks = list(held.rows or ()) if held else []
    return int.from_bytes(marks[0], sys.byteorder) if len(marks) == 1 else None
