"""Rows to the attributes of NFTA_SET_ELEM_LIST_ELEMENTS (kernel `net/netfilter/nf_tables_api.c`).

Comes in: a set and its rows. Goes out: the list's elements, and rows cut into as many as one message holds. Rows of
maps take the fast way: they are joined from templates, so that a million take under a second.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Protocol, cast

from fairlead.nft.attributes import header, long_number, nest, number, padded
from fairlead.nft.fields import declared_length
from fairlead.nft.intervals import after
from fairlead.nft.objects import AnySet, Element, Map, VerdictMap, key_length, value_length
from fairlead.nft.verdicts import Verdict
from fairlead.nft.wire_expressions import encode_value, encode_verdict

_NESTED = 0x8000
_LIMIT = 65000
"""An attribute's length has 16 bits, so one message holds this much of elements."""
_ENTRY = 1
_KEY, _DATA, _FLAGS, _TIMEOUT, _KEY_END = 1, 2, 3, 4, 10
_INTERVAL_END = 1


class _ValueRow(Protocol):
    """An element of a map, whose value is always bytes."""

    @property
    def key(self) -> bytes: ...
    @property
    def value(self) -> bytes: ...


def encode_elements(target: AnySet, elements: Sequence[Element]) -> bytes:
    """Return the list of elements with their values. They must all be elements of `target`."""
    if target.interval or target.timeout is not None:
        return b"".join(_any_elements(target, elements, whole=True))
    match target:
        case Map():
            head, middle = _templates(declared_length(target.key), declared_length(target.value))
            rows = cast("Sequence[_ValueRow]", elements)
            return b"".join([head + row.key + middle + row.value for row in rows])
        case VerdictMap():
            return b"".join(_verdict_elements(declared_length(target.key), elements))
        case _:
            return encode_keys(target, elements)


def encode_keys(target: AnySet, elements: Sequence[Element]) -> bytes:
    """Return the list of elements with nothing but their keys, which is all a deletion needs."""
    if target.interval:
        return b"".join(_any_elements(target, elements, whole=False))
    head = _key_header(declared_length(target.key), 0)
    return b"".join([head + element.key for element in elements])


def cut_elements(target: AnySet, elements: Sequence[Element]) -> Iterator[Sequence[Element]]:
    """Yield elements in pieces that fit in one message each."""
    longest = 12 + key_length(target)
    if target.interval:
        longest = 2 * (longest + 8)
    if target.timeout is not None:
        longest += 12
    match target:
        case Map():
            longest += 8 + value_length(target)
        case VerdictMap():
            longest += 28 + max((len(e.value.chain) for e in elements if isinstance(e.value, Verdict)), default=0)
        case _:
            pass
    step = _LIMIT // longest
    if len(elements) <= step:
        if elements:
            yield elements
        return
    for start in range(0, len(elements), step):
        yield elements[start : start + step]


@lru_cache(maxsize=64)
def _key_header(key: int, value: int) -> bytes:
    """Return what stands before a key: the element, its key, the key's value. `value` counts all that follows it."""
    whole = padded(key)
    return header(_ENTRY | _NESTED, 8 + whole + value) + header(_KEY | _NESTED, 4 + whole) + header(1, key)


@lru_cache(maxsize=64)
def _templates(key: int, value: int) -> tuple[bytes, bytes]:
    """Return what stands before a map element's key, and between its key and its value."""
    whole = padded(value)
    return _key_header(key, 8 + whole), header(_DATA | _NESTED, 4 + whole) + header(1, value)


def _verdict_elements(key: int, elements: Sequence[Element]) -> Iterator[bytes]:
    encoded: dict[Verdict | bytes | None, tuple[bytes, bytes]] = {}
    for element in elements:
        template = encoded.get(element.value)
        if template is None:
            data = _encode_verdict(element)
            template = encoded[element.value] = (_key_header(key, len(data)), data)
        yield template[0] + element.key + template[1]


def _any_elements(target: AnySet, elements: Sequence[Element], *, whole: bool) -> Iterator[bytes]:
    """Yield elements that are ranges or expire: of a plain range both ends, of a concatenation one with a last key."""
    ranged = target.interval and len(target.key) > 1
    length = declared_length(target.key)
    for element in elements:
        end = element.key if element.end is None else element.end
        body = encode_value(_KEY, element.key[:length]) + (encode_value(_KEY_END, end) if ranged else b"")
        if whole:
            body += _encode_data(target, element)
            body += b"" if element.timeout is None else long_number(_TIMEOUT, element.timeout)
        yield nest(_ENTRY, body)
        if target.interval and not ranged:
            beyond = after(end[:length])
            if beyond is not None:
                yield nest(_ENTRY, encode_value(_KEY, beyond) + number(_FLAGS, _INTERVAL_END))


def _encode_verdict(element: Element) -> bytes:
    assert isinstance(element.value, Verdict), f"{element} is no element of a verdict map"
    return nest(_DATA, encode_verdict(element.value))


def _encode_data(target: AnySet, element: Element) -> bytes:
    match target:
        case Map():
            assert isinstance(element.value, bytes), f"{element} is no element of a map"
            return encode_value(_DATA, element.value[: declared_length(target.value)])
        case VerdictMap():
            return _encode_verdict(element)
        case _:
            return b""
