"""What a packet finds in sets and leaves in them: rows of the table, and rows that rules have added.

Comes in: tables, the rows added before, the time. Goes out: what a look finds, and the rows added after. Refuses to
know registers and rules. Source: kernel `net/netfilter/nft_lookup.c`, `nft_dynset.c`, `nft_set_hash.c`.
"""

from msgspec import Struct

from fairlead.nft.attributes import padded
from fairlead.nft.expressions import Dynset, DynsetOperation
from fairlead.nft.intervals import find_range
from fairlead.nft.packets import Remembered, State, UnknownError
from fairlead.nft.tables import SetContents, TableContents
from fairlead.nft.verdicts import Verdict


class Looked(Struct, frozen=True):
    """One look into a set: the key, and the row's value where there is such a row; of a range the `row` it is."""

    set: str
    key: bytes
    found: bool
    value: bytes | Verdict | None = None
    row: bytes | None = None


class Memory:
    """The sets a packet meets on its way."""

    def __init__(self, state: State, now: int) -> None:
        self._now = now
        self._state = {name: dict(rows) for name, rows in state.items()}

    @property
    def state(self) -> State:
        """The rows that rules have added, without those that have expired."""
        live = {name: {key: row for key, row in rows.items() if self._lives(row)} for name, rows in self._state.items()}
        return {name: rows for name, rows in live.items() if rows}

    def key_length(self, table: TableContents, name: str) -> int:
        """Return the length of a set's keys, in bytes."""
        return padded(_held(table, name).shape.key_length)

    def value_length(self, table: TableContents, name: str) -> int:
        """Return the length of a map's values, in bytes; 0 of a set without values."""
        return padded(_held(table, name).shape.value_length)

    def look(self, table: TableContents, name: str, key: bytes) -> Looked:
        """Return what a set holds for a key. Raises UnknownError where its rows are not known."""
        held = _held(table, name)
        added = self._state.get((table.name, name), {}).get(key)
        if added is not None and self._lives(added):
            return Looked(name, key, True, added.value)
        if held.rows is None:
            raise UnknownError(f"the rows of the set {name} are not known")
        if not held.shape.has_intervals:
            return Looked(name, key, key in held.rows, held.rows.get(key))
        row = find_range(held.rows, key, [padded(length) for length in held.shape.fields])
        return Looked(name, key, row is not None, held.rows[row] if row else None, row)

    def change(self, table: TableContents, step: Dynset, key: bytes, value: bytes | None) -> bool:
        """Add, renew or delete a row; return whether the rule goes on.

        A row that is there keeps its value: adding leaves it as it is, and updating only renews its time.
        """
        shape = _held(table, step.set).shape
        rows = self._state.setdefault((table.name, step.set), {})
        old = rows.get(key)
        lives = old is not None and self._lives(old)
        if step.operation is DynsetOperation.DELETE:
            rows.pop(key, None)
            return True
        if lives and step.operation is DynsetOperation.ADD:
            return True
        if not lives and len([row for row in rows.values() if self._lives(row)]) >= shape.size:
            return False
        timeout = shape.timeout if step.timeout is None else step.timeout
        kept = old.value if old is not None and lives else value
        rows[key] = Remembered(kept, self._now + timeout if timeout else None)
        return True

    def _lives(self, row: Remembered) -> bool:
        return row.expires is None or self._now < row.expires


def _held(table: TableContents, name: str) -> SetContents:
    if name not in table.sets:
        raise UnknownError(f"the set {name} is not known")
    return table.sets[name]
