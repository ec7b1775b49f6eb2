"""WebSocket for a server that sends back what it gets. Source: RFC 6455 sections 4 and 5.

Comes in: an upgrade request, then bytes of the client. Goes out: the handshake's answer, then echoed frames. Refuses to
know sockets.
"""

import base64
import hashlib
import struct

from fairlead.cluster.standins.answers import refusal
from fairlead.cluster.standins.http1 import Request

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE, _PING, _PONG = 8, 9, 10
_LONGEST = 16 * 1024 * 1024


def wants_websocket(request: Request) -> bool:
    """Whether the client asks to go on in WebSocket frames."""
    return request.lower.get("upgrade", "").lower() == "websocket"


def accept(request: Request) -> bytes:
    """The answer to an upgrade request: 101, or 400 where the handshake is incomplete.

    Of the subprotocols a client offers it gets the first, as browsers give up without one.
    """
    key = request.lower.get("sec-websocket-key", "")
    if request.method != "GET" or not key or "upgrade" not in request.lower.get("connection", "").lower():
        return refusal(400, "the WebSocket handshake is incomplete")
    answer = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()
    protocols = request.lower.get("sec-websocket-protocol", "").split(",")
    chosen = f"Sec-WebSocket-Protocol: {protocols[0].strip()}\r\n" if protocols[0] else ""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {answer}\r\n{chosen}\r\n"
    ).encode("latin-1")


def _frame(first: int, payload: bytes) -> bytes:
    """A frame as servers send it, unmasked; `first` is the byte of FIN bit and opcode."""
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 1 << 16:
        return struct.pack("!BBH", first, 126, length) + payload
    return struct.pack("!BBQ", first, 127, length) + payload


GOING_AWAY = _frame(0x80 | _CLOSE, struct.pack("!H", 1001))


class Echo:
    """Answers frames: data and fragments come back as they are, a ping as a pong, a close as a close."""

    def __init__(self) -> None:
        self._held = b""
        self.closed = False

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the client and return those of the answer; nothing more after a close."""
        self._held += data
        answers: list[bytes] = []
        while not self.closed and (frame := self._next()) is not None:
            first, payload = frame
            opcode = first & 0x0F
            if opcode == _CLOSE:
                self.closed = True
                answers.append(_frame(0x80 | _CLOSE, payload[:125]))
            elif opcode == _PING:
                answers.append(_frame(0x80 | _PONG, payload))
            elif opcode != _PONG:
                answers.append(_frame(first, payload))
        return b"".join(answers)

    def _next(self) -> tuple[int, bytes] | None:
        held = self._held
        if len(held) < 2:
            return None
        length, at = held[1] & 0x7F, 2
        if length >= 126:
            size = 2 if length == 126 else 8
            if len(held) < at + size:
                return None
            length, at = int.from_bytes(held[at : at + size], "big"), at + size
        if length > _LONGEST or not held[1] & 0x80:
            return 0x80 | _CLOSE, struct.pack("!H", 1009 if length > _LONGEST else 1002)
        if len(held) < at + 4 + length:
            return None
        mask, body = held[at : at + 4], held[at + 4 : at + 4 + length]
        self._held = held[at + 4 + length :]
        key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
        return held[0], (int.from_bytes(body, "big") ^ key).to_bytes(length, "big")
