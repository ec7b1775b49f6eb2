"""Listed objects of the kernel to values (kernel `net/netfilter/nf_tables_api.c`, the `nf_tables_fill_*` functions).

Comes in: the body of one message of a listing. Goes out: chains, rules, sets and rows. Rows of maps take the fast way:
all records of a message have the same size, so they are cut by one layout.
"""

from functools import lru_cache
from struct import Struct as Layout
from struct import unpack_from

from msgspec import Struct

from fairlead.nft.attributes import (
    header,
    iter_attributes,
    padded,
    parse_attributes,
    parse_list,
    parse_name,
    parse_number,
    parse_signed,
)
from fairlead.nft.intervals import join_range, pair_ends
from fairlead.nft.objects import Base, Chain, ChainType, Hook, Policy, Rule
from fairlead.nft.shapes import SetShape, parse_shape
from fairlead.nft.tables import Rows
from fairlead.nft.verdicts import Verdict
from fairlead.nft.wire_expressions import parse_expressions, parse_verdict

_TABLE = 1
_KEY_START = 12
_KEY, _DATA, _FLAGS, _KEY_END = 1, 2, 3, 10
_INTERVAL_END = 1
_VALUE, _VERDICT = 1, 2
_ELEMENTS = 3
_COUNT = 20


class Listed(Struct, frozen=True):
    """What every listed object says of itself: its table, the rest by attribute."""

    table: str
    found: dict[int, bytes]


def parse_listed(body: bytes) -> Listed:
    """Return a listed object's table and attributes; the table's own name counts as its table."""
    found = parse_attributes(body)
    return Listed(parse_name(found[_TABLE]), found)


def parse_generation(body: bytes) -> int:
    """Return the number of the ruleset's generation, which every transaction raises."""
    return parse_number(parse_attributes(body)[1])


def parse_chain(listed: Listed) -> Chain:
    """Return a chain. Raises ValueError for a hook or type that is never ours."""
    found = listed.found
    name = parse_name(found[3])
    if 4 not in found:
        return Chain(name)
    hook = parse_attributes(found[4])
    kind = ChainType(parse_name(found[7]))
    policy = Policy(parse_number(found[5]))
    return Chain(name, Base(kind, Hook(parse_number(hook[1])), parse_signed(hook[2]), policy))


def parse_rule(listed: Listed) -> tuple[str, Rule]:
    """Return a rule and the name of its chain."""
    return parse_name(listed.found[2]), Rule(parse_expressions(listed.found.get(4, b"")))


def parse_set(listed: Listed) -> tuple[SetShape, int | None]:
    """Return a set's shape and how many elements it has.

    Kernels before 6.17 do not tell that, and of plain ranges, kept as two elements each, none tells it exactly.
    """
    shape, count = parse_shape(listed.found), listed.found.get(_COUNT)
    inexact = shape.has_intervals and not shape.has_ranged_fields
    return shape, None if count is None or inexact else parse_number(count)


def parse_elements(listed: Listed, shape: SetShape, rows: Rows) -> None:
    """Add the elements of one message to `rows`; those of intervals are to be put together by `join_elements`."""
    data = listed.found.get(_ELEMENTS, b"")
    if shape.has_intervals:
        rows.update(_parse_ends(data))
        return
    if shape.value_length:
        records = _records(shape.key_length, shape.value_length)
        if data[:_KEY_START] == records.head and not len(data) % records.layout.size:
            found = list(records.layout.iter_unpack(data))
            if {(head, middle) for head, _, middle, _ in found} == {(records.head, records.middle)}:
                rows.update([(key, value) for _, key, _, value in found])
                return
    _parse_each(data, padded(shape.key_length), rows)


def join_elements(shape: SetShape, rows: Rows) -> Rows:
    """Return the rows of a set from all its elements."""
    if not shape.has_intervals:
        return rows
    if shape.has_ranged_fields:
        return {key[1:]: value for key, value in rows.items()}
    firsts = ((key[1:], value) for key, value in rows.items() if not key[0])
    return pair_ends(firsts, (key[1:] for key in rows if key[0]))


def _parse_ends(data: bytes) -> Rows:
    """Return elements by a mark, 1 for the end of a plain range, and their key; of ranged fields both keys."""
    rows: Rows = {}
    for part in parse_list(data):
        found = parse_attributes(part)
        key = parse_attributes(found[_KEY])[_VALUE]
        if _KEY_END in found:
            key = join_range(key, parse_attributes(found[_KEY_END])[_VALUE])
        ends = parse_number(found.get(_FLAGS, b"")) & _INTERVAL_END
        rows[bytes((ends,)) + key] = _parse_data(found[_DATA]) if _DATA in found else None
    return rows


class _Records(Struct, frozen=True):
    layout: Layout
    head: bytes
    middle: bytes


@lru_cache(maxsize=64)
def _records(key: int, value: int) -> _Records:
    """Return how the kernel lays out map elements that have nothing but a key and a value."""
    keys, values = padded(key), padded(value)
    head = header(1, 16 + keys + values) + header(_KEY, 4 + keys) + header(_VALUE, key)
    middle = header(_DATA, 4 + values) + header(_VALUE, value)
    return _Records(Layout(f"={len(head)}s{keys}s{len(middle)}s{values}s"), head, middle)


def _parse_each(data: bytes, key_length: int, rows: Rows) -> None:
    """Add elements one by one. What follows the key repeats among elements, so it is parsed once."""
    values: dict[bytes, bytes | Verdict | None] = {}
    start, end = 0, len(data)
    while start < end:
        (length,) = unpack_from("=H", data, start)
        if length < _KEY_START + key_length:
            raise ValueError(f"an element of {length} bytes cannot hold a key of {key_length}")
        key = data[start + _KEY_START : start + _KEY_START + key_length]
        rest = data[start + _KEY_START + key_length : start + length]
        if rest not in values:
            values[rest] = _parse_value(rest)
        rows[key] = values[rest]
        start += (length + 3) & ~3


def _parse_value(rest: bytes) -> bytes | Verdict | None:
    for kind, start, end in iter_attributes(rest, 0, len(rest)):
        if kind == _DATA:
            return _parse_data(rest[start:end])
    return None


def _parse_data(value: bytes) -> bytes | Verdict:
    data = parse_attributes(value)
    if _VERDICT in data:
        return parse_verdict(data[_VERDICT])
    return data[_VALUE] + bytes(-len(data[_VALUE]) % 4)
