"""Exec and attach sessions over a WebSocket: a byte in front of every message says which channel it belongs to.

Comes in: a request for a WebSocket with the subprotocols it offers. Goes out: a Carrier. Source:
apimachinery/pkg/util/remotecommand/constants.go, k8s.io/streaming/pkg/httpstream/wsstream/conn.go.
"""

import base64
import binascii

import msgspec
from aiohttp import WSMsgType, web

from fairlead.cluster.apiserver.streaming.channels import Channel, Received
from fairlead.kube.documents import Document, text_at

_CLOSE = 255
_KNOWN = frozenset(map(int, Channel))
_LONGEST_MESSAGE = 1024 * 1024
_NATIVE = ("v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
PROTOCOLS = (*_NATIVE, "v4.base64.channel.k8s.io", "base64.channel.k8s.io")
"""The subprotocols served. In the base64 ones a digit names the channel, and the rest of the text is base64."""


class WebSocketCarrier:
    """A session over one WebSocket."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._protocol = socket.ws_protocol or ""
        self._text = "base64" in self._protocol

    async def receive(self) -> tuple[Channel, bytes | None]:
        """As Carrier."""
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.BINARY and not self._text:
                data: bytes = message.data
            elif message.type is WSMsgType.TEXT and self._text:
                data = _from_text(message.data)
            elif message.type in (WSMsgType.BINARY, WSMsgType.TEXT):
                continue
            else:
                raise Received
            if data[:1] == bytes((_CLOSE,)) and len(data) == 2 and data[1] in _KNOWN:
                return Channel(data[1]), None
            if data and data[0] in _KNOWN:
                return Channel(data[0]), data[1:]

    async def send(self, channel: Channel, data: bytes) -> None:
        """As Carrier."""
        if self._socket.closed:
            raise ConnectionResetError
        if self._text:
            await self._socket.send_str(str(int(channel)) + base64.b64encode(data).decode())
        else:
            await self._socket.send_bytes(bytes((channel,)) + data)

    async def finish(self, status: Document) -> None:
        """As Carrier. Before version 4 only a failure is told, as text."""
        if self._protocol.startswith(("v4", "v5")):
            await self.send(Channel.ERROR, msgspec.json.encode(status))
        elif text_at(status, "status") != "Success":
            await self.send(Channel.ERROR, text_at(status, "message").encode())
        await self._socket.close()


async def open_websocket(request: web.Request, protocols: tuple[str, ...]) -> web.WebSocketResponse:
    """Answer the handshake with the first protocol of ours that the client offers."""
    socket = web.WebSocketResponse(
        protocols=protocols, compress=False, max_msg_size=_LONGEST_MESSAGE, autoclose=True, timeout=2.0
    )
    await socket.prepare(request)
    return socket


def _from_text(text: str) -> bytes:
    if not text[:1].isdigit():
        return b""
    try:
        return bytes((int(text[0]),)) + base64.b64decode(text[1:])
    except binascii.Error:
        return b""
