"""The nouns of nftables: table families, chains with their hooks, sets, maps, elements, verdicts and rules.

Values only: nothing here knows how it is written, sent, or what it is used for.
"""

from enum import Enum, IntEnum

from msgspec import Struct

from fairlead.net import Family
from fairlead.nft.expressions import Expression
from fairlead.nft.fields import Field
from fairlead.nft.verdicts import Verdict


class TableFamily(IntEnum):
    """Which packets a table sees; the value is the NFPROTO number of the netlink header."""

    INET = 1
    IP = 2
    IP6 = 10

    @staticmethod
    def of(family: Family) -> "TableFamily":
        """Return the table family for packets of one address family."""
        return TableFamily.IP if family is Family.IPV4 else TableFamily.IP6


class Hook(IntEnum):
    """Where on a packet's way a base chain is called (kernel `enum nf_inet_hooks`)."""

    PREROUTING = 0
    INPUT = 1
    FORWARD = 2
    OUTPUT = 3
    POSTROUTING = 4


class ChainType(Enum):
    """What a base chain may do, spelt as NFTA_CHAIN_TYPE."""

    FILTER = "filter"
    NAT = "nat"
    ROUTE = "route"


class Policy(IntEnum):
    """What a base chain does with packets no rule decided; the value is the verdict's number."""

    DROP = 0
    ACCEPT = 1


class Priority(IntEnum):
    """The named priorities at which base chains run within a hook, lowest first."""

    MANGLE = -150
    DSTNAT = -100
    FILTER = 0
    SRCNAT = 100


class Base(Struct, frozen=True):
    """What makes a chain a base chain: the packets of `hook` come by at `priority`."""

    type: ChainType
    hook: Hook
    priority: int
    policy: Policy = Policy.ACCEPT


class Chain(Struct, frozen=True):
    """A named list of rules; without a `base` it is only entered by a verdict."""

    name: str
    base: Base | None = None


class Rule(Struct, frozen=True):
    """Expressions evaluated from left to right until one does not match or gives a verdict."""

    expressions: tuple[Expression, ...]


class Traits(Struct, frozen=True, kw_only=True):
    """What a set's rows may be besides single keys that stay until they are deleted (`enum nft_set_flags`).

    `interval`: rows are ranges of keys; of a concatenation each field is a range of its own. `timeout`: rows expire, by
    default after so many milliseconds, and at 0 after what each row says. `dynamic`: rules add rows. `size`: how many
    rows there may be, 0 for any number, which a dynamic set cannot have: rules stop adding where it is full.
    """

    interval: bool = False
    timeout: int | None = None
    dynamic: bool = False
    size: int = 0


class Set(Traits, frozen=True):
    """A named set of keys."""

    name: str
    key: tuple[Field, ...]


class Map(Traits, frozen=True):
    """A named map from keys to values that a rule reads into registers."""

    name: str
    key: tuple[Field, ...]
    value: tuple[Field, ...]


class VerdictMap(Traits, frozen=True):
    """A named map from keys to verdicts."""

    name: str
    key: tuple[Field, ...]


AnySet = Set | Map | VerdictMap


class Element(Struct, frozen=True, gc=False):
    """One row: the packed key, and the packed value of a map, the verdict of a verdict map, or nothing in a set.

    In a set of intervals `end` is the last key of the range, in each field of a concatenation, and None is `key` alone.
    `timeout` is in milliseconds, for sets whose rows expire; None is the set's own.
    """

    key: bytes
    value: bytes | Verdict | None = None
    end: bytes | None = None
    timeout: int | None = None


def key_length(target: AnySet) -> int:
    """Return the length of a packed key, in bytes: whole registers."""
    return _width(target.key)


def value_length(target: Map) -> int:
    """Return the length of a packed value, in bytes: whole registers."""
    return _width(target.value)


def _width(fields: tuple[Field, ...]) -> int:
    width = 0
    for field in fields:
        width += field.width
    return width
