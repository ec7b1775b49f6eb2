"""Do kubelet and stand-ins agree, also when one of them goes away? The real process loop, over its real socket."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from fairlead.cluster.standins.answers import Identity
from fairlead.cluster.standins.client import PROCESS_GONE, StandinsClient
from fairlead.cluster.standins.messages import Ended, PortSpec, Start, Started
from fairlead.cluster.standins.process import App, StandinsConfig, main

pytestmark = pytest.mark.kernel

IDENTITY = Identity(pod="dns-1", namespace="kube-system", node="node-1", pod_ips=("127.0.0.1",), container="dns")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


def order(name: str, log: Path, *ports: PortSpec, app: str = "") -> Start:
    return Start(id=name, identity=IDENTITY, ports=ports, log=str(log), app=app)


@pytest.fixture
def netns() -> int:
    return os.open("/proc/self/ns/net", os.O_RDONLY)


@pytest.fixture
async def ended() -> "asyncio.Queue[Ended]":
    return asyncio.Queue()


@pytest.fixture
async def client(tmp_path: Path, ended: "asyncio.Queue[Ended]") -> AsyncIterator[StandinsClient]:
    connection = StandinsClient(tmp_path / "s.sock", ended.put_nowait)
    task = asyncio.create_task(connection.run())
    yield connection
    task.cancel()


def serve(tmp_path: Path, **apps: App) -> "asyncio.Task[None]":
    return asyncio.create_task(main(StandinsConfig(socket_path=tmp_path / "s.sock", apps=apps)))


async def test_a_hundred_containers_start_and_stop_over_one_connection(
    tmp_path: Path, client: StandinsClient, ended: "asyncio.Queue[Ended]", netns: int
) -> None:
    process = serve(tmp_path)
    names = [f"c{number}" for number in range(100)]
    async with asyncio.timeout(10):
        started = await asyncio.gather(*(client.start(order(name, tmp_path / name), netns) for name in names))
        assert started == [Started(name) for name in names]
        for name in names:
            client.stop(name, 5)
        assert {(await ended.get()).id for _ in names} == set(names)
    process.cancel()


async def test_a_process_that_ends_takes_its_containers_and_the_next_one_serves_again(
    tmp_path: Path, client: StandinsClient, ended: "asyncio.Queue[Ended]", netns: int
) -> None:
    process = serve(tmp_path)
    async with asyncio.timeout(10):
        assert await client.start(order("c1", tmp_path / "log"), netns) == Started("c1")
        process.cancel()
        await asyncio.gather(process, return_exceptions=True)
        assert await ended.get() == Ended("c1", 137, PROCESS_GONE)
        process = serve(tmp_path)
        assert await client.start(order("c1", tmp_path / "log"), netns) == Started("c1")
    process.cancel()


async def test_a_taken_port_is_the_answer_to_the_start(
    tmp_path: Path, client: StandinsClient, ended: "asyncio.Queue[Ended]", netns: int
) -> None:
    process = serve(tmp_path)
    port = PortSpec(free_port())
    async with asyncio.timeout(10):
        assert await client.start(order("c1", tmp_path / "log", port), netns) == Started("c1")
        refused = await client.start(order("c2", tmp_path / "log", port), netns)
    assert refused == Ended("c2", 128, "listen: Address already in use")
    assert ended.empty()
    process.cancel()


async def test_a_built_in_program_gets_its_sockets_and_ends_when_stopped(
    tmp_path: Path, client: StandinsClient, ended: "asyncio.Queue[Ended]", netns: int
) -> None:
    port = free_port()

    async def shout(_: Start, opened: Sequence[tuple[PortSpec, socket.socket]], log: Callable[[str], None]) -> None:
        log("ready")
        loop = asyncio.get_running_loop()
        while True:
            data, peer = await loop.sock_recvfrom(opened[0][1], 100)
            await loop.sock_sendto(opened[0][1], data.upper(), peer)

    process = serve(tmp_path, shout=shout)
    async with asyncio.timeout(10):
        assert await client.start(order("c1", tmp_path / "log", PortSpec(port, "UDP"), app="shout"), netns) == Started(
            "c1"
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, ("127.0.0.1", port))
            await loop.sock_sendall(sock, b"quiet")
            assert await loop.sock_recv(sock, 100) == b"QUIET"
        client.stop("c1", 5)
        assert await ended.get() == Ended("c1", 0)
        await client.start(order("c2", tmp_path / "log", app="nobody"), netns)
        assert await ended.get() == Ended("c2", 127, "there is no built-in program nobody")
    process.cancel()
