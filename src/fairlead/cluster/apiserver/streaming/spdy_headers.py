"""SPDY/3.1 header blocks: names and values to compressed bytes and back, with one context for each direction.

Comes in: headers, or a block as received. Goes out: the other. Refuses to know frames. Source: SPDY protocol draft 3.1,
sections 2.6.10 (name/value header block) and 2.6.10.1 (compression, with its dictionary).
"""

import struct
import zlib

_WORDS = (  # each stands in the dictionary behind its length
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(struct.pack("!I", len(word)) + word.replace("_", " ").encode() for word in _WORDS.split()) + _TEXT.encode()
)
_LONGEST_BLOCK = 64 * 1024  # inflated: what a hostile block may cost


class HeaderError(ValueError):
    """A header block is not what the protocol allows; the connection cannot go on."""


class HeaderWriter:
    """Compresses the blocks of one connection, in the order in which they are sent."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(9, zlib.DEFLATED, 15, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)

    def pack(self, headers: dict[str, str]) -> bytes:
        """Return the block; names are sent in small letters."""
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        plain = struct.pack("!I", len(pairs)) + b"".join(
            struct.pack("!I", len(part)) + part for pair in pairs for part in pair
        )
        return self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


class HeaderReader:
    """Inflates the blocks of one connection, in the order in which they were received."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(15, DICTIONARY)

    def unpack(self, block: bytes) -> dict[str, str]:
        """Return the headers, names in small letters. Raises HeaderError."""
        try:
            plain = self._inflate.decompress(block, _LONGEST_BLOCK)
        except zlib.error as error:
            raise HeaderError(f"a header block does not inflate: {error}") from error
        if self._inflate.unconsumed_tail:
            raise HeaderError("a header block is too long")
        try:
            return _read_pairs(plain)
        except (struct.error, UnicodeDecodeError) as error:
            raise HeaderError(f"a header block is malformed: {error}") from error


def _read_pairs(plain: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    (count,), at = struct.unpack_from("!I", plain), 4
    for _ in range(count):
        name, at = _read_text(plain, at)
        headers[name.lower()], at = _read_text(plain, at)
    return headers


def _read_text(plain: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("!I", plain, at)
    at += 4
    if at + length > len(plain):
        raise HeaderError("a header ends before its length")
    return plain[at : at + length].decode(), at + length
