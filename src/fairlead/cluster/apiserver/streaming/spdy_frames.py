"""SPDY/3.1 frames: bytes as they come to frames, and frames to bytes.

Comes in: pieces of a byte stream. Goes out: the frames they complete. Refuses to know what streams are for. Only what
clients of the API use is told apart; other control frames are passed over. Source: SPDY protocol draft 3.1, section 2.
"""

import struct
from collections.abc import Iterator

from msgspec import Struct

from fairlead.cluster.apiserver.streaming.spdy_headers import HeaderError, HeaderReader, HeaderWriter

_VERSION = 3
_CONTROL = 0x8000
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _HEADERS, _WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
_FIN = 1
_STREAM = 0x7FFF_FFFF
_LONGEST_CONTROL = 64 * 1024
MOST_DATA = 32 * 1024
"""Bytes in one data frame of ours."""


class SpdyError(Exception):
    """The other side does not keep to the protocol; the connection cannot go on."""


class Opened(Struct, frozen=True):
    """The other side opens a stream; `ended` means it will send nothing on it."""

    stream: int
    headers: dict[str, str]
    ended: bool


class Data(Struct, frozen=True):
    """Bytes of a stream, perhaps its last."""

    stream: int
    data: bytes
    ended: bool


class Ended(Struct, frozen=True):
    """The other side ends what it sends on a stream, without bytes."""

    stream: int


class Reset(Struct, frozen=True):
    """The other side lets go of a stream, both ways."""

    stream: int


class Ping(Struct, frozen=True):
    """A question that wants the same number back."""

    number: int


class GoAway(Struct, frozen=True):
    """The other side opens no more streams."""


Frame = Opened | Data | Ended | Reset | Ping | GoAway


class FrameReader:
    """Takes a byte stream apart."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._headers = HeaderReader()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are whole with these bytes. Raises SpdyError."""
        held = self._held
        held += data
        while len(held) >= 8:
            length = int.from_bytes(held[5:8], "big")
            control = held[0] & 0x80
            if control and length > _LONGEST_CONTROL:
                raise SpdyError(f"a control frame of {length} bytes")
            if len(held) < 8 + length:
                break
            head, body = bytes(held[:8]), bytes(held[8 : 8 + length])
            del held[: 8 + length]
            if not control:
                yield Data(int.from_bytes(head[:4], "big") & _STREAM, body, bool(head[4] & _FIN))
                continue
            try:
                frame = self._control(head, body)
            except (HeaderError, struct.error) as error:
                raise SpdyError(str(error)) from error
            if frame is not None:
                yield frame

    def _control(self, head: bytes, body: bytes) -> Frame | None:
        version, kind = struct.unpack_from("!HH", head)
        if version != _CONTROL | _VERSION:
            raise SpdyError(f"version {version & 0x7FFF} instead of {_VERSION}")
        flags = head[4]
        if kind == _SYN_STREAM:
            stream = struct.unpack_from("!I", body)[0] & _STREAM
            return Opened(stream, self._headers.unpack(body[10:]), bool(flags & _FIN))
        if kind in (_SYN_REPLY, _HEADERS):
            stream = struct.unpack_from("!I", body)[0] & _STREAM
            self._headers.unpack(body[4:])  # the context of the compression goes on through every block
            return Ended(stream) if flags & _FIN else None
        if kind == _RST_STREAM:
            return Reset(struct.unpack_from("!I", body)[0] & _STREAM)
        if kind == _PING:
            return Ping(struct.unpack_from("!I", body)[0])
        return GoAway() if kind == _GOAWAY else None


class FrameWriter:
    """Makes the frames of one connection. Those with headers must be sent in the order in which they are made."""

    def __init__(self) -> None:
        self._headers = HeaderWriter()

    def opened(self, stream: int, headers: dict[str, str]) -> bytes:
        """Open a stream."""
        return _control(_SYN_STREAM, struct.pack("!IIBB", stream, 0, 0, 0) + self._headers.pack(headers))

    def reply(self, stream: int) -> bytes:
        """Accept a stream that the other side opened."""
        return _control(_SYN_REPLY, struct.pack("!I", stream) + self._headers.pack({}))

    def data(self, stream: int, data: bytes, *, end: bool = False) -> bytes:
        """Send bytes; with `end`, the last."""
        return b"".join(
            _data(stream, data[at : at + MOST_DATA], end=end and at + MOST_DATA >= len(data))
            for at in range(0, max(1, len(data)), MOST_DATA)
        )

    def reset(self, stream: int) -> bytes:
        """Let go of a stream, both ways (status CANCEL)."""
        return _control(_RST_STREAM, struct.pack("!II", stream, 5))

    def ping(self, number: int) -> bytes:
        """Answer a ping."""
        return _control(_PING, struct.pack("!I", number))


def _control(kind: int, body: bytes) -> bytes:
    return struct.pack("!HHI", _CONTROL | _VERSION, kind, len(body)) + body


def _data(stream: int, data: bytes, *, end: bool) -> bytes:
    return struct.pack("!II", stream, (_FIN << 24 if end else 0) | len(data)) + data
