"""Elements are packed as the kernel wants them, cut where a message is full, and parsed back."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.nft.attributes import iter_attributes, name, nest, parse_attributes
from fairlead.nft.decode import Listed, parse_elements, parse_listed
from fairlead.nft.elements import encode_elements, encode_keys
from fairlead.nft.encode import encode_transaction
from fairlead.nft.fields import DESTINATION_IPV4, DESTINATION_PORT, L4PROTO, RANDOM_CHOICE
from fairlead.nft.messages import MessageType
from fairlead.nft.objects import AnySet, Element, Map, Set, TableFamily, VerdictMap
from fairlead.nft.shapes import shape_of
from fairlead.nft.tables import Rows, Value
from fairlead.nft.transactions import AddElements, DeleteElements, ReplaceElements, Transaction
from fairlead.nft.verdicts import DROP, Verdict, goto

FRONTEND = (DESTINATION_IPV4, L4PROTO, DESTINATION_PORT)
BACKENDS = Map("backends", (*FRONTEND, RANDOM_CHOICE), (DESTINATION_IPV4, DESTINATION_PORT))
FRONTENDS = VerdictMap("frontends", FRONTEND)
ADDRESSES = Set("cluster-ips", (DESTINATION_IPV4,))


def test_a_map_element_has_the_bytes_that_nft_sends() -> None:
    # nft --debug=mnl: add element ip fairlead backends { 10.96.0.1 . tcp . 80 . 1 : 10.244.1.3 . 8080 }
    element = Element(bytes.fromhex("0a600001060000000050000001000000"), bytes.fromhex("0af401031f900000"))
    sent = "2c00018018000180140001000a600001060000000050000001000000100002800c0001000af401031f900000"
    assert encode_elements(BACKENDS, [element]).hex() == sent


def test_a_verdict_element_has_the_bytes_that_nft_sends() -> None:
    element = Element(bytes.fromhex("0a6000010600000000500000"), goto("cluster-2"))
    sent = (
        "38000180"
        "14000180"
        "10000100"
        "0a6000010600000000500000"
        "20000280"
        "1c000280"
        "08000100"
        "fffffffc"
        "0e000200"
        "636c75737465722d32000000"
    )
    assert encode_elements(FRONTENDS, [element]).hex() == sent


def keys(length: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=length, max_size=length)


@given(rows=st.dictionaries(keys(16), keys(8), max_size=50))
def test_map_elements_parse_to_what_was_encoded(rows: dict[bytes, bytes]) -> None:
    assert parsed(BACKENDS, rows) == rows


@given(rows=st.dictionaries(keys(12), st.sampled_from([DROP, goto("cluster-2"), goto("external-10")]), max_size=50))
def test_verdict_elements_parse_to_what_was_encoded(rows: dict[bytes, Verdict]) -> None:
    assert parsed(FRONTENDS, rows) == rows


@given(addresses=st.sets(keys(4), max_size=50))
def test_set_elements_parse_to_what_was_encoded(addresses: set[bytes]) -> None:
    assert parsed(ADDRESSES, dict.fromkeys(addresses)) == dict.fromkeys(addresses)


def parsed(target: AnySet, rows: Mapping[bytes, Value]) -> Rows:
    elements = [Element(key, value) for key, value in rows.items()]
    body = name(1, "fairlead") + name(2, target.name) + nest(3, encode_elements(target, elements))
    found: Rows = {}
    parse_elements(parse_listed(body), shape_of(target), found)
    return found


def test_an_element_too_short_for_its_key_is_refused() -> None:
    body = encode_keys(ADDRESSES, [Element(b"\x0a\x60\0\1")])
    with pytest.raises(ValueError, match="cannot hold a key of 12"):
        parse_elements(Listed("fairlead", {3: body}), shape_of(FRONTENDS), {})


def numbered(count: int) -> list[Element]:
    return [Element(number.to_bytes(16, "big"), bytes(8)) for number in range(count)]


def test_many_elements_are_cut_into_messages_below_64_kib() -> None:
    messages = list(encode_transaction(transaction(AddElements(BACKENDS, numbered(10_000)))))
    assert len(messages) > 1
    keys_sent: list[bytes] = []
    for message in messages:
        assert message.type == MessageType.NEW_ELEMENT
        nested = parse_attributes(message.body)[3]
        assert len(nested) <= 65_531
        keys_sent += (nested[start + 8 : start + 24] for _, start, _ in iter_attributes(nested, 0, len(nested)))
    assert keys_sent == [element.key for element in numbered(10_000)]


def test_no_elements_are_no_message() -> None:
    commands = (AddElements(BACKENDS, []), DeleteElements(BACKENDS, []), ReplaceElements(BACKENDS, []))
    assert list(encode_transaction(transaction(*commands))) == []


def test_a_replacement_is_deletions_each_bound_to_its_additions() -> None:
    messages = list(encode_transaction(transaction(ReplaceElements(BACKENDS, numbered(4_000)))))
    kinds = [(message.type, message.bound) for message in messages]
    pair = [(MessageType.DELETE_ELEMENT, False), (MessageType.NEW_ELEMENT, True)]
    assert kinds == pair * (len(messages) // 2)
    assert len(messages) > 2


def test_a_message_tells_the_command_it_came_from() -> None:
    commands = (DeleteElements(BACKENDS, numbered(3)), AddElements(BACKENDS, numbered(3)))
    assert [message.command for message in encode_transaction(transaction(*commands))] == [0, 1]


def transaction(*commands: AddElements | DeleteElements | ReplaceElements) -> Transaction:
    return Transaction(TableFamily.IP, "fairlead", commands)
