"""HTTP/1.1 requests out of a stream of bytes: bytes come in, whole requests with their body's length go out.

Keeps what has not made a whole request yet; bodies are counted and thrown away. Refuses to know sockets and answers.
Source: RFC 9112. A message that could be read in two ways (two lengths, length beside chunks, folded lines) is refused.
"""

from msgspec import Struct

_MOST_HEAD = 64 * 1024
_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"PATCH ", b"OPTIONS ", b"TRACE ", b"CONNECT ")
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Request(Struct, frozen=True):
    """One request; `lower` holds the headers under lower-case names, `headers` as they were sent."""

    method: str
    target: str
    headers: dict[str, str]
    lower: dict[str, str]
    keep_alive: bool


class ExpectsContinue(Struct, frozen=True):
    """The client waits for 100 Continue before it sends the body."""


class Malformed(Struct, frozen=True):
    """What came is no request, or one that is refused: answer `status` and close."""

    status: int
    reason: str


class Incomplete(Struct, frozen=True):
    """Nothing more can be said before more bytes come."""


Event = Request | ExpectsContinue | Malformed | Incomplete
INCOMPLETE, EXPECTS_CONTINUE = Incomplete(), ExpectsContinue()


def looks_like_http(first: bytes) -> bool | None:
    """Whether a connection's first bytes begin a request; None while they could still become one."""
    if first.startswith(_METHODS):
        return True
    if any(method.startswith(first) for method in _METHODS):
        return None
    line = first.split(b"\n", 1)[0].rstrip()
    words = line.split(b" ")
    return len(words) == 3 and words[2].startswith(b"HTTP/1.") and _is_token(words[0])


def _is_token(text: bytes) -> bool:
    return bool(text) and _TOKEN.issuperset(text)


class _Refused(Exception):  # noqa: N818 - says what happened to the message
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.malformed = Malformed(status, reason)


class RequestReader:
    """Reads the requests of one connection, one after the other; after Malformed nothing more comes."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._request: Request | None = None
        self._left = 0
        self._chunked = False
        self._in_trailers = False

    @property
    def rest(self) -> bytes:
        """What came after the last request: another protocol's first bytes, after an upgrade."""
        return bytes(self._buffer)

    @property
    def idle(self) -> bool:
        """Whether no request is half read."""
        return self._request is None and not self._buffer

    def feed(self, data: bytes) -> None:
        """Take more bytes."""
        self._buffer += data

    def next_event(self) -> Event:
        """Return what the bytes so far amount to; call again until it is Incomplete."""
        try:
            if self._request is None:
                return self._read_head()
            return self._read_chunks() if self._chunked else self._read_body()
        except _Refused as refused:
            return refused.malformed

    def _read_head(self) -> Event:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):
            del buffer[:2]
        end, gap = buffer.find(b"\r\n\r\n"), 4
        if end < 0:
            end, gap = buffer.find(b"\n\n"), 2
        if end < 0:
            if len(buffer) > _MOST_HEAD:
                raise _Refused(431, "Request Header Fields Too Large")
            return INCOMPLETE
        head = bytes(buffer[:end])
        del buffer[: end + gap]
        request = self._request = _parse_head(head)
        coding, length = request.lower.get("transfer-encoding"), request.lower.get("content-length")
        if coding is not None:
            if length is not None:
                raise _Refused(400, "Bad Request")
            if coding.lower() != "chunked":
                raise _Refused(501, "Not Implemented")
            self._chunked = True
        elif length is not None:
            if not length.isascii() or not length.isdigit():
                raise _Refused(400, "Bad Request")
            self._left = int(length)
        if request.lower.get("expect", "").lower() == "100-continue" and not buffer and (self._chunked or self._left):
            return EXPECTS_CONTINUE
        return self._read_chunks() if self._chunked else self._read_body()

    def _read_body(self) -> Event:
        taken = min(self._left, len(self._buffer))
        if taken:
            del self._buffer[:taken]
            self._left -= taken
        return self._finish() if not self._left else INCOMPLETE

    def _read_chunks(self) -> Event:
        buffer = self._buffer
        while True:
            if self._left:
                taken = min(self._left, len(buffer))
                del buffer[:taken]
                self._left -= taken
                if self._left:
                    return INCOMPLETE
            end = buffer.find(b"\n")
            if end < 0:
                if len(buffer) > _MOST_HEAD:
                    raise _Refused(400, "Bad Request")
                return INCOMPLETE
            line = bytes(buffer[:end]).rstrip(b"\r")
            del buffer[: end + 1]
            if self._in_trailers:
                if not line:
                    return self._finish()
                continue
            size = line.split(b";", 1)[0].strip()
            if not size or not frozenset(b"0123456789abcdefABCDEF").issuperset(size):
                raise _Refused(400, "Bad Request")
            count = int(size, 16)
            self._in_trailers = count == 0
            self._left = count + 2 if count else 0  # the line end after the chunk

    def _finish(self) -> Request:
        request = self._request
        assert request is not None
        self._request, self._chunked, self._in_trailers = None, False, False
        return request


def _parse_head(head: bytes) -> Request:
    lines = head.decode("latin-1").split("\n")
    words = lines[0].rstrip("\r").split(" ")
    if len(words) != 3 or not _is_token(words[0].encode("latin-1")) or not words[1]:
        raise _Refused(400, "Bad Request")
    method, target, version = words
    if not version.startswith("HTTP/1."):
        raise _Refused(505, "HTTP Version Not Supported")
    headers: dict[str, str] = {}
    lower: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.issuperset(name.encode("latin-1")) or not name:
            raise _Refused(400, "Bad Request")
        value, key = value.strip(), name.lower()
        if key in lower:
            if key in ("content-length", "host", "transfer-encoding"):
                raise _Refused(400, "Bad Request")
            value = f"{lower[key]}, {value}"
            headers = {kept: text for kept, text in headers.items() if kept.lower() != key}
        headers[name] = lower[key] = value
    modern = version != "HTTP/1.0"
    if modern and "host" not in lower:
        raise _Refused(400, "Bad Request")
    wishes = lower.get("connection", "").lower()
    keep_alive = "close" not in wishes and (modern or "keep-alive" in wishes)
    return Request(method, target, headers, lower, keep_alive)
