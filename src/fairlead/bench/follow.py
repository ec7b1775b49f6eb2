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
    prober = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fairlead", "exec", "--from", "node/node-1", "--"),
        *(sys.executable, "-c", _PROBER, service.spec.cluster_ip),
        env={**os.environ, "FAIRLEAD_HOME": home},
        stdout=subprocess.PIPE,
    )
    assert prober.stdout is not None
    ready: asyncio.Queue[float] = asyncio.Queue()
    watch = asyncio.create_task(_watch(client, ready))
    latencies: list[float] = []
    try:
        await _until(prober.stdout, "answered")
        for _ in range(_ROUNDS):
            await client.patch(Deployment, "one", "default", {"spec": {"replicas": 0}})
            await _until(prober.stdout, "refused")
            while not ready.empty():
                ready.get_nowait()
            await client.patch(Deployment, "one", "default", {"spec": {"replicas": 1}})
            connected = await _until(prober.stdout, "answered")
            latencies.append(max((connected - await ready.get()) * 1000, 0.0))
    finally:
        watch.cancel()
        prober.terminate()
        await prober.wait()
        await client.close()
    return latencies, sorted(requests)[len(requests) // 2]


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


async def _until(lines: asyncio.StreamReader, word: str) -> float:
    """The time at which the prober first said `word`. Raises RuntimeError when it ends before."""
    async with asyncio.timeout(60):
        while line := await lines.readline():
            said, at = line.decode().split()
            if said == word:
                return float(at)
    raise RuntimeError("the prober ended early")
