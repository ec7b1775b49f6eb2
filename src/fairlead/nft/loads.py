"""What an expression loads into a register, as a field with its spelling and type.

Comes in: a load. Goes out: its field, or None for a load that is never written here. Knows nothing of rules.
"""

from fairlead.net import Family
from fairlead.nft.expressions import Ct, CtKey, Direction, Header, Meta, MetaKey, Payload
from fairlead.nft.fields import (
    CT_DIRECTION,
    CT_ID,
    CT_MARK,
    CT_PROTOCOL,
    DESTINATION_IPV4,
    DESTINATION_IPV6,
    DESTINATION_PORT,
    ETHERTYPE,
    ICMP_TYPE,
    ICMPV6_TYPE,
    IIF,
    IIFNAME,
    L4PROTO,
    MARK,
    NFPROTO,
    OIF,
    OIFNAME,
    PKTTYPE,
    PRIORITY,
    SOURCE_IPV4,
    SOURCE_IPV6,
    SOURCE_PORT,
    Field,
    ct_address,
    ct_port,
)

_ICMPV6 = 58
_HEADERS: dict[tuple[Header, int], Field] = {
    (Header.NETWORK, 12): SOURCE_IPV4,
    (Header.NETWORK, 16): DESTINATION_IPV4,
    (Header.NETWORK, 8): SOURCE_IPV6,
    (Header.NETWORK, 24): DESTINATION_IPV6,
    (Header.TRANSPORT, 0): SOURCE_PORT,
    (Header.TRANSPORT, 2): DESTINATION_PORT,
}
_META = {
    MetaKey.PROTOCOL: ETHERTYPE,
    MetaKey.PRIORITY: PRIORITY,
    MetaKey.MARK: MARK,
    MetaKey.IIF: IIF,
    MetaKey.OIF: OIF,
    MetaKey.IIFNAME: IIFNAME,
    MetaKey.OIFNAME: OIFNAME,
    MetaKey.NFPROTO: NFPROTO,
    MetaKey.L4PROTO: L4PROTO,
    MetaKey.PKTTYPE: PKTTYPE,
}
_CT = {CtKey.DIRECTION: CT_DIRECTION, CtKey.MARK: CT_MARK, CtKey.PROTOCOL: CT_PROTOCOL, CtKey.ID: CT_ID}
_CT_ENDS = {
    CtKey.SRC_IP: (Family.IPV4, "saddr"),
    CtKey.DST_IP: (Family.IPV4, "daddr"),
    CtKey.SRC_IP6: (Family.IPV6, "saddr"),
    CtKey.DST_IP6: (Family.IPV6, "daddr"),
}
_CT_PORTS = {CtKey.PROTO_SRC: "src", CtKey.PROTO_DST: "dst"}


def loaded_field(step: Payload | Meta | Ct, protocol: int | None = None) -> Field | None:
    """Return the field an expression loads; `protocol` is the transport the rule has asked for before."""
    match step:
        case Payload(_, Header.TRANSPORT, 0, 1):
            return ICMPV6_TYPE if protocol == _ICMPV6 else ICMP_TYPE
        case Payload(_, header, offset, _):
            return _HEADERS.get((header, offset))
        case Meta(_, key):
            return _META.get(key)
        case Ct(_, key, None):
            return _CT.get(key)
        case Ct(_, key, Direction() as direction):
            return _connection_end(key, direction)
        case _:
            return None


def _connection_end(key: CtKey, direction: Direction) -> Field | None:
    if key in _CT_ENDS:
        family, end = _CT_ENDS[key]
        return ct_address(family, end, direction)
    return ct_port(_CT_PORTS[key], direction) if key in _CT_PORTS else None
