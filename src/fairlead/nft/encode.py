"""Transactions to netlink messages (kernel `net/netfilter/nf_tables_api.c`).

Comes in: a transaction. Goes out: messages in order, without sequence numbers and without the batch around them, which
belong to the socket.
"""

from collections.abc import Iterator
from typing import assert_never

from msgspec import Struct

from fairlead.nft.attributes import name, nest, number
from fairlead.nft.elements import cut_elements, encode_elements, encode_keys
from fairlead.nft.messages import MessageType
from fairlead.nft.objects import Chain, Rule
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
from fairlead.nft.wire_expressions import encode_expressions

CREATE, APPEND = 0x400, 0x800


class Message(Struct, frozen=True, gc=False):
    """One message of a batch; `command` is the index of the command it came from.

    A `bound` message must be in the same batch as the one before it.
    """

    type: int
    flags: int
    body: bytes
    command: int
    bound: bool = False


def encode_transaction(transaction: Transaction) -> Iterator[Message]:
    """Yield the messages of a transaction in order."""
    table = name(1, transaction.table)
    for index, command in enumerate(transaction.commands):
        yield from _encode_command(table, index, command)


def _encode_command(table: bytes, index: int, command: Command) -> Iterator[Message]:  # noqa: PLR0912
    match command:
        case AddElements(target, elements):
            head = table + name(2, target.name)
            for part in cut_elements(target, elements):
                yield Message(MessageType.NEW_ELEMENT, CREATE, head + nest(3, encode_elements(target, part)), index)
        case DeleteElements(target, elements):
            head = table + name(2, target.name)
            for part in cut_elements(target, elements):
                yield Message(MessageType.DELETE_ELEMENT, 0, head + nest(3, encode_keys(target, part)), index)
        case ReplaceElements(target, elements):
            head = table + name(2, target.name)
            for part in cut_elements(target, elements):
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
