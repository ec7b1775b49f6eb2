"""What the kernel knows of a set: flags, types, lengths and nft's description, on the wire and back.

Two sets with the same shape are the same set; a set with another shape has to be made anew.
"""

from functools import lru_cache

from msgspec import Struct

from fairlead.nft.attributes import attribute, name, number, parse_name, parse_number
from fairlead.nft.fields import Field, concatenated_type, concatenated_typeof, udata, udata_number
from fairlead.nft.objects import AnySet, Map, VerdictMap, key_length, value_length

_MAP_FLAG = 8
_VERDICT_TYPE = 0xFFFFFF00
_VERDICT_TYPEOF = udata_number(0, 1) + udata(1, b"")
_KEY_ORDER, _VALUE_ORDER, _KEY_TYPEOF, _VALUE_TYPEOF, _VALUE_INTERVAL = 0, 1, 3, 4, 6


class SetShape(Struct, frozen=True):
    """The attributes of a set by their meaning; the value's are 0 where it has none.

    `description` is NFTA_SET_USERDATA: what `nft list` spells the types by. `value_length` is 0 for verdicts.
    """

    name: str
    flags: int
    key_type: int
    key_length: int
    value_type: int
    value_length: int
    description: bytes

    @property
    def is_plain(self) -> bool:
        """Whether a row is a key and at most a value: no intervals, no timeouts, no rules that add rows."""
        return not self.flags & ~_MAP_FLAG


@lru_cache(maxsize=64)
def shape_of(target: AnySet) -> SetShape:
    """Return the shape of a set."""
    value_type = width = 0
    order = udata_number(_KEY_ORDER, _byte_order(target.key))
    key = udata(_KEY_TYPEOF, concatenated_typeof(target.key))
    match target:
        case Map():
            value_type, width = concatenated_type(target.value), value_length(target)
            order += udata_number(_VALUE_ORDER, _byte_order(target.value))
            value = udata(_VALUE_TYPEOF, concatenated_typeof(target.value)) + udata_number(_VALUE_INTERVAL, 0)
        case VerdictMap():
            value_type = _VERDICT_TYPE
            order += udata_number(_VALUE_ORDER, 0)
            value = udata(_VALUE_TYPEOF, _VERDICT_TYPEOF) + udata_number(_VALUE_INTERVAL, 0)
        case _:
            value = b""
    flags = _MAP_FLAG if value else 0
    key_type = concatenated_type(target.key)
    return SetShape(target.name, flags, key_type, key_length(target), value_type, width, order + key + value)


def encode_shape(shape: SetShape) -> bytes:
    """Return the attributes of a set after its table."""
    body = name(2, shape.name) + number(3, shape.flags) + number(4, shape.key_type) + number(5, shape.key_length)
    if shape.flags & _MAP_FLAG:
        body += number(6, shape.value_type) + number(7, shape.value_length)
    return body + attribute(13, shape.description)


def parse_shape(found: dict[int, bytes]) -> SetShape:
    """Return the shape of a listed set."""
    value_type = parse_number(found.get(6, b""))
    return SetShape(
        parse_name(found[2]),
        parse_number(found.get(3, b"")),
        parse_number(found[4]),
        parse_number(found[5]),
        value_type,
        0 if value_type == _VERDICT_TYPE else parse_number(found.get(7, b"")),
        found.get(13, b""),
    )


def _byte_order(fields: tuple[Field, ...]) -> int:
    """Return nft's note on the order of bytes: 2 is network order, 0 that a concatenation has none of its own."""
    return 2 if len(fields) == 1 else 0
