"""Frontends to rows: the service table of one node and one address family, kept by changes.

Comes in: frontends that appeared, changed or went. Goes out: the transaction that takes the table there, touching no
row that stays. Refuses to know Kubernetes and the kernel.

A frontend of N backends is N rows of `backends`, numbered from 0, and one verdict of `frontends` leading to the chain
that draws one of N. The last row moves into the hole a backend leaves, so the numbers have no gaps.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from fairlead.model import Backend, Frontend, FrontendKey, Refusal
from fairlead.net import Family, Prefix
from fairlead.nft.diff import build_table, diff_tables
from fairlead.nft.objects import AnySet, Chain, Element
from fairlead.nft.tables import ChainContents, Rows, SetContents, TableContents
from fairlead.nft.transactions import Command, Transaction
from fairlead.nft.verdicts import DROP, Verdict, goto
from fairlead.render.service_bytes import INDEXES, PORTS, leading_bytes, pack_backend, pack_frontend
from fairlead.render.service_changes import Chosen, ServiceChanges
from fairlead.render.service_layout import REFUSE, TABLE, ServiceLayout, chain_name, class_of, width_verdict
from fairlead.render.tallies import Tally

_REFUSED_BY: dict[Refusal, Verdict] = {Refusal.REJECT: goto(REFUSE), Refusal.DROP: DROP}


class Placed(Struct, frozen=True, gc=False):
    """What the table holds for one frontend: its backends in row order, and what its key leads to.

    `chosen` is the chain of its class and width, or None where `verdict` refuses for want of backends.
    """

    backends: tuple[Backend, ...]
    verdict: Verdict
    chosen: Chosen | None


class ServiceRows:
    """The rows of one node's service table. What a method returns is taken for applied."""

    def __init__(self, family: Family, pod_prefixes: tuple[Prefix, ...], service_prefix: Prefix | None) -> None:
        self._layout = ServiceLayout(family, pod_prefixes, service_prefix)
        self._forget()
        self._verdicts: dict[Chosen, Verdict] = {}
        self._local_start = leading_bytes(pod_prefixes, family) if pod_prefixes else (b"",)
        service = self._layout.service_prefix
        self._cluster_start = leading_bytes((service,), family) if service else ()

    @property
    def sets(self) -> tuple[AnySet, ...]:
        """The definitions of the table's sets and maps."""
        return self._layout.sets

    def base(self) -> Transaction:
        """Return the transaction that makes the table without rows, in place of any table of that name."""
        self._forget()
        return self._transaction(build_table(self._layout.sets, self._empty()))

    def replace(self, changes: Mapping[FrontendKey, Frontend | None]) -> Transaction:
        """Return the transaction for frontends that are new or changed, or that went (None).

        Costs as much as the frontends given, and sends only their rows that differ. Where the socket must cut it, every
        piece leaves the frontends right: rows come before the verdict that draws them, and go after it.
        """
        out = ServiceChanges(self._layout)
        for key, frontend in changes.items():
            self._place(key, frontend, out)
        out.chains_added, out.chains_removed = self._chains.settle()
        self._settle(self._local, out.hairpin.added, out.hairpin.removed, 2)
        self._settle(self._cluster_ips, out.cluster_ips.added, out.cluster_ips.removed, 1)
        return self._transaction(out.commands())

    def desired(self) -> TableContents:
        """Return all the table should hold, for comparison with what the kernel lists. Costs as much as all rows."""
        table = self._empty()
        for way, width in self._chains:
            name = chain_name(way, width)
            table.chains[name] = ChainContents(Chain(name), list(self._layout.width_rules(way, width)))
        backends: Rows = {}
        frontends: Rows = {}
        no_endpoints: Rows = {}
        for key, placed in self._placed.items():
            packed = pack_frontend(key)
            for index, backend in enumerate(placed.backends):
                backends[packed + INDEXES[index]] = pack_backend(backend)
            (frontends if placed.chosen else no_endpoints)[packed] = placed.verdict
        layout = self._layout
        table.sets[layout.backends.name].rows = backends
        table.sets[layout.frontends.name].rows = frontends
        table.sets[layout.no_endpoints.name].rows = no_endpoints
        table.sets[layout.hairpin.name].rows = {address * 2: None for address in self._local}
        if layout.service_prefix:
            table.sets[layout.cluster_ips.name].rows = dict.fromkeys(self._cluster_ips)
        return table

    def adopt(self, dump: TableContents | None) -> Transaction:
        """Return the transaction from what the kernel lists (None: no such table) to what the table should hold.

        Backends the kernel already holds keep the rows they have there, so an agent that starts beside a right table
        changes nothing.
        """
        if dump is None:
            return self._transaction(build_table(self._layout.sets, self.desired()))
        self._take_order(dump.sets.get(self._layout.backends.name))
        return self._transaction(diff_tables(self._layout.sets, dump, self.desired()))

    def _forget(self) -> None:
        self._placed: dict[FrontendKey, Placed] = {}
        self._chains: Tally[Chosen] = Tally()
        self._local: Tally[bytes] = Tally()
        self._cluster_ips: Tally[bytes] = Tally()

    def _take_order(self, listed: SetContents | None) -> None:
        """Arrange each frontend's backends as the listed rows have them, as far as they agree."""
        rows = listed.rows if listed else None
        if rows is None:
            return
        for key, placed in self._placed.items():
            packed = pack_frontend(key)
            by_value = {pack_backend(backend): backend for backend in placed.backends}
            order: list[Backend | None] = []
            while isinstance(value := rows.get(packed + INDEXES[len(order)]), bytes):
                order.append(by_value.pop(value, None))
            backends = arrange_backends(order, placed.backends)
            if backends != placed.backends:
                self._placed[key] = Placed(backends, placed.verdict, placed.chosen)

    def _place(self, key: FrontendKey, frontend: Frontend | None, out: ServiceChanges) -> None:
        assert len(key.address.packed) == self._layout.family.size, f"{key.address} is not {self._layout.family.value}"
        old = self._placed.get(key)
        if old is None and frontend is None:
            return
        new = self._renew(old, frontend)
        packed = pack_frontend(key)
        before = (old.chosen is not None, old.verdict) if old else None
        after = (new.chosen is not None, new.verdict) if new else None
        out.verdict(packed, before, after)
        self._move_rows(packed, old.backends if old else (), new.backends if new else (), out)
        self._count(key, old, new)
        if new is None:
            del self._placed[key]
        else:
            self._placed[key] = new

    def _renew(self, old: Placed | None, frontend: Frontend | None) -> Placed | None:
        if frontend is None:
            return None
        if not frontend.backends:
            return Placed((), _REFUSED_BY[frontend.when_empty], None)
        backends = arrange_backends(old.backends, frontend.backends) if old else frontend.backends
        chosen = (class_of(frontend.masquerade), len(backends))
        verdict = self._verdicts.get(chosen)
        if verdict is None:
            verdict = self._verdicts[chosen] = width_verdict(*chosen)
        return Placed(backends, verdict, chosen)

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
        before, after = old.chosen if old else None, new.chosen if new else None
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
        for target in layout.sets:
            table.sets[target.name] = SetContents.of(target)
        return table

    def _transaction(self, commands: tuple[Command, ...]) -> Transaction:
        return Transaction(self._layout.table_family, TABLE, commands)


def arrange_backends(rows: Sequence[Backend | None], backends: tuple[Backend, ...]) -> tuple[Backend, ...]:
    """Return `backends` in an order that moves as few of `rows` as possible.

    Whoever has a row keeps it, as long as its number is below the new width; then the last rows, and after them the new
    backends in their given order, fill the holes and the rows added. None is a row that belongs to nobody.
    """
    if rows == backends:
        return backends
    width = len(backends)
    wanted = set(backends)
    order: list[Backend | None] = [row if row in wanted else None for row in rows[:width]]
    order += [None] * (width - len(order))
    kept = set(order)
    tail = [row for row in rows[width:] if row in wanted and row not in kept]
    settled = kept.union(tail)
    waiting = iter([*tail, *(backend for backend in backends if backend not in settled)])
    return tuple(next(waiting) if row is None else row for row in order)
