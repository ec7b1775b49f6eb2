"""The expressions a rule is made of, one for one the kernel's own (`include/uapi/linux/netfilter/nf_tables.h`).

A register is counted in words of 32 bits, 0 to 15. Values are bytes as they stand in registers: network order for what
comes from a packet, host order for marks and states. Knows nothing of their wire form or nft spelling.
"""

from enum import IntEnum

from msgspec import Struct

from fairlead.nft.verdicts import Verdict


class Header(IntEnum):
    """The header a payload offset counts from (`enum nft_payload_bases`)."""

    LINK = 0
    NETWORK = 1
    TRANSPORT = 2


class MetaKey(IntEnum):
    """What of a packet's context is loaded or set (`enum nft_meta_keys`)."""

    PROTOCOL = 1
    PRIORITY = 2
    MARK = 3
    IIF = 4
    OIF = 5
    IIFNAME = 6
    OIFNAME = 7
    IIFTYPE = 8
    NFPROTO = 15
    L4PROTO = 16
    PKTTYPE = 19


class CtKey(IntEnum):
    """What of a packet's connection is loaded or set (`enum nft_ct_keys`)."""

    STATE = 0
    DIRECTION = 1
    STATUS = 2
    MARK = 3
    PROTOCOL = 10
    PROTO_SRC = 11
    PROTO_DST = 12
    LABELS = 13
    SRC_IP = 19
    DST_IP = 20
    SRC_IP6 = 21
    DST_IP6 = 22
    ID = 23


class Direction(IntEnum):
    """Whose packets a connection's addresses are told for (`enum ip_conntrack_dir`)."""

    ORIGINAL = 0
    REPLY = 1


class Comparison(IntEnum):
    """How `Cmp` compares (`enum nft_cmp_ops`)."""

    EQ = 0
    NEQ = 1
    LT = 2
    LTE = 3
    GT = 4
    GTE = 5


class DynsetOperation(IntEnum):
    """What `Dynset` does to a row (`enum nft_dynset_ops`)."""

    ADD = 0
    UPDATE = 1
    DELETE = 2


class LimitUnit(IntEnum):
    """The seconds in which `Limit` counts."""

    SECOND = 1
    MINUTE = 60
    HOUR = 3600
    DAY = 86400


class NumgenType(IntEnum):
    """How `Numgen` counts (`enum nft_ng_types`)."""

    INCREMENTAL = 0
    RANDOM = 1


class NatType(IntEnum):
    """Which end of a connection `Nat` rewrites (`enum nft_nat_types`)."""

    SNAT = 0
    DNAT = 1


class RejectType(IntEnum):
    """How `Reject` answers (`enum nft_reject_types`)."""

    ICMP_UNREACH = 0
    TCP_RST = 1


class FibResult(IntEnum):
    """What `Fib` looks up (`enum nft_fib_result`)."""

    OIF = 1
    OIFNAME = 2
    ADDRTYPE = 3


class FibFlag(IntEnum):
    """What `Fib` looks it up by (`enum nft_fib_flags`)."""

    SADDR = 1
    DADDR = 2


class Payload(Struct, frozen=True):
    """Load `length` bytes of the packet at `offset` of a header."""

    register: int
    header: Header
    offset: int
    length: int


class Meta(Struct, frozen=True):
    """Load a piece of the packet's context."""

    register: int
    key: MetaKey


class MetaSet(Struct, frozen=True):
    """Set a piece of the packet's context from a register."""

    register: int
    key: MetaKey


class Ct(Struct, frozen=True):
    """Load a piece of the packet's connection; its addresses and ports are those of one direction's packets."""

    register: int
    key: CtKey
    direction: Direction | None = None


class CtSet(Struct, frozen=True):
    """Set a piece of the packet's connection from a register."""

    register: int
    key: CtKey


class Cmp(Struct, frozen=True):
    """Go on only if the register compares so with `value`."""

    register: int
    comparison: Comparison
    value: bytes


class Range(Struct, frozen=True):
    """Go on only if the register is between `low` and `high`, both included, or is not when `inverted`."""

    register: int
    low: bytes
    high: bytes
    inverted: bool = False


class Bitwise(Struct, frozen=True):
    """Set `destination` to `register & mask ^ xor`."""

    register: int
    destination: int
    mask: bytes
    xor: bytes


class Lookup(Struct, frozen=True):
    """Go on only if the key at `register` is in the set, or is not when `inverted`."""

    set: str
    register: int
    inverted: bool = False


class LookupValue(Struct, frozen=True):
    """Load the map's value for the key at `register`, or stop the rule if there is none."""

    set: str
    register: int
    destination: int


class LookupVerdict(Struct, frozen=True):
    """Decide by the verdict map's entry for the key at `register`, or stop the rule if there is none."""

    set: str
    register: int


class Dynset(Struct, frozen=True):
    """Add the key at `register` to a dynamic set, or delete it; go on only if that was done.

    UPDATE also lets the row's time begin anew; ADD leaves a row that is there as it is. `data` is the register of the
    value a map gets. `timeout` is in milliseconds, None the set's own.
    """

    set: str
    operation: DynsetOperation
    register: int
    data: int | None = None
    timeout: int | None = None


class Decide(Struct, frozen=True):
    """Decide."""

    verdict: Verdict


class Immediate(Struct, frozen=True):
    """Load a constant."""

    register: int
    value: bytes


class Numgen(Struct, frozen=True):
    """Load a number of 32 bits in host order, `offset` to `offset + modulus - 1`."""

    register: int
    type: NumgenType
    modulus: int
    offset: int = 0


class Nat(Struct, frozen=True):
    """Translate the connection's source or destination to the address and port held in registers."""

    type: NatType
    family: int
    address: int
    port: int | None = None


class Masquerade(Struct, frozen=True):
    """Translate the connection's source to the address of the interface it leaves by."""

    fully_random: bool = False


class Reject(Struct, frozen=True):
    """Refuse the packet with an answer; `code` is the ICMP code and 0 for a TCP reset."""

    type: RejectType
    code: int = 0


class Fib(Struct, frozen=True):
    """Load what the routing table says of an address."""

    register: int
    result: FibResult
    flags: int


class Counter(Struct, frozen=True):
    """Count packets and bytes. The counts are state, not part of the rule."""


class Log(Struct, frozen=True):
    """Send the packet's first `snaplen` bytes, 0 for all, to the listeners of an nflog group."""

    group: int
    prefix: str = ""
    snaplen: int = 0


class Limit(Struct, frozen=True):
    """Go on only while no more than `rate` packets a unit of time come by, after `burst` at once; `over`: only then."""

    rate: int
    unit: LimitUnit
    burst: int = 5
    over: bool = False


class Foreign(Struct, frozen=True):
    """An expression we never write, as somebody else's rule in a listing has it: its name and its attributes."""

    name: str
    attributes: bytes


Expression = (
    Payload
    | Meta
    | MetaSet
    | Ct
    | CtSet
    | Cmp
    | Range
    | Bitwise
    | Lookup
    | LookupValue
    | LookupVerdict
    | Dynset
    | Decide
    | Immediate
    | Numgen
    | Nat
    | Masquerade
    | Reject
    | Fib
    | Counter
    | Log
    | Limit
    | Foreign
)
