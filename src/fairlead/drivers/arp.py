"""ARP and neighbour discovery for addresses that no interface has: frames in and out on packet sockets.

In: frames. Out: who asks for which address, and answers to them. One socket listens on one interface of the namespace
it was opened in. Source: RFC 826 and 5227 (ARP), RFC 4861 (neighbour discovery), packet(7).
"""

import socket
import struct
from contextlib import suppress

from msgspec import Struct

from fairlead.drivers.errors import FairleadError
from fairlead.net import Address

_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD
_ARP_FRAME = struct.Struct("!6s6sHHHBBH6s4s6s4s")
_EVERYONE, _ALL_NODES = b"\xff" * 6, b"\x33\x33\0\0\0\1"
_SOLICITATION, _ADVERTISEMENT = 135, 136
_SOL_PACKET, _ADD_MEMBERSHIP, _ALL_MULTICAST = 263, 1, 2
_ALL_NODES_ADDRESS = b"\xff\x02" + b"\0" * 13 + b"\1"


class Question(Struct, frozen=True):
    """Somebody asks who has `target`; an `asker` of all zeros only wants to know whether anybody has (a probe)."""

    target: Address
    asker: Address
    hardware: bytes


class Claim(Struct, frozen=True):
    """Somebody says that `address` is at `hardware`."""

    address: Address
    hardware: bytes


def parse_frame(frame: bytes) -> Question | Claim | None:
    """What an Ethernet frame asks or claims; None where it is of no concern, or damaged."""
    if len(frame) < 42:
        return None
    kind = int.from_bytes(frame[12:14], "big")
    if kind == _ARP:
        _, _, _, _, _, _, _, operation, hardware, sender, _, target = _split_arp(frame)
        if operation == 1 and sender != target:
            return Question(Address(target), Address(sender), hardware)
        return Claim(Address(sender), hardware) if operation in (1, 2) else None
    if kind != _IPV6 or frame[20] != 58 or frame[21] != 255 or len(frame) < 78:
        return None
    message, target = frame[54], Address(frame[62:78])
    if message == _SOLICITATION:
        return Question(target, Address(frame[22:38]), frame[6:12])
    return Claim(target, frame[6:12]) if message == _ADVERTISEMENT else None


def _split_arp(frame: bytes) -> tuple[bytes, bytes, int, int, int, int, int, int, bytes, bytes, bytes, bytes]:
    return _ARP_FRAME.unpack_from(frame)


def answer(question: Question, hardware: bytes) -> bytes:
    """The frame that tells the asker that its target is at `hardware`."""
    target = question.target.packed
    if len(target) == 4:
        asker, sender = question.hardware, question.asker.packed
        return _ARP_FRAME.pack(asker, hardware, _ARP, 1, _IPV4, 6, 4, 2, hardware, target, asker, sender)
    if any(question.asker.packed):
        return _advertisement(target, hardware, question.hardware, question.asker.packed, solicited=True)
    return _advertisement(target, hardware, _ALL_NODES, _ALL_NODES_ADDRESS, solicited=False)


def announcement(address: Address, hardware: bytes) -> bytes:
    """The frame that tells everybody, unasked, that an address is at `hardware` now (RFC 5227, RFC 4861 7.2.6)."""
    packed = address.packed
    if len(packed) == 4:
        return _ARP_FRAME.pack(_EVERYONE, hardware, _ARP, 1, _IPV4, 6, 4, 1, hardware, packed, b"\0" * 6, packed)
    return _advertisement(packed, hardware, _ALL_NODES, _ALL_NODES_ADDRESS, solicited=False)


def probe(address: Address, hardware: bytes) -> bytes:
    """The frame that asks whether anybody has an address, without claiming it (RFC 5227, RFC 4862)."""
    packed = address.packed
    if len(packed) == 4:
        return _ARP_FRAME.pack(_EVERYONE, hardware, _ARP, 1, _IPV4, 6, 4, 1, hardware, b"\0" * 4, b"\0" * 6, packed)
    group = bytes.fromhex("ff0200000000000000000001ff") + packed[-3:]
    return _icmp(
        b"\x33\x33" + group[-4:], hardware, b"\0" * 16, group, bytes((_SOLICITATION, 0, 0, 0)) + bytes(4) + packed
    )


def _advertisement(target: bytes, hardware: bytes, towards: bytes, address: bytes, *, solicited: bool) -> bytes:
    flags = 0x20 | (0x40 if solicited else 0)  # override what is known
    body = bytes((_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0)) + target + b"\x02\x01" + hardware
    return _icmp(towards, hardware, target, address, body)


def _icmp(towards: bytes, hardware: bytes, source: bytes, destination: bytes, body: bytes) -> bytes:
    pseudo = source + destination + struct.pack("!IHBB", len(body), 0, 0, 58)
    total = sum(struct.unpack(f"!{(len(pseudo) + len(body)) // 2}H", pseudo + body))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    summed = body[:2] + struct.pack("!H", ~total & 0xFFFF) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), 58, 255)
    return towards + hardware + struct.pack("!H", _IPV6) + header + source + destination + summed


class NeighbourSocket:
    """Frames of ARP and neighbour discovery on one interface. Raises FairleadError where it cannot be opened."""

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self._sockets: list[socket.socket] = []
        try:
            for kind in (_ARP, _IPV6):
                opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(kind))
                self._sockets.append(opened)
                if kind == _IPV6:
                    _take_solicitations_only(opened)
                opened.bind((interface, kind))
            index = socket.if_nametoindex(interface)
            # solicitations go to a multicast group of each address, of which the interface may not be a member
            asked = struct.pack("iHH8s", index, _ALL_MULTICAST, 0, b"")
            self._sockets[1].setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, asked)
        except OSError as error:
            self.close()
            remedy = "name interfaces that exist in the L2Advertisement, and run the speaker with CAP_NET_RAW"
            raise FairleadError(f"cannot listen for ARP on {interface}: {error.strerror}", remedy) from error
        self.hardware: bytes = self._sockets[0].getsockname()[4]

    def filenos(self) -> tuple[int, ...]:
        """To wait for frames at."""
        return tuple(each.fileno() for each in self._sockets)

    def receive(self) -> list[Question | Claim]:
        """Everything that has come from others and was not read yet."""
        found: list[Question | Claim] = []
        for each in self._sockets:
            with suppress(BlockingIOError, OSError):
                while True:
                    frame = each.recv(2048)
                    parsed = parse_frame(frame)
                    if parsed is not None and parsed.hardware != self.hardware:
                        found.append(parsed)
        return found

    def send(self, frame: bytes) -> bool:
        """Send one frame; whether the kernel took it, which it does not while the link is down."""
        try:
            self._sockets[0].send(frame)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of the interface."""
        for each in self._sockets:
            each.close()


def _take_solicitations_only(opened: socket.socket) -> None:
    """Let the kernel drop all of IPv6 but neighbour discovery, which is seldom (classic BPF, socket(7))."""
    import ctypes

    steps = (
        (0x30, 0, 0, 20),  # load the next header
        (0x15, 0, 4, 58),  # ICMPv6, or drop
        (0x30, 0, 0, 54),  # load the message's kind
        (0x15, 1, 0, _SOLICITATION),
        (0x15, 0, 1, _ADVERTISEMENT),
        (0x06, 0, 0, 2048),
        (0x06, 0, 0, 0),
    )
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    opened.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", len(steps), ctypes.addressof(program)))
