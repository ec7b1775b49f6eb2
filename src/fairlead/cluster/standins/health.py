"""gRPC health over HTTP/2 without a library: frames come in, frames that say SERVING go out.

Every call gets the answer of grpc.health.v1.Health/Check; which method was called is not read, so no header compression
needs to be understood. Source: RFC 9113, the gRPC protocol over HTTP/2, grpc/health/v1/health.proto.
"""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4


def h2_frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header as HPACK spells it without index and without Huffman coding; both shorter than 127 bytes."""
    return bytes((0, len(name))) + name + bytes((len(value),)) + value


def take_frame(buffer: bytearray) -> tuple[int, int, int, bytes] | None:
    """Take the next whole frame out of `buffer`: kind, flags, stream, payload; None while it is incomplete."""
    if len(buffer) < 9:
        return None
    size = int.from_bytes(buffer[:3], "big")
    if len(buffer) < 9 + size:
        return None
    kind, flags, stream = buffer[3], buffer[4], int.from_bytes(buffer[5:9], "big") & 0x7FFF_FFFF
    payload = bytes(buffer[9 : 9 + size])
    del buffer[: 9 + size]
    return kind, flags, stream, payload


_SERVING = b"\x00\x00\x00\x00\x02\x08\x01"
_ANSWER_HEAD = b"\x88" + literal(b"content-type", b"application/grpc")
_ANSWER_END = literal(b"grpc-status", b"0")


class HealthServer:
    """One HTTP/2 connection, from after the client's preface."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.greeting = h2_frame(SETTINGS, 0, 0)
        """To send first."""

    def receive(self, data: bytes) -> bytes:
        """Take bytes; return those to send."""
        self._buffer += data
        out = bytearray()
        while (taken := take_frame(self._buffer)) is not None:
            kind, flags, stream, payload = taken
            if kind == SETTINGS and not flags & ACK:
                out += h2_frame(SETTINGS, ACK, 0)
            elif kind == PING and not flags & ACK:
                out += h2_frame(PING, ACK, 0, payload)
            elif kind in (HEADERS, DATA) and flags & END_STREAM:
                out += h2_frame(HEADERS, END_HEADERS, stream, _ANSWER_HEAD)
                out += h2_frame(DATA, 0, stream, _SERVING)
                out += h2_frame(HEADERS, END_HEADERS | END_STREAM, stream, _ANSWER_END)
        return bytes(out)
