"""One rule on one packet: registers, expressions and the verdict they come to, as the kernel's own evaluation.

Comes in: a rule, the sets it looks into, a packet with its connection, and what surrounds it. Goes out: how far the
rule came, what it looked up and what it did. UnknownError, never a guess, for an expression, a field or a register
whose value is not known here. Source: kernel `net/netfilter/nf_tables_core.c`, `nft_do_chain`.
"""

import sys
from collections.abc import Mapping
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from fairlead.net import Address, Family, Port
from fairlead.nft.attributes import padded
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
    Foreign,
    Header,
    Immediate,
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
    Reject,
)
from fairlead.nft.intervals import find_range
from fairlead.nft.objects import Rule
from fairlead.nft.tables import SetContents
from fairlead.nft.verdicts import ACCEPT, DROP, Verdict

_WORD = 4
_NAME_LENGTH = 16
_ROUTE_UNICAST, _ROUTE_LOCAL = 1, 2
CT_NEW, CT_ESTABLISHED = 8, 2
CT_STATUS_SNAT, CT_STATUS_DNAT = 16, 32


class UnknownError(ValueError):
    """The packet's way depends on something that is not known here."""


class Packet(Struct, frozen=True, kw_only=True):
    """The headers of a packet and the context that goes with it; interfaces are "" where it has none or none is known.

    `ct_state` and `ct_status` are the bits of `ct state` and `ct status`: a first packet is new, translated in nothing.
    """

    source: Address
    destination: Address
    protocol: int
    source_port: Port
    destination_port: Port
    mark: int = 0
    iifname: str = ""
    oifname: str = ""
    ct_state: int = CT_NEW
    ct_status: int = 0


class Surroundings(Struct, frozen=True):
    """What the kernel would ask elsewhere: the host's own addresses, and the numbers its generator will draw.

    `numbers` are used up in order, each modulo what it is drawn from; after the last one every draw is 0.
    """

    local: frozenset[Address] = frozenset()
    numbers: tuple[int, ...] = ()

    def is_local(self, address: Address) -> bool:
        """Whether the host holds an address: one of `local`, 127.0.0.0/8 or ::1."""
        packed = address.packed
        return address in self.local or (packed[0] == 127 if len(packed) == 4 else packed == bytes(15) + b"\1")


class Looked(Struct, frozen=True):
    """One look into a set: the key, and the row's value where there is such a row."""

    set: str
    key: bytes
    found: bool
    value: bytes | Verdict | None = None


class Rested(Struct, frozen=True):
    """How a rule ended: `matched` at its end or with a verdict; without a `verdict` the next rule follows."""

    matched: bool
    verdict: Verdict | None = None


class Run:
    """One packet under way through a table: what it is now and what became of it."""

    def __init__(self, packet: Packet, surroundings: Surroundings, sets: Mapping[str, SetContents]) -> None:
        self.packet = packet
        self.surroundings = surroundings
        self.moduli: list[int] = []
        self.masqueraded = False
        self.rejected = False
        self.looked: list[Looked] = []
        self._sets = sets
        self._registers: list[bytes | None] = []

    def rule(self, rule: Rule) -> Rested:
        """Evaluate one rule. What it looked up is in `looked` after it."""
        self.looked = []
        self._registers = [None] * 16
        for step in rule.expressions:
            rested = self._step(step)
            if rested is not None:
                return rested
        return Rested(matched=True)

    def _step(self, step: Expression) -> Rested | None:  # noqa: PLR0912  a table of the kernel's expressions
        match step:
            case Payload(register, header, offset, length):
                self._put(register, _payload(self.packet, header, offset, length))
            case Meta(register, key):
                self._put(register, _meta(self.packet, key))
            case MetaSet(register, key):
                self._set_meta(key, self._get(register, _WORD))
            case Ct(register, key):
                self._put(register, _host(self.packet.ct_state if key is CtKey.STATE else self.packet.ct_status))
            case Cmp(register, comparison, value):
                return None if _compares(self._get(register, len(value)), comparison, value) else _ENDED
            case Bitwise(register, destination, mask, xor):
                self._put(destination, _combine(self._get(register, len(mask)), mask, xor))
            case Lookup(name, register, inverted):
                return None if self._look(name, register).found is not inverted else _ENDED
            case LookupValue(name, register, destination):
                return self._load_value(name, register, destination)
            case LookupVerdict(name, register):
                found = self._look(name, register)
                return Rested(True, _verdict(found)) if found.found else _ENDED
            case Decide(verdict):
                return Rested(True, verdict)
            case Immediate(register, value):
                self._put(register, value)
            case Numgen(register, _, modulus, offset):
                self._put(register, _host(offset + self._draw(modulus)))
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
                self._put(register, self._route_type(flags))
            case Counter():
                pass
            case Fib() | Nat() | Foreign():
                raise UnknownError(f"nobody knows here what this does: {step}")
            case _:
                assert_never(step)
        return None

    def _put(self, register: int, value: bytes) -> None:
        padded = value + bytes(-len(value) % _WORD)
        for start in range(0, len(padded), _WORD):
            self._registers[register + start // _WORD] = padded[start : start + _WORD]

    def _get(self, register: int, length: int) -> bytes:
        words = self._registers[register : register + (length + _WORD - 1) // _WORD]
        loaded = [word for word in words if word is not None]
        if len(loaded) < len(words):
            raise UnknownError(f"register {register} is read for {length} bytes before all of them are loaded")
        return b"".join(loaded)[:length]

    def _look(self, name: str, register: int) -> Looked:
        held = self._sets.get(name)
        if held is None or held.rows is None:
            raise UnknownError(f"the rows of the set {name} are not known")
        key = self._get(register, padded(held.shape.key_length))
        widths = [padded(length) for length in held.shape.fields]
        row = find_range(held.rows, key, widths) if held.shape.has_intervals else key
        looked = Looked(name, key, row in held.rows, held.rows.get(row) if row else None)
        self.looked.append(looked)
        return looked

    def _load_value(self, name: str, register: int, destination: int) -> Rested | None:
        looked = self._look(name, register)
        if not looked.found:
            return _ENDED
        if not isinstance(looked.value, bytes):
            raise UnknownError(f"the set {name} holds no values")
        self._put(destination, looked.value)
        return None

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
        if key is not MetaKey.MARK:
            raise UnknownError(f"nobody knows here what setting {key.name} does")
        self.packet = replace(self.packet, mark=int.from_bytes(value, sys.byteorder))

    def _route_type(self, flags: int) -> bytes:
        if flags not in (FibFlag.SADDR, FibFlag.DADDR):
            raise UnknownError(f"a look into the routing table with flags {flags}")
        address = self.packet.source if flags == FibFlag.SADDR else self.packet.destination
        return _host(_ROUTE_LOCAL if self.surroundings.is_local(address) else _ROUTE_UNICAST)


_ENDED = Rested(matched=False)


def _host(value: int) -> bytes:
    return value.to_bytes(_WORD, sys.byteorder)


def _port(packed: bytes) -> Port:
    return Port(int.from_bytes(packed, "big"))


def _verdict(looked: Looked) -> Verdict:
    if not isinstance(looked.value, Verdict):
        raise UnknownError(f"the set {looked.set} holds no verdicts")
    return looked.value


def _payload(packet: Packet, header: Header, offset: int, length: int) -> bytes:
    """Return bytes of a header; UnknownError for those a Packet does not carry."""
    addresses = packet.source.packed + packet.destination.packed
    four = packet.source.family is Family.IPV4
    spans = {
        Header.NETWORK: ((12 if four else 8, addresses), (9 if four else 6, bytes((packet.protocol,)))),
        Header.TRANSPORT: ((0, packet.source_port.to_bytes(2, "big") + packet.destination_port.to_bytes(2, "big")),),
    }
    for start, known in spans[header]:
        if start <= offset and offset + length <= start + len(known):
            return known[offset - start : offset - start + length]
    raise UnknownError(f"{length} bytes at {offset} of the {header.name.lower()} header")


def _meta(packet: Packet, key: MetaKey) -> bytes:
    match key:
        case MetaKey.MARK:
            return _host(packet.mark)
        case MetaKey.L4PROTO:
            return bytes((packet.protocol,))
        case MetaKey.IIFNAME:
            return _name(packet.iifname, key)
        case MetaKey.OIFNAME:
            return _name(packet.oifname, key)
        case _:
            assert_never(key)


def _name(interface: str, key: MetaKey) -> bytes:
    if not interface:
        raise UnknownError(f"{key.name.lower()} of the packet")
    return interface.encode().ljust(_NAME_LENGTH, b"\0")


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
