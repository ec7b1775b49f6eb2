"""Are connections handed on whole, with the header their pods want, and to a node that takes them?"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from fairlead.agents.loadbalancer.relaying import Relayed, Relays
from fairlead.model import AddressRange, Backend, Frontend, FrontendKey, Masquerade, Origin, Refusal
from fairlead.net import Port, Protocol, parse_address
from fairlead.render.proxy_protocol import render_header

HERE = parse_address("127.0.0.1")
CLIENT, SERVER = (parse_address("198.51.100.2"), Port(40000)), (parse_address("203.0.113.1"), Port(80))


def test_version_one_is_a_line() -> None:
    assert render_header(1, CLIENT, SERVER) == b"PROXY TCP4 198.51.100.2 203.0.113.1 40000 80\r\n"
    six = (parse_address("2001:db8::2"), Port(1)), (parse_address("2001:db8::1"), Port(2))
    assert render_header(1, *six) == b"PROXY TCP6 2001:db8::2 2001:db8::1 1 2\r\n"


def test_version_two_is_packed() -> None:
    head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c"
    assert render_header(2, CLIENT, SERVER) == head + b"\xc6\x33\x64\x02\xcb\x00\x71\x01\x9c\x40\x00\x50"
    six = (parse_address("2001:db8::2"), Port(1)), (parse_address("2001:db8::1"), Port(2))
    assert len(render_header(2, *six)) == 16 + 36


class Pod:
    """A server that keeps what it is sent, and answers with it at the end."""

    def __init__(self) -> None:
        self.port = 0
        self.received: list[bytes] = []

    async def open(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        self.received.append(data)
        writer.write(b"got " + data)
        writer.close()


@pytest.fixture
async def pod() -> AsyncIterator[Pod]:
    pod = Pod()
    server = await pod.open()
    yield pod
    server.close()


def free_port() -> int:
    import socket

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def frontend(port: int, *backends: int, sources: tuple[AddressRange, ...] | None = None) -> Frontend:
    return Frontend(
        key=FrontendKey(HERE, Protocol.TCP, Port(port)),
        backends=tuple(Backend(HERE, Port(each)) for each in backends),
        when_empty=Refusal.REJECT,
        masquerade=Masquerade.NEVER,
        sources=sources,
        origin=Origin("Service", "default", "web"),
    )


@asynccontextmanager
async def relaying(each: Frontend, version: int = 1) -> AsyncGenerator[Relays]:
    relays = Relays()
    running = asyncio.create_task(relays.run())
    relays.want({each.key: Relayed(each, version)})
    try:
        yield relays
    finally:
        relays.close()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def exchange(port: int, data: bytes) -> tuple[bytes, int]:
    """What comes back for some bytes, and the port they were sent from."""
    async with asyncio.timeout(5):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
        writer.write(data)
        writer.write_eof()
        found = await reader.read()
        own = writer.get_extra_info("sockname")[1]
        writer.close()
    return found, own


async def test_bytes_pass_both_ways_behind_the_header(pod: Pod) -> None:
    port = free_port()
    async with relaying(frontend(port, pod.port)):
        found, own = await exchange(port, b"x" * 200_000)
    header = f"PROXY TCP4 127.0.0.1 127.0.0.1 {own} {port}\r\n".encode()
    assert pod.received == [header + b"x" * 200_000]
    assert found == b"got " + pod.received[0]


async def test_a_node_that_takes_no_connection_is_passed_over(pod: Pod) -> None:
    port = free_port()
    async with relaying(frontend(port, free_port(), pod.port, free_port())):
        for _ in range(5):
            assert (await exchange(port, b"hello"))[0].endswith(b"hello")


async def test_without_a_node_the_connection_is_reset() -> None:
    port = free_port()
    async with relaying(frontend(port)):
        with pytest.raises(ConnectionResetError):
            await exchange(port, b"hello")


async def test_clients_outside_the_source_ranges_are_reset(pod: Pod) -> None:
    port = free_port()
    only = AddressRange(parse_address("192.0.2.0"), parse_address("192.0.2.255"))
    async with relaying(frontend(port, pod.port, sources=(only,))):
        with pytest.raises(ConnectionResetError):
            await exchange(port, b"hello")
    assert pod.received == []


async def test_what_is_not_wanted_any_more_is_not_accepted(pod: Pod) -> None:
    port = free_port()
    async with relaying(frontend(port, pod.port)) as relays:
        await exchange(port, b"hello")
        relays.want({})
        async with asyncio.timeout(5):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionRefusedError:
                    return
                except ConnectionResetError:
                    continue  # it lay in the queue of the socket that was just closed
                writer.close()
                await asyncio.sleep(0.01)
