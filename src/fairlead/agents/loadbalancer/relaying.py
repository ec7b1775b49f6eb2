"""Connections of Services that want the PROXY protocol: accepted here, and opened anew to a node with a header before.

Rows cannot add bytes to a connection, so these pass through this program, which costs far more than rows do. Comes in:
which frontends there are. Goes out: listening sockets and relayed bytes. A connection that is relayed goes on when its
frontend changes or goes.
"""

import asyncio
import random
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

from msgspec import Struct

from fairlead.agents.lines import log
from fairlead.model import Backend, Frontend, FrontendKey
from fairlead.net import Address, Family, Port, parse_address
from fairlead.render.proxy_protocol import render_header

_PATIENCE = 3.0  # seconds for a node to take a connection before another is tried
_AGAIN_SECONDS = 1.0
_CHUNK = 1 << 16
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78
_RESET = b"\x01\x00\x00\x00\x00\x00\x00\x00"


class Relayed(Struct, frozen=True):
    """A frontend, and the version of the header its pods want."""

    frontend: Frontend
    version: int


class Relays:
    """The listening sockets there should be, and those there are."""

    def __init__(self) -> None:
        self._dice = random.SystemRandom()
        self._wanted: Mapping[FrontendKey, Relayed] = {}
        self._listening: dict[FrontendKey, asyncio.Server] = {}
        self._news = asyncio.Event()

    def want(self, relayed: Mapping[FrontendKey, Relayed]) -> None:
        """Relay these from now on, and accept nothing for others."""
        self._wanted = relayed
        if relayed.keys() != self._listening.keys():
            self._news.set()

    async def run(self) -> None:
        """Open and close sockets for ever; one that cannot be had is tried again."""
        while True:
            await self._news.wait()
            self._news.clear()
            for key in self._listening.keys() - self._wanted.keys():
                self._listening.pop(key).close()
            for key in self._wanted.keys() - self._listening.keys():
                try:
                    self._listening[key] = await asyncio.start_server(self._accepting(key), sock=_listener(key))
                except OSError as error:
                    log(event="not-listening", what="relay", address=f"{key.address} {key.port}", error=str(error))
                    asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._news.set)

    def close(self) -> None:
        """Accept nothing any more."""
        for server in self._listening.values():
            server.close()
        self._listening.clear()

    def _accepting(
        self, key: FrontendKey
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], "asyncio.Future[None]"]:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> "asyncio.Future[None]":
            return asyncio.ensure_future(self._relay(key, reader, writer))

        return accept

    async def _relay(self, key: FrontendKey, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        client, port = parse_address(peer[0].partition("%")[0]), Port(peer[1])
        relayed = self._wanted.get(key)
        onward = await self._open(relayed.frontend, client) if relayed else None
        if relayed is None or onward is None:
            _reset(writer)
            return
        there, back = onward[1], onward[0]
        there.write(render_header(relayed.version, (client, port), (key.address, key.port)))
        await asyncio.gather(_copy(reader, there), _copy(back, writer))

    async def _open(
        self, frontend: Frontend, client: Address
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to one of the nodes, drawn evenly; where it takes none, to another."""
        if frontend.sources is not None and not any(client in each for each in frontend.sources):
            return None
        left: list[Backend] = list(frontend.backends)
        while left:
            node = left.pop(self._dice.randrange(len(left)))
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    return await asyncio.open_connection(str(node.address), node.port)
        return None


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand bytes on until one side ends, and that it ended."""
    try:
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as one that is refused."""
    sock = writer.get_extra_info("socket")
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.close()


def _listener(key: FrontendKey) -> socket.socket:
    """A socket at an address that no interface has. Raises OSError."""
    four = key.address.family is Family.IPV4
    listener = socket.socket(socket.AF_INET if four else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if four:
            listener.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)
        else:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        listener.bind((str(key.address), key.port))
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
