"""The addresses that interfaces of the current network namespace have (rtnetlink RTM_GETADDR, linux `if_addr.h`).

Comes in: nothing. Goes out: addresses of both families, in the kernel's order. Refuses to know what they are for.
"""

import os
import socket
import struct
from collections.abc import Iterator

from fairlead.drivers.errors import FairleadError
from fairlead.net import Address

_ROUTE, _NEWADDR, _GETADDR, _ERROR, _DONE = 0, 20, 22, 2, 3
_REQUEST, _DUMP = 1, 0x300
_HEADER = struct.Struct("=IHHII")
_IFADDRMSG = struct.Struct("=BBBBI")
_ADDRESS, _LOCAL = 1, 2


def local_addresses() -> tuple[Address, ...]:
    """Every address of every interface, without doubles. Raises FairleadError."""
    body = _IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    found: dict[Address, None] = {}
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _ROUTE) as asking:
            asking.send(_HEADER.pack(_HEADER.size + len(body), _GETADDR, _REQUEST | _DUMP, 1, 0) + body)
            done = False
            while not done:
                for kind, message in _messages(asking.recv(1 << 16)):
                    done = done or kind in (_DONE, _ERROR)
                    if kind == _NEWADDR:
                        found |= dict.fromkeys(_address(message))
    except OSError as error:
        raise FairleadError(f"Linux refused to list addresses: {os.strerror(error.errno or 0)}") from error
    return tuple(found)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        yield kind, data[at + _HEADER.size : at + length]
        at += max(_HEADER.size, (length + 3) & ~3)


def _address(message: bytes) -> Iterator[Address]:
    """The interface's own address: on a point-to-point link the other attribute is the far end's."""
    values: dict[int, bytes] = {}
    at = _IFADDRMSG.size
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if length < 4:
            return
        values[kind] = message[at + 4 : at + length]
        at += (length + 3) & ~3
    packed = values.get(_LOCAL) or values.get(_ADDRESS)
    if packed is not None and len(packed) in (4, 16):
        yield Address(packed)
