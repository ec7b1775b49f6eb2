"""What the kernel knows of a set: flags, types, lengths and nft's description, on the wire and back.

Two sets with the same shape are the same set; a set with another shape has to be made anew.
"""

from functools import lru_cache

from msgspec import Struct

from fairlead.nft.attributes import (
    attribute,
    long_number,
    name,
    nest,
    number,
    parse_attributes,
    parse_list,
    parse_name,
    parse_number,
)
from fairlead.nft.fields import (
    byte_order,
    concatenated_type,
    concatenated_typeof,
    declared_length,
    udata,
    udata_number,
)
from fairlead.nft.objects import AnySet, Map, Set, VerdictMap

_INTERVAL_FLAG, _MAP_FLAG, _TIMEOUT_FLAG, _DYNAMIC_FLAG, _CONCAT_FLAG = 4, 8, 0x10, 0x20, 0x80
_DYNAMIC_SIZE = 0xFFFF
_VERDICT_TYPE = 0xFFFFFF00
_VERDICT_TYPEOF = udata_number(0, 1) + udata(1, b"")
_KEY_ORDER, _VALUE_ORDER, _KEY_TYPEOF, _VALUE_TYPEOF, _VALUE_INTERVAL = 0, 1, 3, 4, 6


class SetShape(Struct, frozen=True):
    """The attributes of a set by their meaning; the value's are 0 where it has none.

    `description` is NFTA_SET_USERDATA: what `nft list` spells the types by. `value_length` is 0 for verdicts. `fields`
    are the lengths in bytes of a concatenation's parts, told only where they are ranges. `timeout` is in milliseconds.
    Lengths are without padding, which keys and values have in a register and here.
    """

    name: str
    flags: int
    key_type: int
    key_length: int
    value_type: int
    value_length: int
    description: bytes
    fields: tuple[int, ...] = ()
    timeout: int = 0
    size: int = 0

    @property
    def has_intervals(self) -> bool:
        """Whether rows are ranges of keys."""
        return bool(self.flags & _INTERVAL_FLAG)

    @property
    def has_ranged_fields(self) -> bool:
        """Whether a row is a range in each field of a concatenation, and the kernel keeps both of its ends in one."""
        return bool(self.fields)

    @property
    def is_state(self) -> bool:
        """Whether rows come by rules or go by time: then they are no part of what a table should hold."""
        return bool(self.flags & (_TIMEOUT_FLAG | _DYNAMIC_FLAG))


@lru_cache(maxsize=64)
def shape_of(target: AnySet) -> SetShape:
    """Return the shape of a set."""
    value_type = width = 0
    order = udata_number(_KEY_ORDER, byte_order(target.key))
    key = udata(_KEY_TYPEOF, concatenated_typeof(target.key))
    match target:
        case Map():
            value_type, width = concatenated_type(target.value), declared_length(target.value)
            order += udata_number(_VALUE_ORDER, byte_order(target.value))
            value = udata(_VALUE_TYPEOF, concatenated_typeof(target.value)) + udata_number(_VALUE_INTERVAL, 0)
        case VerdictMap():
            value_type = _VERDICT_TYPE
            order += udata_number(_VALUE_ORDER, 0)
            value = udata(_VALUE_TYPEOF, _VERDICT_TYPEOF) + udata_number(_VALUE_INTERVAL, 0)
        case _:
            value = b""
    return SetShape(
        target.name,
        _flags(target),
        concatenated_type(target.key),
        declared_length(target.key),
        value_type,
        width,
        order + key + value,
        tuple(field.length for field in target.key) if target.interval and len(target.key) > 1 else (),
        target.timeout or 0,
        target.size or (_DYNAMIC_SIZE if target.dynamic else 0),
    )


def encode_shape(shape: SetShape) -> bytes:
    """Return the attributes of a set after its table."""
    body = name(2, shape.name) + number(3, shape.flags) + number(4, shape.key_type) + number(5, shape.key_length)
    if shape.flags & _MAP_FLAG:
        body += number(6, shape.value_type) + number(7, shape.value_length)
    described = number(1, shape.size) if shape.size else b""
    if shape.fields:
        described += nest(2, b"".join(nest(1, number(1, length)) for length in shape.fields))
    if described:
        body += nest(9, described)
    if shape.timeout:
        body += long_number(11, shape.timeout)
    return body + attribute(13, shape.description)


def parse_shape(found: dict[int, bytes]) -> SetShape:
    """Return the shape of a listed set."""
    value_type = parse_number(found.get(6, b""))
    described = parse_attributes(found.get(9, b""))
    fields = (parse_number(parse_attributes(part)[1]) for part in parse_list(described.get(2, b"")))
    return SetShape(
        parse_name(found[2]),
        parse_number(found.get(3, b"")),
        parse_number(found[4]),
        parse_number(found[5]),
        value_type,
        0 if value_type == _VERDICT_TYPE else parse_number(found.get(7, b"")),
        found.get(13, b""),
        tuple(fields),
        parse_number(found.get(11, b"")),
        parse_number(described.get(1, b"")),
    )


def _flags(target: AnySet) -> int:
    flags = 0 if isinstance(target, Set) else _MAP_FLAG
    if target.interval:
        flags |= _INTERVAL_FLAG | (_CONCAT_FLAG if len(target.key) > 1 else 0)
    if target.timeout is not None:
        flags |= _TIMEOUT_FLAG
    return flags | (_DYNAMIC_FLAG if target.dynamic else 0)
