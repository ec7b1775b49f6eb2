"""HTTP/1.1 as a stand-in needs it: is this a request, where does it end, what does it say.

Comes in: bytes as they arrive. Goes out: heads and the lengths of bodies. Refuses to know sockets. Source: RFC 9112.
"""

from enum import Enum

from msgspec import Struct

_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"TRACE ")
HEAD_LIMIT = 64 * 1024


class Speech(Enum):
    """What the first bytes of a connection are."""

    UNDECIDED = "undecided"
    HTTP = "http"
    RAW = "raw"


class BadRequestError(ValueError):
    """Bytes that began as HTTP and are not; the text is for the client."""


class Head(Struct, frozen=True):
    """A request without its body; header names are as sent, doubles joined by a comma."""

    method: str
    target: str
    version: str
    headers: dict[str, str]
    length: int
    """Of the body in bytes; -1 means it comes in chunks."""

    def header(self, name: str) -> str:
        """A header by its name in any case, or the empty string."""
        lowered = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == lowered), "")

    @property
    def keeps_alive(self) -> bool:
        """Whether the client wants to send another request."""
        options = self.header("connection").lower()
        return "close" not in options if self.version == "HTTP/1.1" else "keep-alive" in options


def recognise(data: bytes) -> Speech:
    """Tell HTTP/1 from anything else by the first bytes; undecided while they could still become a method."""
    if data.startswith(_METHODS):
        line, newline, _ = data.partition(b"\n")
        if newline or len(data) > HEAD_LIMIT:
            return Speech.HTTP if b" HTTP/1." in line else Speech.RAW
        return Speech.UNDECIDED
    if any(method.startswith(data) for method in _METHODS):
        return Speech.UNDECIDED
    return Speech.RAW


def parse_head(data: bytes) -> Head:
    """Read a head, without the empty line that ends it. Raises BadRequestError."""
    first, *lines = data.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequestError("the request line is not METHOD TARGET VERSION")
    headers: dict[str, str] = {}
    length, chunked = 0, False
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequestError(f"a header line without a name: {line[:80]!r}")
        value = value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
        lowered = name.lower()
        if lowered == "content-length":
            if not value.isdigit():
                raise BadRequestError("Content-Length is no number")
            length = int(value)
        elif lowered == "transfer-encoding":
            chunked = value.lower().endswith("chunked")
    return Head(parts[0], parts[1], parts[2], headers, -1 if chunked else length)


class Body:
    """Passes over a body: fed with bytes, it says which of them belong to what follows."""

    def __init__(self, length: int) -> None:
        self._left = max(length, 0)
        self._chunked = length < 0
        self._held = b""
        self._trailer = False
        self.done = length == 0

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the body and return those after its end. Raises BadRequestError on a broken chunk."""
        if self.done:
            return data
        if not self._chunked:
            taken = min(self._left, len(data))
            self._left -= taken
            self.done = self._left == 0
            return data[taken:]
        self._held += data
        return self._chunks()

    def _chunks(self) -> bytes:
        while not self.done:
            if self._left:
                taken = min(self._left, len(self._held))
                self._held, self._left = self._held[taken:], self._left - taken
                if self._left:
                    return b""
            line, newline, rest = self._held.partition(b"\r\n")
            if not newline:
                if len(self._held) > HEAD_LIMIT:
                    raise BadRequestError("a chunk without a size")
                return b""
            self._held = rest
            if self._trailer:
                self.done = not line
            elif line:
                try:
                    self._left = int(line.split(b";")[0], 16)
                except ValueError:
                    raise BadRequestError("a chunk's size is no hexadecimal number") from None
                self._trailer = self._left == 0
                self._left += 2 if self._left else 0
        rest, self._held = self._held, b""
        return rest
