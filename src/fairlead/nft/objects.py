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


class Policy(IntEnum):
    """What a base chain does with packets no rule decided; the value is the verdict's number."""

    DROP = 0
    ACCEPT = 1


class Priority(IntEnum):
    """The named priorities at which base chains run within a hook, lowest first."""

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


class Set(Struct, frozen=True):
    """A named set of keys."""

    name: str
    key: tuple[Field, ...]


class Map(Struct, frozen=True):
    """A named map from keys to values that a rule reads into registers."""

    name: str
    key: tuple[Field, ...]
    value: tuple[Field, ...]


class VerdictMap(Struct, frozen=True):
    """A named map from keys to verdicts."""

    name: str
    key: tuple[Field, ...]


AnySet = Set | Map | VerdictMap


class Element(Struct, frozen=True, gc=False):
    """One row: the packed key, and the packed value of a map, the verdict of a verdict map, or nothing in a set."""

    key: bytes
    value: bytes | Verdict | None = None


def key_length(target: AnySet) -> int:
    """Return the length of a packed key, in bytes."""
    return _width(target.key)


def value_length(target: Map) -> int:
    """Return the length of a packed value, in bytes."""
    return _width(target.value)


def _width(fields: tuple[Field, ...]) -> int:
    width = 0
    for field in fields:
        width += field.width
    return width
