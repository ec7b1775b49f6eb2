"""Does the agent's end, start and upgrade go unnoticed by traffic?

One connection is held and new ones are made without pause, all through a ClusterIP. A lost packet would be sent again,
and Linux counts that.
"""

import asyncio
import signal
import socket
import struct
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from agent_machine import Machine, a_slice

from fairlead.drivers.netns import entered, open_socket

pytestmark = pytest.mark.kernel
VIP, POD = ("10.96.0.10", 80), ("10.244.1.2", 8080)
_TCP_INFO, _TOTAL_RETRANSMITS = 11, 100  # the offset of tcpi_total_retrans in struct tcp_info

OLDER_LAYOUT = """
flush chain ip fairlead nat-postrouting
flush set ip fairlead hairpin
delete set ip fairlead hairpin
add set ip fairlead hairpin { type ipv4_addr; }
add chain ip fairlead of-an-older-layout
add rule ip fairlead nat-postrouting ip saddr @hairpin goto of-an-older-layout
"""


class Load:
    """A client and a pod on one node: a connection that is held, and new ones one after the other."""

    def __init__(self, namespace: int) -> None:
        self._namespace = namespace
        self._tasks: list[asyncio.Task[None]] = []
        self.made, self.failures, self.sent_again = 0, list[str](), 0
        self.exchanged = 0

    async def start(self) -> None:
        listener = open_socket(self._namespace, socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(POD)
        server = await asyncio.start_server(self._echo, sock=listener)
        self._tasks = [
            asyncio.create_task(server.serve_forever()),
            asyncio.create_task(self._hold()),
            asyncio.create_task(self._dial()),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def go_on(self, more: int) -> None:
        """Wait until so many more connections were made, and the one held was used meanwhile."""
        made, exchanged = self.made + more, self.exchanged + 1
        async with asyncio.timeout(30):
            while True:
                if self.failures or (self.made >= made and self.exchanged >= exchanged):
                    return
                await asyncio.sleep(0.005)

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(100):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _hold(self) -> None:
        loop = asyncio.get_running_loop()
        held = open_socket(self._namespace, socket.AF_INET, socket.SOCK_STREAM)
        try:
            await loop.sock_connect(held, VIP)
            while True:
                await loop.sock_sendall(held, b"x")
                assert await loop.sock_recv(held, 1) == b"x"
                self.exchanged += 1
                await asyncio.sleep(0.01)
        except (OSError, AssertionError) as error:
            self.failures.append(f"the connection that was held: {error!r}")
        finally:
            held.close()

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            dialled = open_socket(self._namespace, socket.AF_INET, socket.SOCK_STREAM)
            try:
                async with asyncio.timeout(10):
                    await loop.sock_connect(dialled, VIP)
                    await loop.sock_sendall(dialled, b"y")
                    if await loop.sock_recv(dialled, 1) != b"y":
                        self.failures.append("another answer")
                info = dialled.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 232)
                self.sent_again += struct.unpack_from("=I", info, _TOTAL_RETRANSMITS)[0]
                self.made += 1
            except (OSError, TimeoutError) as error:
                self.failures.append(repr(error))
            finally:
                dialled.close()
            await asyncio.sleep(0)


@pytest.fixture
async def load(machine: Machine) -> AsyncIterator[Load]:
    for words in (
        "link add pods type veth peer name others",
        "link set others up",
        "link set pods up",
        "address add 10.244.1.1/24 dev pods",
        "address add 10.244.1.2/32 dev lo",
        "route add 10.96.0.0/16 dev pods",
    ):
        machine.run("ip", *words.split())
    await machine.world.put("endpointslices", a_slice("web", "10.244.1.2"))
    load = Load(machine.namespace)
    yield load
    await load.stop()


async def test_restarts_kills_and_an_upgrade_of_the_table_cut_no_connection_and_lose_no_packet(
    machine: Machine, load: Load
) -> None:
    agent = machine.start_agent()
    await machine.wait_for({"10.244.1.2"})
    await load.start()
    await load.go_on(20)
    for start, number in enumerate((signal.SIGTERM, signal.SIGKILL, signal.SIGTERM), 2):
        agent.send_signal(number)
        await asyncio.to_thread(agent.wait, 10)
        await load.go_on(20)
        if start == 4:
            script = OLDER_LAYOUT.encode()
            with entered(machine.namespace):
                subprocess.run(["nft", "-f", "-"], input=script, check=True)  # noqa: ASYNC221
            await load.go_on(20)
        await machine.world.put("endpointslices", a_slice("db", f"10.244.2.{start}"))
        agent = machine.start_agent()
        await machine.wait_for_answer("http://127.0.0.1:10249/healthz", "200")
        await load.go_on(20)
    await machine.wait_for_ruleset("of-an-older-layout", there=False)
    await load.go_on(50)
    assert load.failures == []
    assert load.sent_again == 0
    assert load.made >= 200
