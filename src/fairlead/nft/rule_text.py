"""Rules as text: what each register holds is followed from left to right, as `nft list` does.

Comes in: a rule and the sets it looks into. Goes out: the statement nft reads. ForeignError for what we never write.
"""

import sys
from collections.abc import Mapping

from msgspec import Struct

from fairlead.nft.datatypes import Datatype
from fairlead.nft.expressions import (
    Bitwise,
    Cmp,
    Comparison,
    Counter,
    Ct,
    CtKey,
    CtSet,
    Decide,
    Dynset,
    Expression,
    Fib,
    FibFlag,
    FibResult,
    Immediate,
    Limit,
    Log,
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
    Range,
    Reject,
    RejectType,
)
from fairlead.nft.fields import CT_MARK, L4PROTO, MARK, PRIORITY, Field, spell_milliseconds
from fairlead.nft.loads import loaded_field
from fairlead.nft.objects import AnySet, Map, Rule

_ADDRESS_TYPES = {1: "unicast", 2: "local", 3: "broadcast", 5: "multicast"}
_FIB_FLAGS = {FibFlag.SADDR: "saddr", FibFlag.DADDR: "daddr"}
_CT_BITS = {
    CtKey.STATE: {1: "invalid", 2: "established", 4: "related", 8: "new"},
    CtKey.STATUS: {16: "snat", 32: "dnat"},
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
_UNREACHABLE = {3: "icmp", 4: "icmpv6"}


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
    constant: bytes | None = None


def spell_rule(rule: Rule, sets: Mapping[str, AnySet]) -> str:
    """Return a rule's text, without its chain. Raises ForeignError."""
    speller = _Speller(sets)
    words = [speller.spell(step) for step in rule.expressions]
    return " ".join(word for word in words if word)


class _Speller:
    """One rule on its way: what its registers hold, and the transport it has asked for."""

    def __init__(self, sets: Mapping[str, AnySet]) -> None:
        self._sets = sets
        self._registers: dict[int, _Symbol] = {}
        self._protocol: int | None = None

    def spell(self, step: Expression) -> str:
        """Return the statement of an expression, or nothing and note what it loads."""
        symbol = self._load(step)
        if symbol is not None:
            register = step.destination if isinstance(step, Bitwise | LookupValue) else _register(step)
            self._registers[register] = symbol
            return ""
        return self._state(step)

    def _load(self, step: Expression) -> _Symbol | None:
        match step:
            case Payload() | Meta() | Ct():
                field = loaded_field(step, self._protocol)
                if field is not None:
                    return _Symbol(field.spelling, field, step.length if isinstance(step, Payload) else field.length)
                return _Symbol(f"ct {step.key.name.lower()}", None, 4, step.key) if isinstance(step, Ct) else None
            case Fib(_, FibResult.ADDRTYPE, flags) if flags in _FIB_FLAGS:
                return _Symbol(f"fib {_FIB_FLAGS[FibFlag(flags)]} type", address_type=True)
            case Bitwise(register, _, mask, xor):
                held = self._registers[register]
                return _Symbol(held.text, held.field, held.length, held.ct, mask, xor)
            case Numgen(_, kind, modulus, offset):
                suffix = f" offset {offset}" if offset else ""
                return _Symbol(f"numgen {_NUMGEN[kind]} mod {modulus}{suffix}")
            case LookupValue(target, register, _):
                return _Symbol(f"{self._key(target, register)} map @{target}")
            case Immediate(_, value):
                return _Symbol(f"0x{value.hex()}", length=len(value), constant=value)
            case _:
                return None

    def _state(self, step: Expression) -> str:
        match step:
            case Cmp(register, comparison, value):
                symbol = self._registers[register]
                if symbol.field is L4PROTO and comparison is Comparison.EQ:
                    self._protocol = value[0]
                return _compare(symbol, comparison, value)
            case Range(register, low, high, inverted):
                symbol = self._registers[register]
                sign = "!= " if inverted else ""
                return f"{symbol.text} {sign}{_constant(symbol, low)}-{_constant(symbol, high)}"
            case MetaSet(register, MetaKey.MARK):
                return f"meta mark set {_set_to(self._registers[register], MARK)}"
            case MetaSet(register, MetaKey.PRIORITY):
                return f"meta priority set {_set_to(self._registers[register], PRIORITY)}"
            case CtSet(register, CtKey.MARK):
                return f"ct mark set {_set_to(self._registers[register], CT_MARK)}"
            case Nat(kind, family, address, _):
                return f"{kind.name.lower()} {'ip' if family == 2 else 'ip6'} to {self._registers[address].text}"
            case Lookup() | LookupVerdict() | Dynset():
                return self._look(step)
            case _:
                return _end(step)

    def _look(self, step: Lookup | LookupVerdict | Dynset) -> str:
        key = self._key(step.set, step.register)
        match step:
            case Lookup():
                return f"{key} {'!= ' if step.inverted else ''}@{step.set}"
            case LookupVerdict():
                return f"{key} vmap @{step.set}"
            case Dynset():
                words = key if step.timeout is None else f"{key} timeout {spell_milliseconds(step.timeout)}"
                target = self._sets[step.set]
                if step.data is not None and isinstance(target, Map):
                    words += f" : {self._concatenation(target.value, step.data)}"
                return f"{step.operation.name.lower()} @{step.set} {{ {words} }}"

    def _key(self, name: str, register: int) -> str:
        return self._concatenation(self._sets[name].key, register)

    def _concatenation(self, fields: tuple[Field, ...], register: int) -> str:
        """Return the words of what fills the registers of these fields; constants are spelt by them."""
        words: list[str] = []
        for field in fields:
            symbol = self._registers.get(register)
            if symbol is not None:
                words.append(_masked(symbol) if symbol.constant is None else field.spell(symbol.constant))
            register += field.width // 4
        return " . ".join(words)


def _end(step: Expression) -> str:
    match step:
        case Decide(verdict):
            return str(verdict)
        case Masquerade(fully_random):
            return "masquerade fully-random" if fully_random else "masquerade"
        case Reject(RejectType.TCP_RST):
            return "reject with tcp reset"
        case Reject(RejectType.ICMP_UNREACH, code) if code in _UNREACHABLE:
            return f"reject with {_UNREACHABLE[code]} port-unreachable"
        case Counter():
            return "counter"
        case Log(group, prefix, snaplen):
            words = f'log prefix "{prefix}" group {group}' if prefix else f"log group {group}"
            return f"{words} snaplen {snaplen}" if snaplen else words
        case Limit(rate, unit, burst, over):
            words = f"limit rate {'over ' if over else ''}{rate}/{unit.name.lower()}"
            return words if burst == Limit(rate, unit).burst else f"{words} burst {burst} packets"
        case _:
            raise ForeignError(str(step))


def _register(step: Expression) -> int:
    assert isinstance(step, Payload | Meta | Ct | Fib | Numgen | Immediate)
    return step.register


def _number(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)


def _set_to(symbol: _Symbol, field: Field) -> str:
    return _masked(symbol) if symbol.constant is None else field.spell(symbol.constant)


def _masked(symbol: _Symbol) -> str:
    """Return an expression with its mask: `|` where bits are only set, `&` where they are only cleared."""
    if not symbol.mask:
        return symbol.text
    if symbol.field is not None and symbol.field.datatype is Datatype.CLASSID:
        return f"{symbol.text} & {symbol.field.spell(symbol.mask)}"
    mask, xor = _number(symbol.mask), _number(symbol.xor)
    if xor and mask == 0xFFFFFFFF ^ xor:
        return f"{symbol.text} | {xor:#010x}"
    return f"{symbol.text} & {mask:#010x}" + (f" ^ {xor:#010x}" if xor else "")


def _compare(symbol: _Symbol, comparison: Comparison, value: bytes) -> str:
    if symbol.ct is not None:
        return _compare_bits(symbol, symbol.ct, comparison, value)
    sign = _OPERATORS[comparison]
    if symbol.address_type and _number(value) in _ADDRESS_TYPES:
        return f"{symbol.text} {sign}{_ADDRESS_TYPES[_number(value)]}"
    if symbol.field is None:
        raise ForeignError(symbol.text)
    if symbol.field.datatype is Datatype.CLASSID:
        return f"{_masked(symbol)} {sign or '== '}{symbol.field.spell(value)}"
    if symbol.field.datatype is Datatype.MARK:
        sign = sign or ("== " if symbol.mask or symbol.field is MARK else "")
        return f"{_masked(symbol)} {sign}{symbol.field.spell(value)}"
    if symbol.field.datatype is Datatype.IFNAME:
        return f"{symbol.text} {sign}{symbol.field.spell(value)}"
    whole = value + bytes(symbol.field.length - len(value))
    bits = 8 * len(value)
    if symbol.mask:
        bits = int.from_bytes(symbol.mask, "big").bit_count()
    suffix = f"/{bits}" if bits < 8 * symbol.field.length else ""
    return f"{symbol.text} {sign}{symbol.field.spell(whole)}{suffix}"


def _compare_bits(symbol: _Symbol, key: CtKey, comparison: Comparison, value: bytes) -> str:
    """Return a test of states or status bits: one of several is set, or none."""
    bits = _CT_BITS.get(key, {})
    mask = _number(symbol.mask)
    known = comparison in (Comparison.EQ, Comparison.NEQ) and not any(value) and not mask & ~sum(bits)
    if not known or not mask or any(symbol.xor):
        raise ForeignError(f"{symbol.text} {symbol.mask.hex()}")
    words = ",".join(word for bit, word in bits.items() if mask & bit)
    return f"{symbol.text} {'! ' if comparison is Comparison.EQ else ''}{words}"


def _constant(symbol: _Symbol, value: bytes) -> str:
    if symbol.field is None:
        raise ForeignError(symbol.text)
    return symbol.field.spell(value)
