"""SCTP without a kernel that speaks it: INIT packets through raw sockets. Source: RFC 9260, sections 3.1 and 3.3.2."""

import struct

SCTP = 132
_COMMON, _INIT = struct.Struct(">HHII"), struct.Struct(">BBHIIHHI")


def init_packet(sender: int, port: int) -> bytes:
    """The first packet of an association; its initiate tag says who sends it."""
    chunk = _INIT.pack(1, 0, 20, sender + 1, 65536, 1, 1, 1)
    bare = _COMMON.pack(40000 + sender, port, 0, 0) + chunk
    return bare[:8] + struct.pack("<I", _crc32c(bare)) + bare[12:]


def read_init(packet: bytes, *, headed: bool) -> tuple[int, int]:
    """The sender's number and the port of an INIT; a raw socket of IPv4 hands on the packet's own header before."""
    if headed:
        packet = packet[(packet[0] & 15) * 4 :]
    return _INIT.unpack_from(packet, _COMMON.size)[3] - 1, _COMMON.unpack_from(packet)[1]


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
