"""The ingress controller at 1,000 and 5,000 Ingresses: its start, its memory, and how soon a change is served.

A child process has a network namespace of its own, with the real API server, `fairlead agent ingress` with its NGINX,
and two endpoints. The controller writes no status here: it would write thousands at once, as none in service has to.
Times are from the sending of a change to the API server until a request over a kept connection is answered by it.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
from msgspec import Struct

from fairlead.bench.embedded import proportional_memory_of
from fairlead.bench.measurement import Measurement, at_most
from fairlead.bench.serving import serve_objects
from fairlead.drivers.kubeapi import HttpTransport, KubeClient
from fairlead.drivers.processes import Namespaces, map_own_ids, unshare
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.documents import Document
from fairlead.kube.networking import Ingress
from fairlead.kube.resources import resource_of

_SIZES = (1_000, 5_000)
_CHANGES, _NEW = 50, 3
_ENDPOINTS = ("10.244.0.1", "10.244.0.2")
_PORT = 8080
_TARGET = 50.0
_PAUSE = 0.002
"""Seconds between two requests: a client that never waits has the processor that the controller needs."""


class Figures(Struct, frozen=True):
    """Of one size: seconds until all was served, bytes, and milliseconds of each change."""

    started: float
    controller: int
    nginx: int
    endpoint: list[float]
    ingress: list[float]
    failed: int


def controller() -> list[Measurement]:
    """Measure each size in a child. Raises RuntimeError when it could not."""
    found: list[Measurement] = []
    for size in _SIZES:
        context = get_context("fork")
        here, there = context.Pipe()
        child = context.Process(target=_measure, args=(there, size, os.geteuid(), os.getegid()))
        child.start()
        there.close()
        try:
            found += _told(size, here.recv())
        except EOFError:
            raise RuntimeError("the benchmark's child ended early; its trace is above") from None
        finally:
            child.join()
    return found


def _told(size: int, figures: Figures) -> list[Measurement]:
    title = f"controller, {size} Ingresses"
    endpoint = sorted(figures.endpoint)
    return [
        Measurement(f"{title}: from start to all served", figures.started, "s"),
        Measurement(f"{title}: memory (PSS)", figures.controller / 1e6, "MB"),
        Measurement(f"{title}: memory of its NGINX (PSS)", figures.nginx / 1e6, "MB"),
        Measurement(f"{title}: endpoint changed, p50", endpoint[len(endpoint) // 2], "ms"),
        at_most(f"{title}: endpoint changed, p99", endpoint[len(endpoint) * 99 // 100], "ms", _TARGET),
        at_most(f"{title}: requests failed meanwhile", figures.failed, "requests", 0),
        Measurement(f"{title}: a new Ingress, median", sorted(figures.ingress)[_NEW // 2], "ms"),
    ]


def _measure(answer: Connection, size: int, uid: int, gid: int) -> None:
    if uid == 0:
        unshare(Namespaces.NET)
    else:
        unshare(Namespaces.NET | Namespaces.USER)
        map_own_ids(uid, gid)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in _ENDPOINTS:
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _api_server(folder, size), _endpoints(folder):
            answer.send(asyncio.run(_asked(folder, size)))


@contextmanager
def _api_server(folder: Path, size: int) -> Generator[None]:
    """The API server with everything in it, in a process of its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            asyncio.run(serve_objects(folder, _objects(size), lambda: os.write(writer, b"ready")))
        finally:
            os._exit(1)
    os.close(writer)
    try:
        with os.fdopen(reader) as told:
            if told.read(5) != "ready":
                raise RuntimeError("the API server of the benchmark did not start")
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@contextmanager
def _endpoints(folder: Path) -> Generator[None]:
    """Two pods' worth of servers, which say who they are."""
    servers = "".join(f"server {{ listen {each}:{_PORT}; return 200 '{each}'; }}" for each in _ENDPOINTS)
    user = "user root; " if os.geteuid() == 0 else ""
    path = folder / "endpoints.conf"
    path.write_text(f"{user}pid endpoints.pid; events {{ }} http {{ access_log off; {servers} }}")
    process = subprocess.Popen(["nginx", "-e", "stderr", "-p", str(folder), "-c", str(path), "-g", "daemon off;"])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


async def _asked(folder: Path, size: int) -> Figures:
    transport = HttpTransport.from_kubeconfig(folder / "kubeconfig")
    client, middle = KubeClient(transport), size // 2
    endpoint: list[float] = []
    ingress: list[float] = []
    failed = 0
    try:
        with _agent(folder) as (agent, born):
            for number in (size - 1, 0, middle):
                await _Client(number).until(_ENDPOINTS[0], 180)
            started = time.perf_counter() - born
            asking = _Client(middle)
            for turn in range(_CHANGES):
                wanted = _ENDPOINTS[(turn + 1) % 2]
                change = _json({"endpoints": _ready(wanted)})
                began = time.perf_counter()
                async with asyncio.TaskGroup() as both:
                    both.create_task(
                        client.patch_document(resource_of(EndpointSlice), f"web-{middle}-a", "default", change)
                    )
                    asked = both.create_task(asking.until(wanted, 10))
                failed += asked.result()[0]
                endpoint.append((asked.result()[1] - began) * 1000)
            for turn in range(_NEW):
                document = _ingress(size + turn, service=0)
                began = time.perf_counter()
                async with asyncio.TaskGroup() as both:
                    both.create_task(client.create_document(resource_of(Ingress), document, "default"))
                    asked = both.create_task(_Client(size + turn).until(_ENDPOINTS[0], 60))
                ingress.append((asked.result()[1] - began) * 1000)
            family = proportional_memory_of(agent)
    finally:
        await transport.close()
    nginx = sum(memory for title, memory in family if title.startswith("nginx"))
    return Figures(started, sum(memory for _, memory in family) - nginx, nginx, endpoint, ingress, failed)


@contextmanager
def _agent(folder: Path) -> Generator[tuple[int, float]]:
    """The controller's process, and when it was started."""
    words = ["--kubeconfig", str(folder / "kubeconfig"), "--folder", str(folder / "ingress"), "--user", "root"]
    words += ["--health-bind-address", "", "--no-update-status", "--shutdown-timeout", "1"]
    with (folder / "agent.log").open("w") as log:
        began = time.perf_counter()
        command = [sys.executable, "-m", "fairlead", "agent", "ingress", *words]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield process.pid, began
    finally:
        process.terminate()
        process.wait()


class _Client:
    """Asks for one host over a kept connection."""

    def __init__(self, number: int) -> None:
        self._request = f"GET / HTTP/1.1\r\nHost: web-{number}.example\r\n\r\n".encode()
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def until(self, wanted: str, seconds: float) -> tuple[int, float]:
        """Ask until that endpoint answers; return how many answers were failures, and when. Raises TimeoutError."""
        failed = 0
        async with asyncio.timeout(seconds):
            while True:
                try:
                    status, body = await self._ask()
                except (OSError, EOFError) as error:
                    self._connection, status, body = None, 0, ""
                    # NGINX closes a kept connection after so many requests, or at a reload.
                    failed -= isinstance(error, asyncio.IncompleteReadError) and not error.partial
                if status == 200 and body == wanted:
                    return failed, time.perf_counter()
                failed += status != 200
                await asyncio.sleep(_PAUSE)

    async def _ask(self) -> tuple[int, str]:
        if self._connection is None:
            self._connection = await asyncio.open_connection("127.0.0.1", 80)
        reader, writer = self._connection
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = (line.partition(":") for line in head.lower().splitlines())
        length = next((value for name, _, value in lines if name == "content-length"), "0")
        return int(head.split()[1]), (await reader.readexactly(int(length))).decode()


def _objects(size: int) -> Generator[tuple[str, Document]]:
    """Paths of the API and what is to be created there."""
    yield "/api/v1/namespaces", _json({"metadata": {"name": "nginx-ingress"}})
    cluster = {"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}}
    yield "/apis/networking.k8s.io/v1/ingressclasses", _json(cluster)
    for number in range(size):
        ports = [{"name": "http", "port": 80, "targetPort": _PORT}]
        service = {"metadata": {"name": f"web-{number}"}, "spec": {"ports": ports}}
        yield "/api/v1/namespaces/default/services", _json(service)
        labels = {"kubernetes.io/service-name": f"web-{number}"}
        piece = {
            "metadata": {"name": f"web-{number}-a", "labels": labels},
            "addressType": "IPv4",
            "endpoints": _ready(_ENDPOINTS[0]),
            "ports": [{"name": "http", "port": _PORT, "protocol": "TCP"}],
        }
        yield "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", _json(piece)
        yield "/apis/networking.k8s.io/v1/namespaces/default/ingresses", _ingress(number, service=number)


def _ready(address: str) -> list[object]:
    return [{"addresses": [address], "conditions": {"ready": True}}]


def _ingress(number: int, service: int) -> Document:
    backend = {"service": {"name": f"web-{service}", "port": {"name": "http"}}}
    paths = [{"path": path, "pathType": "Prefix", "backend": backend} for path in ("/", "/api", "/static")]
    rules = [{"host": f"web-{number}.example", "http": {"paths": paths}}]
    annotations = {"nginx.ingress.kubernetes.io/proxy-body-size": "8m"}
    if number % 10 == 0:
        annotations |= {
            "nginx.ingress.kubernetes.io/enable-cors": "true",
            "nginx.ingress.kubernetes.io/limit-rps": "100000",
        }
    metadata = {"name": f"web-{number}", "annotations": annotations}
    return _json({"metadata": metadata, "spec": {"ingressClassName": "nginx", "rules": rules}})


def _json(document: object) -> Document:
    return msgspec.json.decode(msgspec.json.encode(document))
