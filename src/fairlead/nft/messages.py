"""The message types of nftables' netlink language (`enum nf_tables_msg_types`), with the subsystem number in front."""

from enum import IntEnum

_NFTABLES = 10 << 8


class MessageType(IntEnum):
    """`nlmsg_type` of requests and of listed objects."""

    NEW_TABLE = _NFTABLES | 0
    GET_TABLE = _NFTABLES | 1
    DELETE_TABLE = _NFTABLES | 2
    NEW_CHAIN = _NFTABLES | 3
    GET_CHAIN = _NFTABLES | 4
    DELETE_CHAIN = _NFTABLES | 5
    NEW_RULE = _NFTABLES | 6
    GET_RULE = _NFTABLES | 7
    DELETE_RULE = _NFTABLES | 8
    NEW_SET = _NFTABLES | 9
    GET_SET = _NFTABLES | 10
    DELETE_SET = _NFTABLES | 11
    NEW_ELEMENT = _NFTABLES | 12
    GET_ELEMENT = _NFTABLES | 13
    DELETE_ELEMENT = _NFTABLES | 14
    NEW_GENERATION = _NFTABLES | 15
    GET_GENERATION = _NFTABLES | 16


BATCH_BEGIN = 0x10
BATCH_END = 0x11
