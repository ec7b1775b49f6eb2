"""Do stand-ins behave as annotations ask, from their start and at run time, and count what they serve?"""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fairlead.cluster.standins.answers import Identity
from fairlead.cluster.standins.client import StandinsClient
from fairlead.cluster.standins.controls import PREFIX, UNASKED, Controls, parse_controls
from fairlead.cluster.standins.messages import Ended, PortSpec, Served, Start, Started
from fairlead.cluster.standins.process import StandinsConfig, main

IDENTITY = Identity(pod="web-1", namespace="shop", node="node-1", pod_ips=("127.0.0.1",), container="web")
GET = b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize(
    ("name", "text", "meant"),
    [
        ("ready", "false", Controls(ready=False)),
        ("latency", "150ms", Controls(latency=(0.15, 0.15))),
        ("latency", "20ms-1m30s", Controls(latency=(0.02, 90.0))),
        ("error-rate", "5%", Controls(error_rate=0.05)),
        ("error-rate", "1", Controls(error_rate=1.0)),
        ("error-status", "503", Controls(error_status=503)),
        ("cpu-per-request", "10m", Controls(cpu_per_request=0.01)),
        ("memory", "64Mi", Controls(memory=64 * 2**20)),
        ("slow-start", "2s", Controls(slow_start=2.0)),
        ("shutdown-delay", "0", Controls(shutdown_delay=0.0)),
    ],
)
def test_an_annotation_is_read_as_it_is_meant(name: str, text: str, meant: Controls) -> None:
    assert parse_controls({PREFIX + name: text, "other/ready": "false"}) == (meant, ())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ready", "no"),
        ("latency", "fast"),
        ("latency", "2s-1s"),
        ("latency", "5"),
        ("error-rate", "105%"),
        ("error-rate", "often"),
        ("error-status", "200"),
        ("cpu-per-request", "-1m"),
        ("memory", "much"),
        ("jitter", "1s"),
    ],
)
def test_what_cannot_be_followed_is_complained_of_and_changes_nothing(name: str, text: str) -> None:
    controls, complaints = parse_controls({PREFIX + name: text})
    assert controls == UNASKED
    assert [each.annotation for each in complaints] == [PREFIX + name]


@pytest.fixture
async def ended() -> "asyncio.Queue[Ended]":
    return asyncio.Queue()


@pytest.fixture
async def client(tmp_path: Path, ended: "asyncio.Queue[Ended]") -> AsyncIterator[StandinsClient]:
    connection = StandinsClient(tmp_path / "s.sock", ended.put_nowait)
    tasks = [
        asyncio.create_task(main(StandinsConfig(socket_path=tmp_path / "s.sock"))),
        asyncio.create_task(connection.run()),
    ]
    yield connection
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def start(client: StandinsClient, folder: Path, controls: Controls) -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    netns = os.open("/proc/self/ns/net", os.O_RDONLY)
    order = Start(id="c1", identity=IDENTITY, ports=(PortSpec(port),), log=str(folder / "log"), controls=controls)
    async with asyncio.timeout(5):
        assert await client.start(order, netns) == Started("c1")
    os.close(netns)
    return port


async def ask(port: int, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    writer.write_eof()
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


pytestmark = pytest.mark.kernel


async def test_answers_wait_in_order_and_a_client_that_has_said_all_still_gets_them(
    client: StandinsClient, tmp_path: Path
) -> None:
    port = await start(client, tmp_path, Controls(latency=(0.1, 0.1)))
    before = time.monotonic()
    answer = await ask(port, GET % 1 + GET % 2)
    assert time.monotonic() - before >= 0.2
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.index(b'"path":"/1"') < answer.index(b'"path":"/2"')


async def test_errors_declared_cpu_and_run_time_changes_show_in_answers_and_counts(
    client: StandinsClient, tmp_path: Path
) -> None:
    port = await start(client, tmp_path, Controls(cpu_per_request=0.25))
    assert b" 200 OK" in await ask(port, GET % 1)
    client.tune("c1", Controls(error_rate=1.0, error_status=503, cpu_per_request=0.5))
    assert await client.count() == (Served("c1", 1, 0, 0.25),)
    assert b"HTTP/1.1 503 Service Unavailable" in await ask(port, GET % 2)
    assert b"HTTP/1.1 503" in await ask(
        port, b"GET /healthz HTTP/1.1\r\nHost: h\r\nUser-Agent: kube-probe/1.36\r\n\r\n"
    )
    assert await client.count() == (Served("c1", 2, 1, 0.75),), "probes are no load"


async def test_a_slow_start_refuses_clients_until_it_is_over(client: StandinsClient, tmp_path: Path) -> None:
    port = await start(client, tmp_path, Controls(slow_start=0.3))
    with pytest.raises(ConnectionRefusedError):
        await ask(port, GET % 1)
    async with asyncio.timeout(5):
        while True:
            try:
                assert b" 200 OK" in await ask(port, GET % 1)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)


async def test_a_stop_in_the_slow_start_ends_it(
    client: StandinsClient, ended: "asyncio.Queue[Ended]", tmp_path: Path
) -> None:
    port = await start(client, tmp_path, Controls(slow_start=60, shutdown_delay=0))
    client.stop("c1", 5)
    async with asyncio.timeout(5):
        assert (await ended.get()).exit_code == 0
    with socket.create_server(("127.0.0.1", port)):
        pass


async def test_the_shutdown_delay_is_how_long_new_clients_are_still_served(
    client: StandinsClient, ended: "asyncio.Queue[Ended]", tmp_path: Path
) -> None:
    port = await start(client, tmp_path, Controls(shutdown_delay=0.4))
    before = time.monotonic()
    client.stop("c1", 5)
    await asyncio.sleep(0)
    assert b" 200 OK" in await ask(port, GET % 1)
    async with asyncio.timeout(5):
        await ended.get()
    assert time.monotonic() - before >= 0.4
    with pytest.raises(ConnectionRefusedError):
        await ask(port, GET % 1)
