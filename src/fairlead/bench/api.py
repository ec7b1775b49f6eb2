"""The API server alone: the writes of a thousand pods, and one change told to many watchers.

The engine runs in this process with its real log on disk, without sockets. The baseline of the writes is what cannot
be avoided: each of the same bodies decoded, encoded, and put into SQLite in a transaction of its own.
"""

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

import msgspec

from fairlead.bench.measurement import Measurement, at_most
from fairlead.cluster.apiserver.bootstrap import create_first_objects
from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.cluster.apiserver.log import SqliteLog
from fairlead.cluster.apiserver.users import ADMIN
from fairlead.cluster.apiserver.watch import WatchStream
from fairlead.drivers.kubeapi.transport import ApiRequest, ApiResponse
from fairlead.kube.documents import Document
from fairlead.net import parse_prefix

_PODS = "/api/v1/namespaces/default/pods"
_STEPS = ("Pending", "Running", "Running")
_WATCHERS = 100
_CHANGES = 200
_CPU_TARGET = 5.0


def api(pods: int = 1000) -> list[Measurement]:
    """CPU seconds of all writes of the pods' lives, with eight watchers, and milliseconds from a write to 100."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measured(Path(folder), pods))


async def _measured(folder: Path, pods: int) -> list[Measurement]:
    server = ApiServer(SqliteLog(folder / "data.sqlite"), KINDS, service_ranges=(parse_prefix("10.96.0.0/16"),))
    await create_first_objects(server, service_address="10.96.0.1", api_address="172.18.0.1", api_port=6443)
    selections = ["", "", "", "", "", *(f"spec.nodeName=node-{index}" for index in range(3))]
    watches = [await _watch(server, selection) for selection in selections]
    readers = [asyncio.create_task(_drain(watch)) for watch in watches]
    begun = time.process_time()
    await asyncio.gather(*(_life(server, index) for index in range(pods)))
    cpu = time.process_time() - begun
    for watch in watches:
        watch.close()
    await asyncio.gather(*readers)
    baseline = _bare(folder / "bare.sqlite", pods * (2 + len(_STEPS)))
    latencies = await _fan_out(server)
    server.close()
    told = f"api: write to {_WATCHERS} watchers"
    return [
        at_most(f"api: {pods} pods, 5 writes each, 8 watchers, CPU", cpu, "s", _CPU_TARGET, baseline),
        Measurement(f"{told}, p50", latencies[len(latencies) // 2] * 1000, "ms"),
        Measurement(f"{told}, p99", latencies[len(latencies) * 99 // 100] * 1000, "ms"),
    ]


def _pod(name: str) -> Document:
    container: Document = {"name": "web", "image": "nginx", "ports": [{"containerPort": 80}]}
    return {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {"containers": [container]}}


def _status(phase: str, step: int) -> Document:
    ready: Document = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    return {"status": {"phase": phase, "podIP": "10.244.1.2", "message": f"step {step}", "conditions": [ready]}}


async def _send(server: ApiServer, method: str, path: str, document: Document, kind: str = "application/json") -> None:
    request = ApiRequest(method=method, path=path, headers={"Content-Type": kind}, body=msgspec.json.encode(document))
    answer = await server.handle(request, ADMIN)
    assert isinstance(answer, ApiResponse)
    assert answer.status < 300, answer.body


async def _life(server: ApiServer, index: int) -> None:
    path = f"{_PODS}/web-{index}"
    await _send(server, "POST", _PODS, _pod(f"web-{index}"))
    await _send(server, "POST", f"{path}/binding", {"target": {"kind": "Node", "name": f"node-{index % 3}"}})
    for step, phase in enumerate(_STEPS):
        await _send(server, "PATCH", f"{path}/status", _status(phase, step), "application/merge-patch+json")


async def _watch(server: ApiServer, fields: str) -> WatchStream:
    query = (("watch", "true"), ("fieldSelector", fields), ("resourceVersion", str(server.store.committed)))
    answer = await server.handle(ApiRequest(method="GET", path="/api/v1/pods", query=query), ADMIN)
    assert isinstance(answer, WatchStream)
    return answer


async def _drain(watch: WatchStream) -> None:
    while await watch.next() is not None:
        pass


async def _fan_out(server: ApiServer) -> list[float]:
    """Return, sorted, the seconds from the call of a write until the last of the watchers has its line."""
    watches = [await _watch(server, "") for _ in range(_WATCHERS)]
    path = f"{_PODS}/told"
    await _send(server, "POST", _PODS, _pod("told"))
    await asyncio.gather(*(watch.next() for watch in watches))
    latencies: list[float] = []
    for step in range(_CHANGES):
        waiting: list[Awaitable[bytes | None]] = [asyncio.ensure_future(watch.next()) for watch in watches]
        begun = time.perf_counter()
        change = _status("Running", step)
        await _send(server, "PATCH", f"{path}/status", change, "application/merge-patch+json")
        await asyncio.gather(*waiting)
        latencies.append(time.perf_counter() - begun)
    for watch in watches:
        watch.close()
    return sorted(latencies)


def _bare(path: Path, writes: int) -> float:
    """Return the CPU seconds of decoding, encoding and storing as many bodies, each in its own transaction."""
    body = msgspec.json.encode({**_pod("web"), **_status("Running", 0)})
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE objects (name TEXT PRIMARY KEY, value BLOB)")
    begun = time.process_time()
    for index in range(writes):
        value = msgspec.json.encode(msgspec.json.decode(body))
        connection.execute("INSERT OR REPLACE INTO objects VALUES (?, ?)", (f"web-{index // 5}", value))
    spent = time.process_time() - begun
    connection.close()
    return spent
