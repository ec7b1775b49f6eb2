"""What the table holds for one frontend, as a value, and the rows that few frontends need beside those all have.

Comes in: a frontend, and what the table held for it before. Goes out: what it holds now. Refuses to know transactions.
"""

from collections.abc import Sequence

from msgspec import Struct

from fairlead.model import Backend, Frontend, FrontendKey, Refusal
from fairlead.nft.tables import Rows
from fairlead.nft.verdicts import DROP, Verdict, goto
from fairlead.render.service_bytes import INDEXES, pack_backend, pack_frontend
from fairlead.render.service_chains import ChainClass, Chosen, class_of
from fairlead.render.service_layout import REFUSE
from fairlead.render.service_sets import ServiceSets

_REFUSED_BY: dict[Refusal, Verdict] = {Refusal.REJECT: goto(REFUSE), Refusal.DROP: DROP}


class Extras(Struct, frozen=True, gc=False):
    """What most frontends have none of: other backends for clients inside, in row order."""

    inside: tuple[Backend, ...]

    @property
    def chosen(self) -> Chosen | None:
        """The chain clients inside are led to."""
        return Chosen(ChainClass.INSIDE, len(self.inside)) if self.inside else None


class Placed(Struct, frozen=True, gc=False):
    """What the table holds for one frontend: its backends in row order, and what its key leads to.

    `chosen` is the chain of its class and width, or None where `verdict` refuses for want of backends.
    """

    backends: tuple[Backend, ...]
    verdict: Verdict
    chosen: Chosen | None
    extras: Extras | None = None


def place_frontend(old: Placed | None, frontend: Frontend) -> Placed:
    """Return what the table holds for a frontend, moving as few of the rows it has as possible."""
    extras = None
    if frontend.inside:
        held = old.extras.inside if old and old.extras else ()
        extras = Extras(arrange_backends(held, frontend.inside))
    if not frontend.backends and not frontend.inside:
        return Placed((), _REFUSED_BY[frontend.when_empty], None, extras)
    backends = arrange_backends(old.backends, frontend.backends) if old else frontend.backends
    chosen = Chosen(class_of(frontend), len(backends))
    return Placed(backends, chosen.verdict, chosen, extras)


def extra_rows(sets: ServiceSets, key: FrontendKey, placed: Placed | None) -> dict[str, Rows]:
    """Return a frontend's rows by the name of their set, apart from those all frontends have."""
    extras = placed.extras if placed else None
    if extras is None:
        return {}
    packed = pack_frontend(key)
    rows: dict[str, Rows] = {}
    if extras.chosen:
        rows[sets.inside_backends.name] = {
            packed + INDEXES[index]: pack_backend(backend) for index, backend in enumerate(extras.inside)
        }
        rows[sets.inside.name] = {packed: extras.chosen.verdict}
    return rows


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


def listed_order(rows: Rows, key: bytes, backends: tuple[Backend, ...]) -> tuple[Backend, ...]:
    """Return `backends` as the listed rows of a key have them, as far as they agree."""
    by_value = {pack_backend(backend): backend for backend in backends}
    order: list[Backend | None] = []
    while isinstance(value := rows.get(key + INDEXES[len(order)]), bytes):
        order.append(by_value.pop(value, None))
    return arrange_backends(order, backends)
