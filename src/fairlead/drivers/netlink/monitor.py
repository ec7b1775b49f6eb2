"""Who else writes nftables: the kernel's notifications of this network namespace, but for our own.

Comes in: the port of our own nftables socket. Goes out: which tables others touched, who they were, and whether any
notification was lost. Refuses to know what was changed: whoever cares compares the table. A filter in the kernel drops
the notifications of our own transactions, so that the largest of them neither wakes us nor fills the buffer. Source:
kernel `net/netfilter/nf_tables_api.c`, nft_commit_notify and nf_tables_fill_gen_info.
"""

import ctypes
import errno
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Self

from msgspec import Struct

from fairlead.drivers.errors import FairleadError
from fairlead.nft.attributes import parse_attributes, parse_name
from fairlead.nft.messages import MessageType

_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTABLES = 12, 270, 1, 7
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_BUFFER = 1 << 21
_AT_ONCE = 256  # datagrams in one reading; what is left wakes the reader again
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_PORT_OFFSET = 12  # of nlmsg_pid within the message
_PROCESS_NAME = 3


class Touched(Struct, frozen=True):
    """What others did: tables as (family, name), the programs' names, and whether there was more than was heard."""

    tables: frozenset[tuple[int, str]] = frozenset()
    writers: frozenset[str] = frozenset()
    lost: bool = False


class RulesetMonitor:
    """A socket that hears of every transaction on the nftables of the current namespace but those of port `own`."""

    def __init__(self, own: int) -> None:
        """Raises FairleadError where the kernel does not let us listen."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
        self._socket.setblocking(False)
        try:
            self._socket.bind((0, 0))
            with suppress(PermissionError):
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            self._drop_own(own)
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTABLES)
        except OSError as error:
            self._socket.close()
            raise FairleadError(
                f"Linux refused to tell of changes of nftables: {error.strerror}",
                "run with CAP_NET_ADMIN; without it tables are compared once an hour only",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """What to wait on for reading."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def read(self) -> Touched:
        """Return what was heard since the last call, without waiting."""
        tables: set[tuple[int, str]] = set()
        writers: set[str] = set()
        lost = False
        for _ in range(_AT_ONCE):
            try:
                data = self._socket.recv(1 << 17)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                lost = True
                continue
            for kind, family, body in _messages(data):
                if kind == MessageType.NEW_GENERATION:
                    writers.add(parse_name(parse_attributes(body).get(_PROCESS_NAME, b"")))
                else:
                    tables.add((family, _table_of(body)))
        return Touched(frozenset(tables), frozenset(writers), lost)

    def _drop_own(self, own: int) -> None:
        """Have the kernel drop messages that carry `own` as their port (a classic packet filter)."""
        port = int.from_bytes(own.to_bytes(4, sys.byteorder), "big")  # a filter loads words in network order
        steps = ((_LOAD_WORD, 0, 0, _PORT_OFFSET), (_JUMP_IF_EQUAL, 0, 1, port), (_RETURN, 0, 0, 0))
        packed = b"".join(struct.pack("=HBBI", *step) for step in (*steps, (_RETURN, 0, 0, 0xFFFFFFFF)))
        program = ctypes.create_string_buffer(packed, len(packed))
        self._socket.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(packed) // 8, ctypes.addressof(program))
        )


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The type, family and attributes of each message of a datagram."""
    at = 0
    while at + 20 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        yield kind, data[at + 16], data[at + 20 : at + length]
        at += max(20, (length + 3) & ~3)


def _table_of(body: bytes) -> str:
    """The table's name: the first attribute of every notification, and always of kind 1."""
    (length,) = struct.unpack_from("=H", body)
    return parse_name(body[4:length])
