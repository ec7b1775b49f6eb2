"""Serves cluster DNS on the sockets of a pod, over UDP and TCP.

Comes in: queries, and the records. Goes out: replies. Names of other domains are passed to the upstream resolvers,
where there are any, and are refused otherwise. Source: RFC 1035 4.2, RFC 7766 for TCP.
"""

import asyncio
import os
import random
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

from fairlead.cluster.dns.answers import Code, Question, Zone, answer
from fairlead.cluster.dns.messages import (
    REFUSED,
    SERVER_FAILURE,
    Query,
    ask,
    parse_query,
    render_reply,
    with_further,
)
from fairlead.cluster.dns.records import Records
from fairlead.drivers.netns import entered, namespace_of, open_socket
from fairlead.net import Address, Family

PORT = 53
_IDLE_SECONDS = 10.0
_UPSTREAM_SECONDS = 2.0


async def serve_dns(
    opened: Sequence[socket.socket], records: Records, zone: Zone, upstreams: Sequence[Address] = ()
) -> None:
    """Answer on `opened`, bound UDP and listening TCP sockets of one namespace, until cancelled; then close them.

    Call it when the records are filled: from then on, a name that is not known does not exist. Upstream resolvers are
    asked from the sockets' namespace.
    """
    loop = asyncio.get_running_loop()
    netns = namespace_of(opened[0])
    server = DnsServer(netns, records, zone, upstreams)
    async with AsyncExitStack() as stack:
        stack.callback(os.close, netns)
        stack.callback(server.stop)
        for each in opened:
            if each.type == socket.SOCK_DGRAM:
                transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(server), sock=each)
                stack.callback(transport.close)
            else:
                await stack.enter_async_context(await asyncio.start_server(server.serve_stream, sock=each))
        await loop.create_future()


class DnsServer:
    """Turns queries into replies; shared by UDP and TCP."""

    def __init__(self, netns: int, records: Records, zone: Zone, upstreams: Sequence[Address]) -> None:
        self._netns = netns
        self._records = records
        self._zone = zone
        self._upstreams = upstreams
        self._turn = 0
        self._asking: set[asyncio.Task[None]] = set()

    def reply_now(self, query: Query, limit: int) -> bytes | None:
        """The reply, or None when upstream has to be asked for it."""
        recursion = bool(self._upstreams)
        if query.code:
            return render_reply(query, None, recursion=recursion)
        self._turn += 1
        reply = answer(query.question, self._records, self._zone, self._turn)
        if recursion and (reply is None or reply.chase):
            return None
        if reply is None:
            reverse = query.question.name.endswith(".arpa")  # an address nobody here has: say so, clients wait for it
            code = Code.NO_SUCH_NAME.value if reverse else REFUSED
            return render_reply(query, None, code, recursion=recursion)
        return render_reply(query, reply, recursion=recursion, limit=limit)

    async def reply_later(self, data: bytes, query: Query, limit: int) -> bytes:
        """The reply with what upstream knows."""
        reply = answer(query.question, self._records, self._zone, self._turn)
        number = random.randrange(1 << 16)
        target = Question(reply.chase, query.question.type) if reply else query.question
        further = await self._ask_upstream(ask(target, number) if reply else data)
        if reply is None:
            return further or render_reply(query, None, SERVER_FAILURE, recursion=True)
        ours = render_reply(query, reply, recursion=True, limit=limit)
        return with_further(ours, further) if further else ours

    def start(self, data: bytes, query: Query, transport: asyncio.DatagramTransport, client: tuple[str, int]) -> None:
        """Ask upstream and answer a datagram when it has."""

        async def finish() -> None:
            transport.sendto(await self.reply_later(data, query, query.datagram), client)

        task = asyncio.create_task(finish())
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    def stop(self) -> None:
        """Give up what is still being asked upstream."""
        for task in self._asking:
            task.cancel()

    async def serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the queries of one TCP connection in order until it has been silent for a while."""
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            while True:
                async with asyncio.timeout(_IDLE_SECONDS):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    data = await reader.readexactly(size)
                query = parse_query(data)
                if query is None:
                    break
                reply = self.reply_now(query, 65535) or await self.reply_later(data, query, 65535)
                writer.write(len(reply).to_bytes(2, "big") + reply)
                await writer.drain()
        writer.close()

    async def _ask_upstream(self, data: bytes) -> bytes | None:
        loop = asyncio.get_running_loop()
        for upstream in self._upstreams:
            family = socket.AF_INET if upstream.family is Family.IPV4 else socket.AF_INET6
            with suppress(OSError, TimeoutError), open_socket(self._netns, family, socket.SOCK_DGRAM) as asking:
                with entered(self._netns):
                    asking.connect((str(upstream), PORT))
                async with asyncio.timeout(_UPSTREAM_SECONDS):
                    await loop.sock_sendall(asking, data)
                    while True:
                        received = await loop.sock_recv(asking, 65535)
                        if received[:2] == data[:2]:
                            return received
        return None


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = parse_query(data)
        if query is None or self._transport is None:
            return
        reply = self._server.reply_now(query, query.datagram)
        if reply is None:
            self._server.start(data, query, self._transport, addr)
        else:
            self._transport.sendto(reply, addr)
