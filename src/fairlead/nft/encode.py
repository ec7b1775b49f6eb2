"""Transactions to netlink messages (kernel `net/netfilter/nf_tables_api.c`).

Comes in: a transaction. Goes out: messages in order, without sequence numbers and without the batch around them, which
belong to the socket. Elements take the fast way: a row is joined from templates, so that a million take under a second.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Protocol, assert_never, cast

from msgspec import Struct

from fairlead.nft.attributes import header, name, nest, number
from fairlead.nft.messages import MessageType
from fairlead.nft.objects import AnySet, Chain, Element, Map, Rule, VerdictMap, key_length, value_length
from fairlead.nft.shapes import encode_shape, shape_of
from fairlead.nft.transactions import (
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    AddTable,
    Command,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    DeleteTable,
    FlushChain,
    FlushSet,
    InsertRule,
    ReplaceElements,
    Transaction,
)
from fairlead.nft.verdicts import Verdict
from fairlead.nft.wire_expressions import encode_expressions, encode_verdict

CREATE, APPEND = 0x400, 0x800
_NESTED = 0x8000
_ELEMENTS_LIMIT = 65000
"""An attribute's length has 16 bits, so one message holds this much of elements."""


class Message(Struct, frozen=True, gc=False):
    """One message of a batch; `command` is the index of the command it came from.

    A `bound` message must be in the same batch as the one before it.
    """

    type: int
    flags: int
    body: bytes
    command: int
    bound: bool = False


class _ValueRow(Protocol):
    """An element of a map, whose value is always bytes."""

    @property
    def key(self) -> bytes: ...
    @property
    def value(self) -> bytes: ...


def encode_transaction(transaction: Transaction) -> Iterator[Message]:
    """Yield the messages of a transaction in order."""
    table = name(1, transaction.table)
    for index, command in enumerate(transaction.commands):
        yield from _encode_command(table, index, command)


def _encode_command(table: bytes, index: int, command: Command) -> Iterator[Message]:  # noqa: PLR0912
    match command:
        case AddElements(target, elements):
            head = table + name(2, target.name)
            for part in _parts(target, elements):
                yield Message(MessageType.NEW_ELEMENT, CREATE, head + nest(3, encode_elements(target, part)), index)
        case DeleteElements(target, elements):
            head = table + name(2, target.name)
            for part in _parts(target, elements):
                yield Message(MessageType.DELETE_ELEMENT, 0, head + nest(3, encode_keys(target, part)), index)
        case ReplaceElements(target, elements):
            head = table + name(2, target.name)
            for part in _parts(target, elements):
                yield Message(MessageType.DELETE_ELEMENT, 0, head + nest(3, encode_keys(target, part)), index)
                body = head + nest(3, encode_elements(target, part))
                yield Message(MessageType.NEW_ELEMENT, CREATE, body, index, True)
        case AddTable():
            yield Message(MessageType.NEW_TABLE, CREATE, table + number(2, 0), index)
        case DeleteTable():
            yield Message(MessageType.DELETE_TABLE, 0, table, index)
        case AddChain(added):
            yield Message(MessageType.NEW_CHAIN, CREATE, table + encode_chain(added), index)
        case DeleteChain(removed):
            yield Message(MessageType.DELETE_CHAIN, 0, table + name(3, removed), index)
        case FlushChain(flushed):
            yield Message(MessageType.DELETE_RULE, 0, table + name(2, flushed), index)
        case AddRule(holder, rule):
            yield Message(MessageType.NEW_RULE, CREATE | APPEND, table + encode_rule(holder, rule), index)
        case InsertRule(holder, rule):
            yield Message(MessageType.NEW_RULE, CREATE, table + encode_rule(holder, rule), index)
        case AddSet(target):
            body = table + encode_shape(shape_of(target)) + number(10, index + 1)
            yield Message(MessageType.NEW_SET, CREATE, body, index)
        case DeleteSet(removed):
            yield Message(MessageType.DELETE_SET, 0, table + name(2, removed), index)
        case FlushSet(flushed):
            yield Message(MessageType.DELETE_ELEMENT, 0, table + name(2, flushed), index)
        case _:
            assert_never(command)


def encode_chain(added: Chain) -> bytes:
    """Return the attributes of a chain after its table."""
    body = name(3, added.name)
    if added.base is None:
        return body
    hook = nest(4, number(1, added.base.hook) + number(2, added.base.priority))
    return body + name(7, added.base.type.value) + number(5, added.base.policy) + hook


def encode_rule(holder: str, rule: Rule) -> bytes:
    """Return the attributes of a rule after its table."""
    return name(2, holder) + nest(4, encode_expressions(rule.expressions))


def encode_elements(target: AnySet, elements: Sequence[Element]) -> bytes:
    """Return the list of elements with their values. They must all be elements of `target`."""
    match target:
        case Map():
            head, middle = _templates(key_length(target), value_length(target))
            rows = cast("Sequence[_ValueRow]", elements)
            return b"".join([head + row.key + middle + row.value for row in rows])
        case VerdictMap():
            return b"".join(_verdict_elements(key_length(target), elements))
        case _:
            return encode_keys(target, elements)


def encode_keys(target: AnySet, elements: Sequence[Element]) -> bytes:
    """Return the list of elements with nothing but their keys, which is all a deletion needs."""
    head = _key_header(key_length(target), 0)
    return b"".join([head + element.key for element in elements])


@lru_cache(maxsize=64)
def _key_header(key: int, value: int) -> bytes:
    """Return what stands before a key: the element, its key, the key's value. `value` counts all that follows it."""
    return header(1 | _NESTED, 8 + key + value) + header(1 | _NESTED, 4 + key) + header(1, key)


@lru_cache(maxsize=64)
def _templates(key: int, value: int) -> tuple[bytes, bytes]:
    """Return what stands before a map element's key, and between its key and its value."""
    return _key_header(key, 8 + value), header(2 | _NESTED, 4 + value) + header(1, value)


def _verdict_elements(key: int, elements: Sequence[Element]) -> Iterator[bytes]:
    encoded: dict[Verdict | bytes | None, tuple[bytes, bytes]] = {}
    for element in elements:
        template = encoded.get(element.value)
        if template is None:
            assert isinstance(element.value, Verdict), f"{element} is no element of a verdict map"
            data = nest(2, encode_verdict(element.value))
            template = encoded[element.value] = (_key_header(key, len(data)), data)
        yield template[0] + element.key + template[1]


def _parts(target: AnySet, elements: Sequence[Element]) -> Iterator[Sequence[Element]]:
    """Cut elements into as many as fit in one message each."""
    longest = 12 + key_length(target)
    match target:
        case Map():
            longest += 8 + value_length(target)
        case VerdictMap():
            names = chain((0,), (len(e.value.chain) for e in elements if isinstance(e.value, Verdict)))
            longest += 28 + max(names)
        case _:
            pass
    step = _ELEMENTS_LIMIT // longest
    if len(elements) <= step:
        if elements:
            yield elements
        return
    for start in range(0, len(elements), step):
        yield elements[start : start + step]
