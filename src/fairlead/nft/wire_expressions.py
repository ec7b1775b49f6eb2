"""Expressions to and from the attributes of NFTA_RULE_EXPRESSIONS (`include/uapi/linux/netfilter/nf_tables.h`).

Comes in: expressions, or the attributes of a listed rule. Goes out: the other. What the kernel adds of its own
(flags it derives, counts) is left out, so that an expression listed equals the expression sent.
"""

from fairlead.nft.attributes import (
    attribute,
    iter_attributes,
    long_number,
    name,
    nest,
    number,
    parse_attributes,
    parse_name,
    parse_number,
    parse_signed,
)
from fairlead.nft.expressions import (
    Bitwise,
    Cmp,
    Comparison,
    Counter,
    Ct,
    CtKey,
    CtSet,
    Decide,
    Direction,
    Dynset,
    DynsetOperation,
    Expression,
    Fib,
    FibResult,
    Foreign,
    Header,
    Immediate,
    Limit,
    LimitUnit,
    Log,
    Lookup,
    LookupValue,
    LookupVerdict,
    Masquerade,
    Meta,
    MetaKey,
    MetaSet,
    Nat,
    NatType,
    Numgen,
    NumgenType,
    Payload,
    Range,
    Reject,
    RejectType,
)
from fairlead.nft.verdicts import Verdict, VerdictCode

_ELEMENT = 1
_NAME, _DATA = 1, 2
_DATA_VALUE, _DATA_VERDICT = 1, 2
_VERDICT_REGISTER, _FIRST_WORD = 0, 8
_WIDE_REGISTERS, _WORDS_EACH = 4, 4
_NAT_DERIVED = 3
_FULLY_RANDOM = 1 << 4
_INVERTED = 1
_LIMIT_PACKETS = 0


def encode_verdict(verdict: Verdict) -> bytes:
    """Return the attribute NFTA_DATA_VERDICT."""
    chain = name(2, verdict.chain) if verdict.chain else b""
    return nest(_DATA_VERDICT, number(1, verdict.code) + chain)


def parse_verdict(value: bytes) -> Verdict:
    """Return the verdict of a NFTA_DATA_VERDICT attribute's value."""
    found = parse_attributes(value)
    return Verdict(VerdictCode(parse_signed(found[1])), parse_name(found[2]) if 2 in found else "")


def encode_value(kind: int, value: bytes) -> bytes:
    """Return an attribute of `kind` with NFTA_DATA_VALUE inside."""
    return nest(kind, attribute(_DATA_VALUE, value))


def encode_expressions(expressions: tuple[Expression, ...]) -> bytes:
    """Return the list elements that NFTA_RULE_EXPRESSIONS wraps."""
    return b"".join(_wrap(*_encode(expression)) for expression in expressions)


def parse_expressions(value: bytes) -> tuple[Expression, ...]:
    """Return the expressions of a rule; those we never write come back as Foreign."""
    found: list[Expression] = []
    for _, start, end in iter_attributes(value, 0, len(value)):
        parts = parse_attributes(value, start, end)
        kind, data = parse_name(parts[_NAME]), parts.get(_DATA, b"")
        try:
            found.append(_parse(kind, parse_attributes(data)) or Foreign(kind, data))
        except (KeyError, ValueError):
            found.append(Foreign(kind, data))
    return tuple(found)


def _wrap(kind: str, body: bytes) -> bytes:
    return nest(_ELEMENT, name(_NAME, kind) + nest(_DATA, body))


def _word(kind: int, register: int) -> bytes:
    return number(kind, register + _FIRST_WORD)


def _encode(expression: Expression) -> tuple[str, bytes]:  # noqa: PLR0912  a table of the kernel's attributes
    match expression:
        case Payload(register, header, offset, length):
            return "payload", _word(1, register) + number(2, header) + number(3, offset) + number(4, length)
        case Meta(register, key):
            return "meta", number(2, key) + _word(1, register)
        case MetaSet(register, key):
            return "meta", number(2, key) + _word(3, register)
        case Ct(register, key, direction):
            side = b"" if direction is None else attribute(3, bytes((direction,)))
            return "ct", number(2, key) + _word(1, register) + side
        case CtSet(register, key):
            return "ct", number(2, key) + _word(4, register)
        case Range(register, low, high, inverted):
            return "range", _word(1, register) + number(2, inverted) + encode_value(3, low) + encode_value(4, high)
        case Cmp(register, comparison, value):
            return "cmp", _word(1, register) + number(2, comparison) + encode_value(3, value)
        case Bitwise(register, destination, mask, xor):
            head = _word(1, register) + _word(2, destination) + number(3, len(mask))
            return "bitwise", head + encode_value(4, mask) + encode_value(5, xor)
        case Lookup(target, register, inverted):
            return "lookup", name(1, target) + _word(2, register) + (number(5, _INVERTED) if inverted else b"")
        case LookupValue(target, register, destination):
            return "lookup", name(1, target) + _word(2, register) + _word(3, destination)
        case LookupVerdict(target, register):
            return "lookup", name(1, target) + _word(2, register) + number(3, _VERDICT_REGISTER)
        case Dynset():
            return "dynset", _encode_dynset(expression)
        case Decide(verdict):
            return "immediate", number(1, _VERDICT_REGISTER) + nest(2, encode_verdict(verdict))
        case Immediate(register, value):
            return "immediate", _word(1, register) + encode_value(2, value)
        case Numgen(register, kind, modulus, offset):
            return "numgen", _word(1, register) + number(2, modulus) + number(3, kind) + number(4, offset)
        case Nat(kind, family, address, port):
            ends = _word(3, address) + _word(4, address)
            if port is not None:
                ends += _word(5, port) + _word(6, port)
            return "nat", number(1, kind) + number(2, family) + ends
        case Masquerade(fully_random):
            return "masq", number(1, _FULLY_RANDOM) if fully_random else b""
        case Reject(kind, code):
            return "reject", number(1, kind) + attribute(2, bytes((code,)))
        case Fib(register, result, flags):
            return "fib", _word(1, register) + number(2, result) + number(3, flags)
        case Counter():
            return "counter", b""
        case Log(group, prefix, snaplen):
            words = name(2, prefix) if prefix else b""
            return "log", attribute(1, group.to_bytes(2, "big")) + words + (number(3, snaplen) if snaplen else b"")
        case Limit(rate, unit, burst, over):
            times = long_number(1, rate) + long_number(2, unit)
            return "limit", times + number(3, burst) + number(4, _LIMIT_PACKETS) + number(5, over)
        case Foreign(kind, data):
            return kind, data


def _encode_dynset(step: Dynset) -> bytes:
    body = name(1, step.set) + number(3, step.operation) + _word(4, step.register)
    if step.data is not None:
        body += _word(5, step.data)
    return body + (b"" if step.timeout is None else long_number(6, step.timeout))


def _register(value: bytes) -> int:
    """Return the word a register number stands for: 1 to 4 are the old names of four words each."""
    given = parse_number(value)
    return (given - 1) * _WORDS_EACH if 1 <= given <= _WIDE_REGISTERS else given - _FIRST_WORD


def _data(value: bytes) -> bytes:
    return parse_attributes(value)[_DATA_VALUE]


def _parse(kind: str, found: dict[int, bytes]) -> Expression | None:  # noqa: PLR0912  the same table the other way round
    match kind:
        case "payload" if 1 in found:
            header = Header(parse_number(found[2]))
            return Payload(_register(found[1]), header, parse_number(found[3]), parse_number(found[4]))
        case "meta":
            key = MetaKey(parse_number(found[2]))
            return Meta(_register(found[1]), key) if 1 in found else MetaSet(_register(found[3]), key)
        case "ct" if 1 in found:
            side = Direction(parse_number(found[3])) if 3 in found else None
            return Ct(_register(found[1]), CtKey(parse_number(found[2])), side)
        case "ct" if 4 in found:
            return CtSet(_register(found[4]), CtKey(parse_number(found[2])))
        case "range":
            ends = _data(found[3]), _data(found[4])
            return Range(_register(found[1]), *ends, bool(parse_number(found[2])))
        case "dynset" if not found.keys() - _DYNSET_KINDS and not any(found.get(9, b"")):
            return _parse_dynset(found)
        case "cmp":
            return Cmp(_register(found[1]), Comparison(parse_number(found[2])), _data(found[3]))
        case "bitwise" if 4 in found:
            return Bitwise(_register(found[1]), _register(found[2]), _data(found[4]), _data(found[5]))
        case "lookup":
            return _parse_lookup(found)
        case "immediate":
            data = parse_attributes(found[2])
            if _DATA_VERDICT in data:
                return Decide(parse_verdict(data[_DATA_VERDICT]))
            return Immediate(_register(found[1]), data[_DATA_VALUE])
        case "numgen":
            kind_of_numbers = NumgenType(parse_number(found[3]))
            offset = parse_number(found.get(4, b"\0"))
            return Numgen(_register(found[1]), kind_of_numbers, parse_number(found[2]), offset)
        case "nat":
            if parse_number(found.get(7, b"\0")) & ~_NAT_DERIVED:
                return None
            port = _register(found[5]) if 5 in found else None
            return Nat(NatType(parse_number(found[1])), parse_number(found[2]), _register(found[3]), port)
        case "masq":
            return Masquerade(parse_number(found.get(1, b"\0")) == _FULLY_RANDOM)
        case "reject":
            return Reject(RejectType(parse_number(found[1])), found.get(2, b"\0")[0])
        case "fib":
            return Fib(_register(found[1]), FibResult(parse_number(found[2])), parse_number(found[3]))
        case "counter":
            return Counter()
        case "log" if not found.keys() - {1, 2, 3} and 1 in found:
            prefix = parse_name(found.get(2, b""))
            return Log(parse_number(found[1]), prefix, parse_number(found.get(3, b"")))
        case "limit" if parse_number(found.get(4, b"")) == _LIMIT_PACKETS:
            rate, unit = parse_number(found[1]), LimitUnit(parse_number(found[2]))
            return Limit(rate, unit, parse_number(found[3]), bool(parse_number(found.get(5, b""))))
        case _:
            return None


_DYNSET_KINDS = {1, 3, 4, 5, 6, 9}


def _parse_dynset(found: dict[int, bytes]) -> Expression:
    data = _register(found[5]) if 5 in found else None
    timeout = parse_number(found.get(6, b"")) or None
    return Dynset(parse_name(found[1]), DynsetOperation(parse_number(found[3])), _register(found[4]), data, timeout)


def _parse_lookup(found: dict[int, bytes]) -> Expression:
    target, register = parse_name(found[1]), _register(found[2])
    if 3 not in found:
        return Lookup(target, register, bool(parse_number(found.get(5, b"\0")) & _INVERTED))
    if parse_number(found[3]) == _VERDICT_REGISTER:
        return LookupVerdict(target, register)
    return LookupValue(target, register, _register(found[3]))
