"""The types of values in registers, sets and comparisons, and their text as nft writes it.

Comes in: packed values without padding. Goes out: words. Knows nothing of what a value was loaded from. Source:
nftables `include/datatype.h`, whose numbers NFTA_SET_KEY_TYPE holds six bits each.
"""

import sys
from enum import IntEnum
from ipaddress import ip_address

from fairlead.net import Protocol


class Datatype(IntEnum):
    """nft's own datatype numbers."""

    NFPROTO = 2
    INTEGER = 4
    IPV4_ADDRESS = 7
    IPV6_ADDRESS = 8
    ETHERTYPE = 10
    INET_PROTO = 12
    INET_SERVICE = 13
    ICMP_TYPE = 14
    MARK = 19
    IFINDEX = 20
    CLASSID = 23
    CT_DIRECTION = 27
    ICMPV6_TYPE = 29
    PACKET_TYPE = 31
    IFNAME = 41


HOST_ORDER = frozenset(
    {
        Datatype.INTEGER,
        Datatype.MARK,
        Datatype.IFINDEX,
        Datatype.CLASSID,
        Datatype.CT_DIRECTION,
        Datatype.IFNAME,
    }
)
"""Those whose bytes stand in the host's order, or in none."""

_NAMES: dict[Datatype, dict[int, str]] = {
    Datatype.NFPROTO: {2: "ipv4", 10: "ipv6"},
    Datatype.ETHERTYPE: {0x0800: "ip", 0x86DD: "ip6", 0x0806: "arp"},
    Datatype.INET_PROTO: {1: "icmp", 58: "icmpv6", **{int(each): each.name.lower() for each in Protocol}},
    Datatype.ICMP_TYPE: {0: "echo-reply", 3: "destination-unreachable", 8: "echo-request", 11: "time-exceeded"},
    Datatype.ICMPV6_TYPE: {
        1: "destination-unreachable",
        2: "packet-too-big",
        3: "time-exceeded",
        128: "echo-request",
        129: "echo-reply",
        133: "nd-router-solicit",
        134: "nd-router-advert",
        135: "nd-neighbor-solicit",
        136: "nd-neighbor-advert",
    },
    Datatype.CT_DIRECTION: {0: "original", 1: "reply"},
    Datatype.PACKET_TYPE: {0: "host", 1: "broadcast", 2: "multicast", 3: "other"},
}


def spell_value(datatype: Datatype, value: bytes) -> str:
    """Return nft's word for a value, or its number where there is no word."""
    match datatype:
        case Datatype.IPV4_ADDRESS | Datatype.IPV6_ADDRESS:
            return str(ip_address(value))
        case Datatype.MARK:
            return f"{_number(datatype, value):#010x}"
        case Datatype.CLASSID:
            major, minor = divmod(_number(datatype, value), 1 << 16)
            return f"{major:x}:{minor:x}" if major or minor else "none"
        case Datatype.IFNAME:
            return f'"{value.rstrip(bytes(1)).decode()}{"" if value.endswith(bytes(1)) else "*"}"'
        case _:
            number = _number(datatype, value)
            return _NAMES.get(datatype, {}).get(number, str(number))


def _number(datatype: Datatype, value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder if datatype in HOST_ORDER else "big")
