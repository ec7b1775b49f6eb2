"""Frontends to rows: the service table of one node and one address family, kept by changes.

Comes in: frontends that appeared, changed or went. Goes out: the transaction that takes the table there, touching no
row that stays. Refuses to know Kubernetes and the kernel.

A frontend of N backends is N rows of `backends`, numbered from 0, and one verdict of `frontends` leading to the chain
that draws one of N. The last row moves into the hole a backend leaves, so the numbers have no gaps. A backend that
clients stay with has two rows instead, one to draw it by, and one by a number it keeps (`render/service_affinity.py`).
"""

from collections.abc import Mapping

from msgspec.structs import replace

from fairlead.model import Backend, Frontend, FrontendKey
from fairlead.net import Family, Prefix
from fairlead.nft.diff import build_table, diff_tables
from fairlead.nft.objects import AnySet, Chain, Element
from fairlead.nft.tables import ChainContents, Rows, SetContents, TableContents
from fairlead.nft.transactions import Command, Transaction
from fairlead.render.service_bytes import INDEXES, PORTS, leading_bytes, pack_backend, pack_frontend
from fairlead.render.service_chains import Chosen
from fairlead.render.service_changes import ServiceChanges
from fairlead.render.service_layout import TABLE, ServiceLayout
from fairlead.render.service_numbers import AffinityNumbers
from fairlead.render.service_placing import Extras, Placed, extra_rows, listed_order, place_frontend
from fairlead.render.tallies import Tally


class ServiceRows:
    """The rows of one node's service table. What a method returns is taken for applied.

    Addresses inside `service_prefixes` that no Service has are dropped; prefixes of other families, and None, are
    nothing.
    """

    def __init__(self, family: Family, pod_prefixes: tuple[Prefix, ...], *service_prefixes: Prefix | None) -> None:
        ranges = tuple(prefix for prefix in service_prefixes if prefix is not None)
        self._layout = ServiceLayout(family, pod_prefixes, ranges)
        self._sets = self._layout.sets
        self._forget()
        self._local_start = leading_bytes(pod_prefixes, family) if pod_prefixes else (b"",)
        self._cluster_start = leading_bytes(self._layout.service_prefixes, family)

    @property
    def sets(self) -> tuple[AnySet, ...]:
        """The definitions of the table's sets and maps."""
        return self._sets.all

    def base(self) -> Transaction:
        """Return the transaction that makes the table without rows, in place of any table of that name."""
        self._forget()
        return self._transaction(build_table(self._sets.all, self._empty()))

    def replace(self, changes: Mapping[FrontendKey, Frontend | None]) -> Transaction:
        """Return the transaction for frontends that are new or changed, or that went (None).

        Costs as much as the frontends given, and sends only their rows that differ. Where the socket must cut it, every
        piece leaves the frontends right: rows come before the verdict that draws them, and go after it.
        """
        out = ServiceChanges(self._sets, self._layout.choices)
        for key, frontend in changes.items():
            self._place(key, frontend, out)
        out.chains_added, out.chains_removed = self._chains.settle()
        self._settle(self._local, out.hairpin.added, out.hairpin.removed, 2)
        self._settle(self._cluster_ips, out.cluster_ips.added, out.cluster_ips.removed, 1)
        chains = tuple(out.new_chains())
        return self._transaction((*chains, *out.commands()), commits=(len(chains),))

    def desired(self) -> TableContents:
        """Return all the table should hold, for comparison with what the kernel lists. Costs as much as all rows."""
        table = self._empty()
        for chosen in self._chains:
            rules = list(self._layout.choices.rules(chosen))
            table.chains[chosen.name] = ChainContents(Chain(chosen.name), rules)
        rows: dict[str, Rows] = {target.name: {} for target in self.sets}
        backends, frontends = rows[self._sets.backends.name], rows[self._sets.frontends.name]
        no_endpoints = rows[self._sets.no_endpoints.name]
        for key, placed in self._placed.items():
            packed = pack_frontend(key)
            for index, backend in enumerate(placed.backends):
                backends[packed + INDEXES[index]] = pack_backend(backend)
            (frontends if placed.chosen else no_endpoints)[packed] = placed.verdict
            for name, extra in extra_rows(self._sets, self._numbers, key, placed).items():
                rows[name].update(extra)
        rows[self._sets.hairpin.name] = {address * 2: None for address in self._local}
        if self._layout.service_prefixes:
            rows[self._sets.cluster_ips.name] = dict.fromkeys(self._cluster_ips)
        for name, found in rows.items():
            table.sets[name].rows = found
        return table

    def adopt(self, dump: TableContents | None) -> Transaction:
        """Return the transaction from what the kernel lists (None: no such table) to what the table should hold.

        Backends the kernel already holds keep the rows they have there, so an agent that starts beside a right table
        changes nothing.
        """
        if dump is None:
            return self._transaction(build_table(self.sets, self.desired()))
        self._take_order(dump)
        return self._transaction(diff_tables(self.sets, dump, self.desired()))

    def _forget(self) -> None:
        self._placed: dict[FrontendKey, Placed] = {}
        self._chains: Tally[Chosen] = Tally()
        self._numbers = AffinityNumbers()
        self._local: Tally[bytes] = Tally()
        self._cluster_ips: Tally[bytes] = Tally()

    def _take_order(self, dump: TableContents) -> None:
        """Arrange each frontend's backends as the listed rows have them, as far as they agree."""
        self._take_numbers(dump)
        rows = self._listed_rows(dump, self._sets.backends)
        for key, placed in self._placed.items():
            packed = pack_frontend(key)
            backends, extras = listed_order(rows, packed, _packs(placed.backends)), placed.extras
            if extras is not None:
                extras = self._take_order_of_extras(dump, packed, extras)
            if backends != placed.backends or extras != placed.extras:
                self._placed[key] = Placed(backends, placed.verdict, placed.chosen, extras)

    def _take_order_of_extras(self, dump: TableContents, key: bytes, extras: Extras) -> Extras:
        sets, affinity = self._sets, extras.affinity
        if affinity is None:
            inside = self._listed_rows(dump, sets.inside_backends)
            return replace(extras, inside=listed_order(inside, key, _packs(extras.inside)))
        drawn, inside = self._listed_rows(dump, sets.draws), self._listed_rows(dump, sets.inside_draws)
        numbers = self._numbers
        return replace(
            extras,
            inside=listed_order(inside, key, {numbers.pack(affinity.port, each): each for each in extras.inside}),
            sticky=listed_order(drawn, key, {numbers.pack(affinity.port, each): each for each in extras.sticky}),
        )

    def _take_numbers(self, dump: TableContents) -> None:
        """Number the backends that clients stay with as the listed rows do, as far as they agree."""
        sticky = [(pack_frontend(key), each.extras) for key, each in self._placed.items() if each.extras]
        bound = [(packed, extras, extras.affinity.port) for packed, extras in sticky if extras.affinity]
        wanted = {packed: (port, {pack_backend(each): each for each in _all(extras)}) for packed, extras, port in bound}
        numbers = self._numbers = AffinityNumbers()
        for target in (self._sets.sticky, self._sets.inside_sticky):
            for key, value in self._listed_rows(dump, target).items():
                port, backends = wanted.get(key[:-4], ("", {}))
                if isinstance(value, bytes) and value in backends:
                    numbers.learn(port, backends[value], key[-4:])
        for _, extras, port in bound:
            numbers.take(port, _all(extras))

    def _listed_rows(self, dump: TableContents, target: AnySet) -> Rows:
        listed = dump.sets.get(target.name)
        return (listed.rows if listed else None) or {}

    def _place(self, key: FrontendKey, frontend: Frontend | None, out: ServiceChanges) -> None:
        assert len(key.address.packed) == self._layout.family.size, f"{key.address} is not {self._layout.family.value}"
        old = self._placed.get(key)
        if old is None and frontend is None:
            return
        new = place_frontend(old, frontend) if frontend else None
        packed = pack_frontend(key)
        before = (old.chosen is not None, old.verdict) if old else None
        after = (new.chosen is not None, new.verdict) if new else None
        out.verdict(packed, before, after)
        self._move_rows(packed, old.backends if old else (), new.backends if new else (), out)
        self._count(key, old, new)
        if (old and old.extras) or (new and new.extras):
            self._move_extras(key, old, new, out)
        if new is None:
            del self._placed[key]
        else:
            self._placed[key] = new

    def _move_rows(self, key: bytes, old: tuple[Backend, ...], new: tuple[Backend, ...], out: ServiceChanges) -> None:
        rows = out.backends
        shared = min(len(old), len(new))
        for index in range(shared):
            if old[index] != new[index]:
                rows.replaced.append(Element(key + INDEXES[index], pack_backend(new[index])))
                self._count_local(old[index], new[index])
        if len(new) > shared:
            self._add_rows(key, shared, new, rows.added)
        for index in range(shared, len(old)):
            rows.removed.append(Element(key + INDEXES[index]))
            self._count_local(old[index], None)

    def _add_rows(self, key: bytes, first: int, backends: tuple[Backend, ...], rows: list[Element]) -> None:
        """Add the rows from number `first` on: the way of a cold start, a million times over."""
        local, start, append, ports, indexes = self._local, self._local_start, rows.append, PORTS, INDEXES
        for index in range(first, len(backends)):
            backend = backends[index]
            address = backend.address.packed
            append(Element(key + indexes[index], address + ports[backend.port]))
            if address.startswith(start):
                local.add(address)

    def _move_extras(self, key: FrontendKey, old: Placed | None, new: Placed | None, out: ServiceChanges) -> None:
        before, after, numbers = old.extras if old else None, new.extras if new else None, self._numbers
        if after and after.affinity:
            numbers.take(after.affinity.port, _all(after))
        out.extra(extra_rows(self._sets, numbers, key, old), extra_rows(self._sets, numbers, key, new))
        if before and before.affinity:
            numbers.release(before.affinity.port, _all(before))
        self._count_chain(before.chosen if before else None, after.chosen if after else None)
        for backend in _all(after) if after else ():
            if backend.address.packed.startswith(self._local_start):
                self._local.add(backend.address.packed)
        for backend in _all(before) if before else ():
            self._count_local(backend, None)

    def _count_local(self, old: Backend, new: Backend | None) -> None:
        if new is not None and new.address.packed.startswith(self._local_start):
            self._local.add(new.address.packed)
        if old.address.packed.startswith(self._local_start):
            self._local.remove(old.address.packed)

    def _count(self, key: FrontendKey, old: Placed | None, new: Placed | None) -> None:
        address = key.address.packed
        if address.startswith(self._cluster_start):
            if new is not None and old is None:
                self._cluster_ips.add(address)
            if old is not None and new is None:
                self._cluster_ips.remove(address)
        self._count_chain(old.chosen if old else None, new.chosen if new else None)

    def _count_chain(self, before: Chosen | None, after: Chosen | None) -> None:
        if before != after:
            if after is not None:
                self._chains.add(after)
            if before is not None:
                self._chains.remove(before)

    def _settle(self, tally: Tally[bytes], added: list[Element], removed: list[Element], repeat: int) -> None:
        appeared, vanished = tally.settle()
        added += (Element(address * repeat) for address in appeared)
        removed += (Element(address * repeat) for address in vanished)

    def _empty(self) -> TableContents:
        layout = self._layout
        table = TableContents(layout.table_family, TABLE)
        for chain, rules in layout.chains():
            table.chains[chain.name] = ChainContents(chain, list(rules))
        for target in self.sets:
            table.sets[target.name] = SetContents.of(target)
        return table

    def _transaction(self, commands: tuple[Command, ...], commits: tuple[int, ...] = ()) -> Transaction:
        return Transaction(self._layout.table_family, TABLE, commands, commits=commits)


def _all(extras: Extras) -> tuple[Backend, ...]:
    """Return the backends of the extras, those of both lists twice."""
    return (*extras.inside, *extras.sticky)


def _packs(backends: tuple[Backend, ...]) -> dict[bytes, Backend]:
    return {pack_backend(each): each for each in backends}
