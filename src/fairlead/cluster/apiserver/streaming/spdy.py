"""One SPDY/3.1 connection: its streams, as the client opens them, over any pipe for bytes.

Comes in: bytes, and a way to send bytes. Goes out: streams to read from and write to. Refuses to know what carries the
bytes (a connection or a WebSocket) and what the streams are for.
"""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable

from fairlead.cluster.apiserver.streaming.spdy_frames import (
    Data,
    Ended,
    Frame,
    FrameReader,
    FrameWriter,
    GoAway,
    Opened,
    Ping,
    Reset,
    SpdyError,
)

_HELD = 64
"""Pieces a stream may have waiting before the connection is read no further: clients keep no windows."""

_MOST_STREAMS = 1000


class SpdyStream:
    """One stream, opened by the client."""

    def __init__(self, number: int, headers: dict[str, str], connection: "SpdyConnection") -> None:
        self.number = number
        self.headers = headers
        self._connection = connection
        self.waiting: asyncio.Queue[bytes | None] = asyncio.Queue(_HELD)
        self._ended = False

    async def read(self) -> bytes:
        """Return the next piece, b"" at the end."""
        if self._ended:
            return b""
        piece = await self.waiting.get()
        self._ended = piece is None
        return piece or b""

    async def write(self, data: bytes) -> None:
        """Send bytes."""
        await self._connection.send(self._connection.frames.data(self.number, data))

    async def end(self) -> None:
        """Send no more."""
        await self._connection.send(self._connection.frames.data(self.number, b"", end=True))

    async def reset(self) -> None:
        """Let go of the stream, both ways."""
        await self._connection.send(self._connection.frames.reset(self.number))


class SpdyConnection:
    """The streams of one client."""

    def __init__(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        self.send = send
        self.frames = FrameWriter()
        self.opened: asyncio.Queue[SpdyStream] = asyncio.Queue()
        """Streams the client has opened and nobody has taken yet."""
        self.gone = asyncio.Event()
        """Set once the client has gone."""
        self._reader = FrameReader()
        self._streams: dict[int, SpdyStream] = {}

    async def run(self, pieces: AsyncIterable[bytes]) -> None:
        """Serve until the client has gone; every stream ends then. Raises SpdyError for what is no SPDY."""
        try:
            async for piece in pieces:
                for frame in self._reader.feed(piece):
                    await self._take(frame)
        finally:
            self.gone.set()
            for stream in self._streams.values():
                _end(stream)

    def forget(self, *streams: SpdyStream) -> None:
        """The streams are done with: what still comes for them is passed over."""
        for stream in streams:
            self._streams.pop(stream.number, None)

    async def _take(self, frame: Frame) -> None:
        match frame:
            case Opened(number, headers, ended):
                if len(self._streams) >= _MOST_STREAMS:
                    raise SpdyError("too many streams")
                stream = self._streams[number] = SpdyStream(number, headers, self)
                await self.send(self.frames.reply(number))
                if ended:
                    stream.waiting.put_nowait(None)
                self.opened.put_nowait(stream)
            case Data(number, data, ended):
                stream = self._streams.get(number)
                if stream is not None:
                    if data:
                        await stream.waiting.put(data)
                    if ended:
                        await stream.waiting.put(None)
            case Ended(number) | Reset(number):
                stream = self._streams.get(number)
                if stream is not None:
                    await stream.waiting.put(None)
            case Ping(number):
                await self.send(self.frames.ping(number))
            case GoAway():
                pass


def _end(stream: SpdyStream) -> None:
    """End a stream that nobody may be reading from any more."""
    if stream.waiting.full():
        stream.waiting.get_nowait()
    stream.waiting.put_nowait(None)
