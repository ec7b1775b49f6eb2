"""Netlink replies taken apart: acknowledgements, errors and listed objects (linux `netlink.h`).

Comes in: the bytes of one receive. Goes out: replies in order. Knows nothing of nftables but its header's length.
"""

from collections.abc import Iterator
from struct import unpack_from

from msgspec import Struct

_ERROR, _DONE = 2, 3
_TLVS = 0x200
_DUMP_INTERRUPTED = 0x10
_MESSAGE = 1


class Reply(Struct, frozen=True):
    """One reply: an acknowledgement (`error` 0 or an errno, `final`), a dump's end (`final`), or an object (`body`).

    `interrupted` says that the listing changed underneath and must be taken again.
    """

    type: int
    sequence: int
    final: bool
    error: int = 0
    detail: str = ""
    body: bytes = b""
    interrupted: bool = False


def iter_replies(data: bytes) -> Iterator[Reply]:
    """Yield the replies in the bytes of one receive."""
    start = 0
    while start + 16 <= len(data):
        length, kind, flags, sequence, _ = unpack_from("=IHHII", data, start)
        end = start + length
        if kind in {_ERROR, _DONE}:
            error = -unpack_from("=i", data, start + 16)[0] if length >= 20 else 0
            detail = _detail(data, start, end) if kind == _ERROR and flags & _TLVS else ""
            yield Reply(kind, sequence, True, error, detail, interrupted=bool(flags & _DUMP_INTERRUPTED))
        else:
            body = data[start + 20 : end]
            yield Reply(kind, sequence, False, body=body, interrupted=bool(flags & _DUMP_INTERRUPTED))
        start += (length + 3) & ~3


def _detail(data: bytes, start: int, end: int) -> str:
    """Return the text of an extended acknowledgement (`enum nlmsgerr_attrs`), empty where there is none.

    The socket asks for capped echoes, so that the attributes follow the header of the message refused.
    """
    at = start + 16 + 4 + 16
    while at + 4 <= end:
        length, kind = unpack_from("=HH", data, at)
        if length < 4:
            break
        if kind & 0x3FFF == _MESSAGE:
            return data[at + 4 : at + length].rstrip(b"\0").decode(errors="replace")
        at += (length + 3) & ~3
    return ""
