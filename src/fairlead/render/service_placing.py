"""What the table holds for one frontend, as a value, and the rows that few frontends need beside those all have.

Comes in: a frontend, and what the table held for it before. Goes out: what it holds now. Refuses to know transactions.
"""

from collections.abc import Sequence

from msgspec import Struct

from fairlead.model import AddressRange, Affinity, Backend, Frontend, FrontendKey, Refusal
from fairlead.nft.objects import Map
from fairlead.nft.tables import Rows
from fairlead.nft.verdicts import DROP, Verdict, goto
from fairlead.render.service_bytes import INDEXES, pack_backend, pack_frontend, pack_source_range
from fairlead.render.service_chains import ChainClass, Chosen, class_of
from fairlead.render.service_layout import REFUSE
from fairlead.render.service_numbers import AffinityNumbers
from fairlead.render.service_sets import ServiceSets

_REFUSED_BY: dict[Refusal, Verdict] = {Refusal.REJECT: goto(REFUSE), Refusal.DROP: DROP}


class Extras(Struct, frozen=True, gc=False):
    """What most frontends have none of.

    Other backends for clients inside; backends that clients stay with, by `affinity`, as they do with those inside;
    and the ranges clients must come from. Backends are in row order.
    """

    inside: tuple[Backend, ...]
    sticky: tuple[Backend, ...]
    affinity: Affinity | None
    sources: tuple[AddressRange, ...] | None

    @property
    def chosen(self) -> Chosen | None:
        """The chain clients inside are led to."""
        return Chosen(ChainClass.INSIDE, len(self.inside), _timeout(self.affinity)) if self.inside else None


class Placed(Struct, frozen=True, gc=False):
    """What the table holds for one frontend: its backends in row order, and what its key leads to.

    `chosen` is the chain of its class and width, or None where `verdict` refuses for want of backends. Backends that
    clients stay with have other rows, and are among the extras.
    """

    backends: tuple[Backend, ...]
    verdict: Verdict
    chosen: Chosen | None
    extras: Extras | None = None


def place_frontend(old: Placed | None, frontend: Frontend) -> Placed:
    """Return what the table holds for a frontend, moving as few of the rows it has as possible."""
    extras = None
    if frontend.inside or frontend.affinity or frontend.sources is not None:
        extras = _place_extras(old.extras if old else None, frontend)
    if not frontend.backends and not frontend.inside:
        return Placed((), _REFUSED_BY[frontend.when_empty], None, extras)
    chosen = Chosen(class_of(frontend), len(frontend.backends), _timeout(frontend.affinity))
    if frontend.affinity:
        return Placed((), chosen.verdict, chosen, extras)
    backends = arrange_backends(old.backends, frontend.backends) if old else frontend.backends
    return Placed(backends, chosen.verdict, chosen, extras)


def _timeout(affinity: Affinity | None) -> int:
    return affinity.timeout if affinity else 0


def _place_extras(old: Extras | None, frontend: Frontend) -> Extras:
    inside = arrange_backends(old.inside if old else (), frontend.inside)
    sticky = arrange_backends(old.sticky if old else (), frontend.backends) if frontend.affinity else ()
    return Extras(inside, sticky, frontend.affinity, frontend.sources)


def extra_rows(sets: ServiceSets, numbers: AffinityNumbers, key: FrontendKey, placed: Placed | None) -> dict[str, Rows]:
    """Return a frontend's rows by the name of their set, apart from those all frontends have."""
    extras = placed.extras if placed else None
    if extras is None:
        return {}
    packed = pack_frontend(key)
    rows: dict[str, Rows] = {}
    if extras.chosen:
        rows[sets.inside.name] = {packed: extras.chosen.verdict}
        if extras.affinity:
            packs = {each: numbers.pack(extras.affinity.port, each) for each in extras.inside}
            rows |= _sticky_rows(sets.inside_draws, sets.inside_sticky, packed, packs)
        else:
            rows[sets.inside_backends.name] = {
                packed + INDEXES[index]: pack_backend(backend) for index, backend in enumerate(extras.inside)
            }
    if extras.affinity and extras.sticky:
        packs = {each: numbers.pack(extras.affinity.port, each) for each in extras.sticky}
        rows |= _sticky_rows(sets.draws, sets.sticky, packed, packs)
    if extras.sources is not None:
        rows[sets.restricted.name] = {packed: None}
        rows[sets.source_ranges.name] = {pack_source_range(packed, each): None for each in extras.sources}
    return rows


def _sticky_rows(draws: Map, sticky: Map, packed: bytes, numbers: dict[Backend, bytes]) -> dict[str, Rows]:
    return {
        sticky.name: {packed + number: pack_backend(backend) for backend, number in numbers.items()},
        draws.name: {packed + INDEXES[index]: number for index, number in enumerate(numbers.values())},
    }


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


def listed_order(rows: Rows, key: bytes, by_value: dict[bytes, Backend]) -> tuple[Backend, ...]:
    """Return the backends of these values as the listed rows of a key have them, as far as they agree."""
    backends = tuple(by_value.values())
    order: list[Backend | None] = []
    while isinstance(value := rows.get(key + INDEXES[len(order)]), bytes):
        order.append(by_value.pop(value, None))
    return arrange_backends(order, backends)
