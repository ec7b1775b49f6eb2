"""Rules as text: which expression each register holds is followed from left to right, as `nft list` does.

Comes in: a rule and the sets it looks into. Goes out: the statement nft reads. ForeignError for what we never write.
"""

import sys
from collections.abc import Mapping

from msgspec import Struct

from fairlead.nft.expressions import (
    Bitwise,
    Cmp,
    Comparison,
    Counter,
    Ct,
    CtKey,
    Decide,
    Expression,
    Fib,
    FibFlag,
    FibResult,
    Header,
    Lookup,
    LookupValue,
    LookupVerdict,
    Masquerade,
    Meta,
    MetaKey,
    MetaSet,
    Nat,
    Numgen,
    NumgenType,
    Payload,
    Reject,
    RejectType,
)
from fairlead.nft.fields import (
    DESTINATION_IPV4,
    DESTINATION_IPV6,
    DESTINATION_PORT,
    L4PROTO,
    SOURCE_IPV4,
    SOURCE_IPV6,
    Datatype,
    Field,
)
from fairlead.nft.objects import AnySet, Rule, key_length

_MARK = Field("meta mark", Datatype.MARK, 4, b"")
_LOADS: dict[tuple[Header, int], Field] = {
    (Header.NETWORK, 12): SOURCE_IPV4,
    (Header.NETWORK, 16): DESTINATION_IPV4,
    (Header.NETWORK, 8): SOURCE_IPV6,
    (Header.NETWORK, 24): DESTINATION_IPV6,
    (Header.TRANSPORT, 2): DESTINATION_PORT,
}
_ADDRESS_TYPES = {1: "unicast", 2: "local", 3: "broadcast", 5: "multicast"}
_FIB_FLAGS = {FibFlag.SADDR: "saddr", FibFlag.DADDR: "daddr"}
_META = {MetaKey.MARK: _MARK, MetaKey.L4PROTO: L4PROTO}
_CT_BITS = {
    (CtKey.STATE, 8): "ct state new",
    (CtKey.STATE, 2): "ct state established",
    (CtKey.STATUS, 32): "ct status dnat",
}
_NUMGEN = {NumgenType.RANDOM: "random", NumgenType.INCREMENTAL: "inc"}
_OPERATORS = {
    Comparison.EQ: "",
    Comparison.NEQ: "!= ",
    Comparison.LT: "< ",
    Comparison.LTE: "<= ",
    Comparison.GT: "> ",
    Comparison.GTE: ">= ",
}


class ForeignError(ValueError):
    """A rule holds something that is never rendered here, so there are no words for it."""


class _Symbol(Struct, frozen=True):
    """What a register holds: its spelling, and the field its constants are spelt by."""

    text: str
    field: Field | None = None
    length: int = 4
    ct: CtKey | None = None
    mask: bytes = b""
    xor: bytes = b""
    address_type: bool = False


def spell_rule(rule: Rule, sets: Mapping[str, AnySet]) -> str:
    """Return a rule's text, without its chain. Raises ForeignError."""
    registers: dict[int, _Symbol] = {}
    words = [_spell(step, registers, sets) for step in rule.expressions]
    return " ".join(word for word in words if word)


def _spell(step: Expression, registers: dict[int, _Symbol], sets: Mapping[str, AnySet]) -> str:  # noqa: PLR0912
    """Return the statement of an expression, or nothing and note in `registers` what it loads."""
    match step:
        case Payload(register, header, offset, length) if (header, offset) in _LOADS:
            field = _LOADS[header, offset]
            registers[register] = _Symbol(field.spelling, field, length)
        case Meta(register, key) if key in _META:
            registers[register] = _Symbol(_META[key].spelling, _META[key], _META[key].length)
        case Ct(register, key):
            registers[register] = _Symbol(f"ct {key.name.lower()}", None, 4, key)
        case Fib(register, FibResult.ADDRTYPE, flags) if flags in _FIB_FLAGS:
            registers[register] = _Symbol(f"fib {_FIB_FLAGS[FibFlag(flags)]} type", address_type=True)
        case Bitwise(register, destination, mask, xor):
            registers[destination] = _combine(registers[register], mask, xor)
        case Numgen(register, kind, modulus, _):
            registers[register] = _Symbol(f"numgen {_NUMGEN[kind]} mod {modulus}")
        case LookupValue(target, register, destination):
            registers[destination] = _Symbol(f"{_key(sets[target], register, registers)} map @{target}")
        case Cmp(register, comparison, value):
            return _compare(registers[register], comparison, value)
        case MetaSet(register, MetaKey.MARK):
            return f"meta mark set {_masked(registers[register])}"
        case Lookup(target, register, inverted):
            return f"{_key(sets[target], register, registers)} {'!= ' if inverted else ''}@{target}"
        case LookupVerdict(target, register):
            return f"{_key(sets[target], register, registers)} vmap @{target}"
        case Decide(verdict):
            return str(verdict)
        case Nat(kind, family, address, _):
            return f"{kind.name.lower()} {'ip' if family == 2 else 'ip6'} to {registers[address].text}"
        case Masquerade(fully_random):
            return "masquerade fully-random" if fully_random else "masquerade"
        case Reject(RejectType.TCP_RST):
            return "reject with tcp reset"
        case Reject(RejectType.ICMP_UNREACH, code) if code in {3, 4}:
            return f"reject with {'icmp' if code == 3 else 'icmpv6'} port-unreachable"
        case Counter():
            return "counter"
        case _:
            raise ForeignError(str(step))
    return ""


def _combine(symbol: _Symbol, mask: bytes, xor: bytes) -> _Symbol:
    return _Symbol(symbol.text, symbol.field, symbol.length, symbol.ct, mask, xor)


def _number(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)


def _masked(symbol: _Symbol) -> str:
    """Return an expression with its mask: `|` where bits are only set, `&` where they are only cleared."""
    if not symbol.mask:
        return symbol.text
    mask, xor = _number(symbol.mask), _number(symbol.xor)
    if xor and mask == 0xFFFFFFFF ^ xor:
        return f"{symbol.text} | {xor:#010x}"
    return f"{symbol.text} & {mask:#010x}" + (f" ^ {xor:#010x}" if xor else "")


def _compare(symbol: _Symbol, comparison: Comparison, value: bytes) -> str:
    if symbol.ct is not None:
        words = _CT_BITS.get((symbol.ct, _number(symbol.mask)))
        if words is None or comparison is not Comparison.NEQ or any(value):
            raise ForeignError(f"{symbol.text} {symbol.mask.hex()}")
        return words
    sign = _OPERATORS[comparison]
    if symbol.address_type and _number(value) in _ADDRESS_TYPES:
        return f"{symbol.text} {sign}{_ADDRESS_TYPES[_number(value)]}"
    if symbol.field is None:
        raise ForeignError(symbol.text)
    if symbol.field is _MARK:
        return f"{_masked(symbol)} {sign or '== '}{_MARK.spell(value)}"
    whole = value + bytes(symbol.field.length - len(value))
    bits = 8 * len(value)
    if symbol.mask:
        bits = int.from_bytes(symbol.mask, "big").bit_count()
    suffix = f"/{bits}" if bits < 8 * symbol.field.length else ""
    return f"{symbol.text} {sign}{symbol.field.spell(whole)}{suffix}"


def _key(target: AnySet, register: int, registers: Mapping[int, _Symbol]) -> str:
    """Return the concatenation that a lookup reads from `register` on."""
    words: list[str] = []
    end = register + key_length(target) // 4
    while register < end:
        symbol = registers[register]
        words.append(symbol.text)
        register += (symbol.length + 3) // 4
    return " . ".join(words)
