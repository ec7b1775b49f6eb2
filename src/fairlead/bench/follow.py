"""How soon the kernel follows a pod: from its Ready condition in the API to the first connection through its ClusterIP.

A Deployment is scaled to 0 and back to 1. A prober in a node's namespace connects all the time and says when it was
first answered; a watch says when the pod was reported Ready. Both read the same clock.
"""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from fairlead.bench.embedded import cluster
from fairlead.bench.measurement import Measurement
from fairlead.drivers.kubeapi import Applied, HttpTransport, KubeClient, Replaced
from fairlead.kube.apps import Deployment
from fairlead.kube.core import Pod, Service

_ROUNDS = 15
_TARGET_MS = 100.0
_MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: one}
spec:
  replicas: 1
  selector: {matchLabels: {app: one}}
  template:
    metadata: {labels: {app: one}}
    spec: {containers: [{name: app, image: example/app, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: one}
spec: {selector: {app: one}, ports: [{port: 80, targetPort: 8080}]}
"""
_PROBER = """
import socket, sys, time
address, last = sys.argv[1], None
end = time.monotonic() + 120
while time.monotonic() < end:
    with socket.socket() as s:
        s.settimeout(0.01)
        try:
            s.connect((address, 80))
            now = "answered"
        except OSError:
            now = "refused"
    if now != last:
        print(now, time.time(), flush=True)
        last = now
    time.sleep(0.0005)
"""


def follow() -> list[Measurement]:
    """Milliseconds from Ready to connected, median and worst; baseline: the median time of one request to the API."""
    with cluster("--nodes", "2", "-", stdin=_MANIFEST) as home:
        latencies, baseline = asyncio.run(_measure(home))
    latencies.sort()
    return [
        Measurement(
            name=f"follow: pod Ready to connected, {what}",
            value=value,
            unit="ms",
            baseline=baseline,
            ratio=value / baseline,
            target=_TARGET_MS,
            met=value <= _TARGET_MS,
        )
        for what, value in (("median", latencies[len(latencies) // 2]), ("worst", latencies[-1]))
    ]


async def _measure(home: str) -> tuple[list[float], float]:
    client = KubeClient(HttpTransport.from_kubeconfig(Path(home) / "fairlead" / "kubeconfig"))
    service = await client.get(Service, "one", "default")
    requests: list[float] = []
    for _ in range(50):
        started = time.perf_counter()
        await client.get(Service, "one", "default")
        requests.append((time.perf_counter() - started) * 1000)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fairlead", "exec", "--from", "node/node-1", "--"),
        *(sys.executable, "-c", _PROBER, service.spec.cluster_ip),
        env={**os.environ, "FAIRLEAD_HOME": home},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    prober = _Prober()
    ready: asyncio.Queue[float] = asyncio.Queue()
    tasks = [asyncio.create_task(_watch(client, ready)), asyncio.create_task(prober.read(process.stdout))]
    latencies: list[float] = []
    try:
        async with asyncio.timeout(100):
            await prober.until("answered")
            for _ in range(_ROUNDS):
                await client.patch(Deployment, "one", "default", {"spec": {"replicas": 0}})
                while (await client.list(Pod, "default")).items:  # noqa: ASYNC110 - only the API server can tell
                    await asyncio.sleep(0.02)
                await prober.until("refused")
                await client.patch(Deployment, "one", "default", {"spec": {"replicas": 1}})
                reported = await ready.get()
                latencies.append(max((await prober.until("answered") - reported) * 1000, 0.0))
    finally:
        for task in tasks:
            task.cancel()
        process.terminate()
        await process.wait()
        await client.close()
    return latencies, sorted(requests)[len(requests) // 2]


class _Prober:
    """What the prober said last, and when."""

    def __init__(self) -> None:
        self._said, self._at = "", 0.0
        self._news = asyncio.Event()

    async def read(self, lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            self._said, at = line.decode().split()
            self._at = float(at)
            self._news.set()

    async def until(self, word: str) -> float:
        """The time at which it came to say `word`."""
        while self._said != word:
            self._news.clear()
            await self._news.wait()
        return self._at


async def _watch(client: KubeClient, ready: "asyncio.Queue[float]") -> None:
    seen: set[str] = set()
    async for change in client.reflect(Pod, "default"):
        if isinstance(change, Replaced):
            seen |= {pod.metadata.uid for pod in change.items}
        elif isinstance(change, Applied) and change.object.metadata.uid not in seen:
            pod = change.object
            if any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions):
                seen.add(pod.metadata.uid)
                ready.put_nowait(time.time())
