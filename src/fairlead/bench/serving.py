"""The API server on its sockets: requests per second, the telling of a change to 100 watchers, memory, kubectl.

A child process serves the real engine with its log on disk, over TLS, and beside it the baseline: a bare aiohttp
handler that answers bytes of the same size and knows nothing. Both are asked by the same clients, one after the other.
"""

import asyncio
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import msgspec
from aiohttp import web
from msgspec import Struct

from fairlead.bench.embedded import proportional_memory
from fairlead.bench.measurement import Measurement
from fairlead.cluster.apiserver.bootstrap import create_first_objects
from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.http import start
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.cluster.apiserver.log import SqliteLog
from fairlead.cluster.apiserver.pki import Pki
from fairlead.cluster.apiserver.users import ADMIN
from fairlead.drivers.kubeapi.transport import ApiRequest, ApiResponse
from fairlead.kube.documents import Document
from fairlead.net import parse_prefix

_PODS = "/api/v1/namespaces/default/pods"
_LISTED = 5000
_OBJECTS = 10_000
_WATCHERS, _CHANGES = 100, 100
_SECONDS = 4
_CONNECTIONS = 16
_APPLIED = 100


class _Served(Struct, frozen=True):
    """Where the child serves what."""

    pid: int
    engine: int
    bare: int
    token: str
    folder: Path


def serving() -> list[Measurement]:
    """Requests per second for get, list and create, milliseconds of the fan-out, memory, seconds of kubectl apply."""
    if shutil.which("wrk") is None:
        raise SystemExit("this benchmark needs wrk")
    with tempfile.TemporaryDirectory() as name, _server(Path(name)) as served:
        before = proportional_memory(served.pid) / 1e6
        _send(served, "POST", f"/fill/{_LISTED}")
        figures = [
            _rate(served, "get of a pod", f"{_PODS}/web-7"),
            _rate(served, f"list of {_LISTED} pods", _PODS, connections=2),
            _rate(served, "create of a ConfigMap", "/api/v1/namespaces/default/configmaps", create=True),
            *asyncio.run(_fan_out(served)),
        ]
        figures += _kubectl(served)
    with tempfile.TemporaryDirectory() as name, _server(Path(name)) as served:
        size = float(_send(served, "POST", f"/fill/{_OBJECTS}")) / 1e6
        grown = proportional_memory(served.pid) / 1e6 - before
    told = f"serving: memory for {_OBJECTS} pods (PSS; baseline: their JSON)"
    return [*figures, Measurement(told, grown, "MB", size, grown / size)]


@contextmanager
def _server(folder: Path) -> Generator[_Served]:
    """Both servers in a child, for the body."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            asyncio.run(_serve(folder, writer))
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    os.close(writer)
    try:
        with os.fdopen(reader) as told:
            engine, bare, token = told.readline().split()
        yield _Served(pid, int(engine), int(bare), token, folder)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


async def serve_objects(folder: Path, objects: Iterable[tuple[str, Document]], ready: Callable[[], object]) -> None:
    """Serve the objects, by the paths where they are created, with a `kubeconfig` in the folder, for ever.

    `ready` is called when a client may come.
    """
    server = await _engine(folder)
    for path, document in objects:
        await _ask(server, "POST", path, document)
    pki, at = Pki(folder / "pki"), socket.create_server(("127.0.0.1", 0))
    await start(server, [at], pki.server_context(), {})
    url = f"https://127.0.0.1:{at.getsockname()[1]}"
    (folder / "kubeconfig").write_text(pki.kubeconfig(url, "bench", ("system:masters",)))
    ready()
    await asyncio.Event().wait()


async def _engine(folder: Path) -> ApiServer:
    server = ApiServer(SqliteLog(folder / "data.sqlite"), KINDS, service_ranges=(parse_prefix("10.96.0.0/16"),))
    await create_first_objects(server, service_address="10.96.0.1", api_address="172.18.0.1", api_port=6443)
    return server


async def _serve(folder: Path, ready: int) -> None:
    server = await _engine(folder)
    pki = Pki(folder / "pki")
    engine, bare = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    await start(server, [engine], pki.server_context(), {})
    runner = web.AppRunner(_bare_application(server), access_log=None)
    await runner.setup()
    await web.SockSite(runner, bare, ssl_context=pki.server_context()).start()
    ports = engine.getsockname()[1], bare.getsockname()[1]
    config = pki.kubeconfig(f"https://127.0.0.1:{ports[0]}", "bench", ("system:masters",))
    (folder / "kubeconfig").write_text(config)
    os.write(ready, f"{ports[0]} {ports[1]} {await _token(server)}\n".encode())
    await asyncio.Event().wait()


def _bare_application(server: ApiServer) -> web.Application:
    """The handler that knows nothing: the bytes that the engine answered once, again and again; and what the bench
    itself asks of the child.
    """
    answers: dict[str, bytes] = {}
    watchers: list[web.StreamResponse] = []

    async def answer(request: web.Request) -> web.Response:
        sent = await request.read()
        if request.method == "POST":
            return web.Response(status=201, body=sent, content_type="application/json")
        if request.path not in answers:
            answers[request.path] = (await _ask(server, "GET", request.path)).body
        return web.Response(body=answers[request.path], content_type="application/json")

    async def fill(request: web.Request) -> web.Response:
        count = int(request.match_info["count"])
        for index in range(count):
            await _ask(server, "POST", _PODS, _pod(f"web-{index}"))
        return web.Response(text=str(len((await _ask(server, "GET", _PODS)).body)))

    async def watch(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        watchers.append(response)
        await asyncio.Event().wait()
        return response

    async def tell(request: web.Request) -> web.Response:
        line = await request.read()
        for each in watchers:
            await each.write(line + b"\n")
        return web.Response(body=line)

    application = web.Application()
    application.router.add_post("/fill/{count}", fill)
    application.router.add_get("/watch", watch)
    application.router.add_post("/tell", tell)
    application.router.add_route("*", "/{path:.*}", answer)
    return application


async def _ask(server: ApiServer, method: str, path: str, document: Document | None = None) -> ApiResponse:
    body = b"" if document is None else msgspec.json.encode(document)
    answer = await server.handle(ApiRequest(method=method, path=path, body=body), ADMIN)
    assert isinstance(answer, ApiResponse)
    assert answer.status < 300, answer.body
    return answer


async def _token(server: ApiServer) -> str:
    """A token that may do everything."""
    await _ask(server, "POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "bench"}})
    subject: Document = {"kind": "ServiceAccount", "name": "bench", "namespace": "default"}
    role: Document = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    binding: Document = {"metadata": {"name": "bench"}, "roleRef": role, "subjects": [subject]}
    await _ask(server, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    path = "/api/v1/namespaces/default/serviceaccounts/bench/token"
    made = msgspec.json.decode((await _ask(server, "POST", path, {"spec": {}})).body)
    return made["status"]["token"]


def _pod(name: str) -> Document:
    container: Document = {"name": "web", "image": "nginx:1", "ports": [{"containerPort": 80}]}
    return {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {"containers": [container]}}


def _send(served: _Served, method: str, path: str) -> str:
    """Ask the child something for the bench itself."""
    url = f"https://127.0.0.1:{served.bare}{path}"
    command = ["curl", "-sSk", "-X", method, "-d", "", url]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


def _rate(
    served: _Served, what: str, path: str, *, connections: int = _CONNECTIONS, create: bool = False
) -> Measurement:
    """Requests per second of the engine, beside those of the bare handler; above is better."""
    value, baseline = (_wrk(served, port, path, connections, create) for port in (served.engine, served.bare))
    return Measurement(f"serving: {what}", value, "req/s", baseline, value / baseline)


def _wrk(served: _Served, port: int, path: str, connections: int, create: bool) -> float:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{_SECONDS}s", "-H", f"Authorization: Bearer {served.token}"]
    if create:
        script = served.folder / "create.lua"
        script.write_text(_CREATE)
        command += ["-s", str(script)]
    done = subprocess.run(
        [*command, f"https://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True, timeout=60
    )
    if "Non-2xx" in done.stdout:
        raise RuntimeError(done.stdout)
    line = next(line for line in done.stdout.splitlines() if line.startswith("Requests/sec:"))
    return float(line.split()[1])


_CREATE = """
local number = 0
request = function()
  number = number + 1
  local name = string.format("c-%d-%d", os.time(), number)
  local body = string.format('{"metadata":{"name":"%s"},"data":{"a":"%s"}}', name, string.rep("x", 200))
  wrk.headers["Content-Type"] = "application/json"
  return wrk.format("POST", nil, nil, body)
end
"""


async def _fan_out(served: _Served) -> list[Measurement]:
    """Milliseconds from the sending of a change until the last of the watchers has its line, of both servers."""
    change = msgspec.json.encode({"metadata": {"annotations": {"step": "x" * 20}}})
    query = "?watch=true&fieldSelector=metadata.name%3Dweb-7"
    engine = await _latencies(
        served, served.engine, f"{_PODS}{query}", lambda step: ("PATCH", f"{_PODS}/web-7", change.replace(b"xx", step))
    )
    line = await _watched_line(served, f"{_PODS}{query}")
    bare = await _latencies(served, served.bare, "/watch", lambda step: ("POST", "/tell", line))
    return [
        Measurement(
            f"serving: change to {_WATCHERS} watchers, {name}",
            engine[len(engine) * place // 100],
            "ms",
            bare[len(bare) * place // 100],
            engine[len(engine) * place // 100] / bare[len(bare) * place // 100],
        )
        for name, place in (("p50", 50), ("p99", 99))
    ]


async def _latencies(
    served: _Served, port: int, watch: str, change: Callable[[bytes], tuple[str, str, bytes]]
) -> list[float]:
    watches = [await _connect(served, port) for _ in range(_WATCHERS)]
    for reader, writer in watches:
        writer.write(_head(served, "GET", watch, 0))
        await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(0.5)  # what the watches begin with is on its way
    for reader, _ in watches:
        await _read_what_is_there(reader)
    asking = await _connect(served, port)
    found: list[float] = []
    for step in range(_CHANGES):
        method, path, body = change(b"%02d" % (step % 100))
        begun = time.perf_counter()
        asking[1].write(_head(served, method, path, len(body)) + body)
        await asyncio.gather(*(reader.readuntil(b"\n\r\n") for reader, _ in watches))
        found.append((time.perf_counter() - begun) * 1000)
        await _read_what_is_there(asking[0])
    for _, writer in (*watches, asking):
        writer.transport.abort()
    return sorted(found)


async def _watched_line(served: _Served, watch: str) -> bytes:
    """One event as the engine writes it, for the bare handler to write."""
    reader, writer = await _connect(served, served.engine)
    writer.write(_head(served, "GET", watch, 0))
    await reader.readuntil(b"\r\n\r\n")
    await reader.readuntil(b"\r\n")
    line = await reader.readuntil(b"\n")
    writer.transport.abort()
    return line.strip()


async def _read_what_is_there(reader: asyncio.StreamReader) -> None:
    try:
        while True:
            async with asyncio.timeout(0.01):
                await reader.read(65536)
    except TimeoutError:
        pass


async def _connect(served: _Served, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return await asyncio.open_connection("127.0.0.1", port, ssl=context)


def _head(served: _Served, method: str, path: str, length: int) -> bytes:
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    return (
        f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {served.token}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def _kubectl(served: _Served) -> list[Measurement]:
    """Seconds of `kubectl apply` of 100 objects; the baseline is the same kubectl that asks no server for them.

    The second time kubectl spends most of it on reading the schema anew for each object that is there already.
    """
    if shutil.which("kubectl") is None:
        return []
    documents = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"applied-{n}"}, "data": {"a": "b"}}
        for n in range(_APPLIED)
    ]
    manifest = served.folder / "applied.json"
    manifest.write_bytes(msgspec.json.encode({"apiVersion": "v1", "kind": "List", "items": documents}))
    environment = {**os.environ, "KUBECONFIG": str(served.folder / "kubeconfig"), "HOME": str(served.folder)}

    def seconds(*words: str) -> float:
        begun = time.perf_counter()
        subprocess.run(
            ["kubectl", *words, "-f", str(manifest)],
            env=environment,
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=120,
        )
        return time.perf_counter() - begun

    seconds("create", "--dry-run=client", "-o", "name")
    baseline = seconds("create", "--dry-run=client", "-o", "name")
    first, again = seconds("apply"), seconds("apply")
    told = f"serving: kubectl apply of {_APPLIED} objects"
    return [
        Measurement(f"{told}, new", first, "s", baseline, first / baseline),
        Measurement(f"{told}, unchanged", again, "s", baseline, again / baseline),
    ]
