"""Do stand-ins answer strangers as promised? Real sockets, over a control connection, in the current namespace."""

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from fairlead.cluster.standins.answers import Identity
from fairlead.cluster.standins.messages import (
    MOST,
    Ended,
    PortSpec,
    Report,
    Start,
    Started,
    Stop,
    decode_report,
    encode,
)
from fairlead.cluster.standins.process import StandinsConfig, main

pytestmark = pytest.mark.kernel

IDENTITY = Identity(pod="web-1", namespace="shop", node="node-1", pod_ips=("127.0.0.1",), container="web")


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in held]
    for sock in held:
        sock.close()
    return ports


class Kubelet:
    """The other end of the control socket."""

    def __init__(self, control: socket.socket, folder: Path) -> None:
        self.control = control
        self.log = folder / "0.log"

    async def order(self, order: Start | Stop) -> None:
        fds = [os.open("/proc/self/ns/net", os.O_RDONLY)] if isinstance(order, Start) else []
        socket.send_fds(self.control, [encode(order)], fds)
        for fd in fds:
            os.close(fd)

    async def report(self) -> Report:
        async with asyncio.timeout(5):
            return decode_report(await asyncio.get_running_loop().sock_recv(self.control, MOST))

    async def start(self, *ports: PortSpec, name: str = "c1", pod_ips: tuple[str, ...] = ("127.0.0.1",)) -> None:
        identity = replace(IDENTITY, pod_ips=pod_ips)
        await self.order(Start(id=name, identity=identity, ports=ports, log=str(self.log)))
        assert await self.report() == Started(name)


@pytest.fixture
async def kubelet(tmp_path: Path) -> AsyncIterator[Kubelet]:
    path = tmp_path / "standins.sock"
    process = asyncio.create_task(main(StandinsConfig(socket_path=path)))
    while not path.exists():  # noqa: ASYNC110 - a file
        await asyncio.sleep(0)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.setblocking(False)
    await asyncio.get_running_loop().sock_connect(control, str(path))
    yield Kubelet(control, tmp_path)
    control.close()
    process.cancel()


async def talk(port: int, data: bytes, *, end: bool = True) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    if end:
        writer.write_eof()
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


async def ask_datagram(port: int, data: bytes) -> dict[str, object]:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        await loop.sock_sendall(sock, data)
        async with asyncio.timeout(5):
            return json.loads(await loop.sock_recv(sock, 4096))


async def test_http_answers_say_who_and_what(kubelet: Kubelet) -> None:
    (port,) = free_ports(1)
    await kubelet.start(PortSpec(port))
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}/a/b?c=d"
        async with session.put(url, data=b"x" * 200_000, headers={"X-One": "1", "Host": "shop.example"}) as response:
            said = await response.json()
    assert {key: said[key] for key in ("pod", "namespace", "node", "pod_ip", "port", "client_address")} == {
        "pod": "web-1",
        "namespace": "shop",
        "node": "node-1",
        "pod_ip": "127.0.0.1",
        "port": port,
        "client_address": "127.0.0.1",
    }
    assert (said["method"], said["path"], said["host"]) == ("PUT", "/a/b?c=d", "shop.example")
    assert said["headers"]["X-One"] == "1"
    assert isinstance(said["client_port"], int)


async def test_pipelined_requests_are_answered_in_order_and_chunks_are_drained(kubelet: Kubelet) -> None:
    (port,) = free_ports(1)
    await kubelet.start(PortSpec(port))
    sent = (
        b"POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        b"HEAD /2 HTTP/1.1\r\nHost: h\r\n\r\nGET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    )
    answer = await talk(port, sent)
    bodies = [
        json.loads(line)["path"]
        for line in answer.split(b"\r\n")
        if line.startswith(b"{")
        for line in line.splitlines()[:1]
    ]
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert bodies == ["/1", "/3"]


async def test_what_is_not_http_comes_back(kubelet: Kubelet) -> None:
    (port,) = free_ports(1)
    await kubelet.start(PortSpec(port))
    assert await talk(port, b"hello\n") == b"hello\n"
    assert await talk(port, b"GE") == b"GE"


async def test_a_request_with_two_lengths_is_refused(kubelet: Kubelet) -> None:
    (port,) = free_ports(1)
    await kubelet.start(PortSpec(port))
    sent = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert (await talk(port, sent)).startswith(b"HTTP/1.1 400")


async def test_websocket_messages_come_back_over_tls_too(kubelet: Kubelet) -> None:
    plain, secure = free_ports(2)
    await kubelet.start(PortSpec(plain), PortSpec(secure, "TCP", "https"))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with aiohttp.ClientSession() as session:
        for url in (f"ws://127.0.0.1:{plain}/ws", f"wss://127.0.0.1:{secure}/ws"):
            async with session.ws_connect(url, ssl=context) as ws:
                for size in (5, 1000, 100_000):
                    await ws.send_bytes(b"m" * size)
                    assert await ws.receive_bytes(timeout=5) == b"m" * size
                await ws.close()
                assert ws.close_code == 1000


async def test_datagrams_are_answered_with_the_identity(kubelet: Kubelet) -> None:
    (port,) = free_ports(1)
    await kubelet.start(PortSpec(port, "UDP"))
    said = await ask_datagram(port, b"ping")
    assert (said["pod"], said["payload"]) == ("web-1", "ping")


async def test_a_client_of_a_pod_with_both_families_has_the_same_address_by_tcp_and_udp(kubelet: Kubelet) -> None:
    ports = free_ports(2)
    await kubelet.start(PortSpec(ports[0]), PortSpec(ports[1], "UDP"), pod_ips=("127.0.0.1", "::1"))
    answer = await talk(ports[0], b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["client_address"] == "127.0.0.1"
    assert (await ask_datagram(ports[1], b"ping"))["client_address"] == "127.0.0.1"


async def test_a_port_declared_with_several_host_ports_is_served_once(kubelet: Kubelet) -> None:
    ports = free_ports(2)
    await kubelet.start(*[PortSpec(ports[0]), PortSpec(ports[1], "UDP")] * 2)
    assert await talk(ports[0], b"hello\n") == b"hello\n"
    assert (await ask_datagram(ports[1], b"ping"))["payload"] == "ping"


async def test_stopping_finishes_the_open_request_and_accepts_no_other(kubelet: Kubelet) -> None:
    (port,) = free_ports(1)
    await kubelet.start(PortSpec(port))
    idle_reader, idle = await asyncio.open_connection("127.0.0.1", port)
    idle.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await idle_reader.readuntil(b"}\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await kubelet.order(Stop("c1", 10))
    async with asyncio.timeout(5):
        assert await idle_reader.read() == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"body")
    async with asyncio.timeout(5):
        answer = await reader.read()
    assert b"Connection: close" in answer
    assert answer.startswith(b"HTTP/1.1 200")
    assert await kubelet.report() == Ended("c1", 0)


async def test_who_comes_just_after_the_order_to_stop_is_still_served(kubelet: Kubelet) -> None:
    (port,) = free_ports(1)
    await kubelet.start(PortSpec(port))
    await kubelet.order(Stop("c1", 10))
    answers = 0
    with pytest.raises(ConnectionRefusedError):  # noqa: PT012 - as long as it is served
        async with asyncio.timeout(5):
            while True:
                answer = await talk(port, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", end=False)
                assert answer.startswith(b"HTTP/1.1 200")
                answers += 1
    assert answers > 5
    assert await kubelet.report() == Ended("c1", 0)


async def test_a_request_that_outlives_the_grace_is_cut_off(kubelet: Kubelet) -> None:
    (port,) = free_ports(1)
    await kubelet.start(PortSpec(port))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"echo")
    assert await reader.readexactly(4) == b"echo"
    await kubelet.order(Stop("c1", 0))
    assert await kubelet.report() == Ended("c1", 137)


async def test_a_taken_port_ends_the_container_and_requests_reach_its_log(kubelet: Kubelet) -> None:
    (port,) = free_ports(1)
    await kubelet.start(PortSpec(port))
    await kubelet.order(Start(id="c2", identity=IDENTITY, ports=(PortSpec(port),), log=str(kubelet.log)))
    ended = await kubelet.report()
    assert ended == Ended("c2", 128, "listen: Address already in use")
    await talk(port, b"GET /seen HTTP/1.1\r\nHost: h\r\n\r\n")
    async with asyncio.timeout(5):
        while not kubelet.log.exists() or "/seen" not in kubelet.log.read_text():  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.02)
    assert " stdout F 127.0.0.1:" in kubelet.log.read_text()


async def test_containers_end_with_the_kubelet(kubelet: Kubelet) -> None:
    (port,) = free_ports(1)
    await kubelet.start(PortSpec(port))
    kubelet.control.close()
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                break
            writer.close()
            await asyncio.sleep(0.01)
