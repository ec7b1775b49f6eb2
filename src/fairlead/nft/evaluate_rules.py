"""One rule on one packet: registers, expressions and the verdict they come to, as the kernel's own evaluation.

Comes in: a rule, its table, a packet with its connection, and what surrounds it. Goes out: how far the rule came, what
it looked up and what it did. UnknownError, never a guess, for an expression, a field or a register whose value is not
known here. Source: kernel `net/netfilter/nf_tables_core.c`, `nft_do_chain`.
"""

import sys
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from fairlead.net import Address, Port
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
    FibResult,
    Foreign,
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
    NatType,
    Numgen,
    Payload,
    Range,
    Reject,
)
from fairlead.nft.memory import Looked, Memory
from fairlead.nft.objects import Rule
from fairlead.nft.packets import (
    CT_STATUS_DNAT,
    CT_STATUS_SNAT,
    WORD,
    Packet,
    Surroundings,
    UnknownError,
    host,
    load_connection,
    load_meta,
    load_payload,
    load_route_type,
)
from fairlead.nft.tables import TableContents
from fairlead.nft.verdicts import ACCEPT, DROP, Verdict


class Rested(Struct, frozen=True):
    """How a rule ended: `matched` at its end or with a verdict; without a `verdict` the next rule follows."""

    matched: bool
    verdict: Verdict | None = None


class Run:
    """One packet under way through tables: what it is now and what became of it.

    A `Limit` counts no packets but this one.
    """

    def __init__(self, packet: Packet, surroundings: Surroundings) -> None:
        self.packet = packet
        self.surroundings = surroundings
        self.memory = Memory(surroundings.state, surroundings.now)
        self.moduli: list[int] = []
        self.logged: list[Log] = []
        self.masqueraded = False
        self.rejected = False
        self.looked: list[Looked] = []
        self._original = packet.original or packet.ends
        self._registers: list[bytes | None] = []

    def rule(self, table: TableContents, rule: Rule) -> Rested:
        """Evaluate one rule of a table. What it looked up is in `looked` after it."""
        self.looked = []
        self._registers = [None] * 16
        for step in rule.expressions:
            rested = self._step(table, step)
            if rested is not None:
                return rested
        return Rested(matched=True)

    def _step(self, table: TableContents, step: Expression) -> Rested | None:  # noqa: PLR0912  a table of the kernel's
        match step:
            case Payload(register, header, offset, length):
                self._put(register, load_payload(self.packet, header, offset, length))
            case Meta(register, key):
                self._put(register, load_meta(self.packet, key))
            case MetaSet(register, key):
                self._set_meta(key, self._get(register, WORD))
            case Ct(register, key, direction):
                self._put(register, load_connection(self.packet, self._original, key, direction))
            case CtSet(register, key):
                self._set_connection(key, self._get(register, WORD))
            case Cmp(register, comparison, value):
                return None if _compares(self._get(register, len(value)), comparison, value) else _ENDED
            case Range(register, low, high, inverted):
                return None if (low <= self._get(register, len(low)) <= high) is not inverted else _ENDED
            case Bitwise(register, destination, mask, xor):
                self._put(destination, _combine(self._get(register, len(mask)), mask, xor))
            case Lookup(name, register, inverted):
                return None if self._look(table, name, register).found is not inverted else _ENDED
            case LookupValue(name, register, destination):
                return self._load_value(table, name, register, destination)
            case LookupVerdict(name, register):
                found = self._look(table, name, register)
                return Rested(True, _verdict(found)) if found.found else _ENDED
            case Dynset():
                return None if self._change(table, step) else _ENDED
            case Decide(verdict):
                return Rested(True, verdict)
            case Immediate(register, value):
                self._put(register, value)
            case Numgen(register, _, modulus, offset):
                self._put(register, host(offset + self._draw(modulus)))
            case Nat(NatType.DNAT, _, address, port):
                self._redirect(address, port)
                return Rested(True, ACCEPT)
            case Masquerade():
                self.masqueraded = True
                self.packet = replace(self.packet, ct_status=self.packet.ct_status | CT_STATUS_SNAT)
                return Rested(True, ACCEPT)
            case Reject():
                self.rejected = True
                return Rested(True, DROP)
            case Fib(register, FibResult.ADDRTYPE, flags):
                self._put(register, load_route_type(self.packet, self.surroundings, flags))
            case Log():
                self.logged.append(step)
            case Limit():
                return _ENDED if step.over else None
            case Counter():
                pass
            case Fib() | Nat() | Foreign():
                raise UnknownError(f"nobody knows here what this does: {step}")
            case _:
                assert_never(step)
        return None

    def _put(self, register: int, value: bytes) -> None:
        padded = value + bytes(-len(value) % WORD)
        for start in range(0, len(padded), WORD):
            self._registers[register + start // WORD] = padded[start : start + WORD]

    def _get(self, register: int, length: int) -> bytes:
        words = self._registers[register : register + (length + WORD - 1) // WORD]
        loaded = [word for word in words if word is not None]
        if len(loaded) < len(words):
            raise UnknownError(f"register {register} is read for {length} bytes before all of them are loaded")
        return b"".join(loaded)[:length]

    def _look(self, table: TableContents, name: str, register: int) -> Looked:
        looked = self.memory.look(table, name, self._get(register, self.memory.key_length(table, name)))
        self.looked.append(looked)
        return looked

    def _load_value(self, table: TableContents, name: str, register: int, destination: int) -> Rested | None:
        looked = self._look(table, name, register)
        if not looked.found:
            return _ENDED
        if not isinstance(looked.value, bytes):
            raise UnknownError(f"the set {name} holds no values")
        self._put(destination, looked.value)
        return None

    def _change(self, table: TableContents, step: Dynset) -> bool:
        key = self._get(step.register, self.memory.key_length(table, step.set))
        value = None if step.data is None else self._get(step.data, self.memory.value_length(table, step.set))
        return self.memory.change(table, step, key, value)

    def _draw(self, modulus: int) -> int:
        drawn = len(self.moduli)
        self.moduli.append(modulus)
        numbers = self.surroundings.numbers
        return numbers[drawn] % modulus if drawn < len(numbers) else 0

    def _redirect(self, address: int, port: int | None) -> None:
        size = len(self.packet.destination.packed)
        self.packet = replace(
            self.packet,
            destination=Address(self._get(address, size)),
            destination_port=self.packet.destination_port if port is None else _port(self._get(port, 2)),
            ct_status=self.packet.ct_status | CT_STATUS_DNAT,
        )

    def _set_meta(self, key: MetaKey, value: bytes) -> None:
        number = int.from_bytes(value, sys.byteorder)
        match key:
            case MetaKey.MARK:
                self.packet = replace(self.packet, mark=number)
            case MetaKey.PRIORITY:
                self.packet = replace(self.packet, priority=number)
            case _:
                raise UnknownError(f"nobody knows here what setting {key.name} does")

    def _set_connection(self, key: CtKey, value: bytes) -> None:
        if key is not CtKey.MARK:
            raise UnknownError(f"nobody knows here what setting ct {key.name} does")
        self.packet = replace(self.packet, ct_mark=int.from_bytes(value, sys.byteorder))


_ENDED = Rested(matched=False)


def _port(packed: bytes) -> Port:
    return Port(int.from_bytes(packed, "big"))


def _verdict(looked: Looked) -> Verdict:
    if not isinstance(looked.value, Verdict):
        raise UnknownError(f"the set {looked.set} holds no verdicts")
    return looked.value


def _combine(value: bytes, mask: bytes, xor: bytes) -> bytes:
    return bytes(each & kept ^ turned for each, kept, turned in zip(value, mask, xor, strict=True))


def _compares(held: bytes, comparison: Comparison, value: bytes) -> bool:
    match comparison:
        case Comparison.EQ:
            return held == value
        case Comparison.NEQ:
            return held != value
        case Comparison.LT:
            return held < value
        case Comparison.LTE:
            return held <= value
        case Comparison.GT:
            return held > value
        case Comparison.GTE:
            return held >= value
        case _:
            assert_never(comparison)
