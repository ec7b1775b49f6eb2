"""A pod that is deleted under traffic: what happens when, through every way that leads to it.

Witnesses at the nodes, at the load-balancer host, at the client and in another pod stamp what they see with the clock
all of them share; the API's watches are stamped here. Times are milliseconds after the request to delete was sent.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from fairlead.bench.embedded import cluster, fairlead
from fairlead.bench.measurement import Measurement
from fairlead.bench.witness import Order, Target, Told
from fairlead.drivers.kubeapi import KubeClient
from fairlead.drivers.kubeapi.http import HttpTransport
from fairlead.drivers.kubeapi.reflector import Applied, Deleted
from fairlead.kube.core import Pod, Service
from fairlead.kube.discovery import SERVICE_NAME_LABEL, EndpointSlice
from fairlead.kube.networking import Ingress

NAMESPACE = "drained"
_POD, _NODE_PORT, _HOST = "goes", 30089, "drained.example"
_LONG_SECONDS, _LONG_EACH, _RATE = 2.0, 20, 100.0
_NODES = {"node-1": "172.18.0.2", "node-2": "172.18.0.3", "node-3": "172.18.0.4"}
_GONE_ON = "node-3"
_TEMPLATE = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: drained, labels: {{app: web}}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 20
  containers:
    - name: web
      image: example/web:1
      ports: [{{name: http, containerPort: 8080}}]
      readinessProbe: {{httpGet: {{path: /, port: http}}, periodSeconds: 1}}
---
"""
MANIFESTS = (
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: drained}\n---"
    + "".join(
        _TEMPLATE.format(name=name, node=node)
        for name, node in ((_POD, _GONE_ON), ("stays-1", "node-1"), ("stays-2", "node-2"))
    )
    + """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: drained}
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http, nodePort: 30089}]
---
apiVersion: v1
kind: Service
metadata: {name: local, namespace: drained}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  namespace: drained
  annotations: {nginx.ingress.kubernetes.io/proxy-request-buffering: "off"}
spec:
  ingressClassName: nginx
  rules:
    - host: drained.example
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}
"""
)
"""A pod that goes, two that stay, and every way to them."""


class Timeline(Struct, frozen=True):
    """Milliseconds after the request, by what happened; and what failed, by way."""

    moments: Mapping[str, float]
    failures: Mapping[str, tuple[str, ...]]


def draining() -> list[Measurement]:
    """The timeline of one deletion, in its order. Raises RuntimeError where a request failed."""
    with cluster("--timeout", "60", "-", stdin=MANIFESTS) as home:
        found = asyncio.run(measure_timeline(Path(home)))
    if any(found.failures.values()):
        raise RuntimeError(f"requests failed: {dict(found.failures)}")
    ordered = sorted(found.moments.items(), key=lambda each: each[1])
    return [Measurement(f"draining: {what}", milliseconds, "ms") for what, milliseconds in ordered]


async def measure_timeline(home: Path) -> Timeline:
    """Delete the pod in the cluster of this home, which has the manifests, and return what happened when."""
    client = KubeClient(HttpTransport.from_kubeconfig(home / "fairlead" / "kubeconfig"))
    try:
        ways, pod = await _find_ways(client)
        await asyncio.to_thread(_wait_for_ingress, home, ways["Ingress"])
        return await _measure(home, client, ways, pod)
    finally:
        await client.close()


async def _measure(home: Path, client: KubeClient, ways: Mapping[str, Target], pod: str) -> Timeline:
    inside = {name: ways[name] for name in ("straight to the pod", "ClusterIP")}
    outside = {name: each for name, each in ways.items() if name not in inside}
    cluster_ip, local = ways["ClusterIP"].address, ways["LoadBalancer, policy Local"].address
    seen: dict[str, float] = {}
    async with AsyncExitStack() as stack:
        rows = {
            f"row gone, {what}": await stack.enter_async_context(_witness(home, where, "rows", *ends))
            for what, where, *ends in (
                *((node, f"node/{node}", cluster_ip, pod) for node in _NODES),
                (f"{_GONE_ON}, policy Local", f"node/{_GONE_ON}", local, pod),
                ("load balancer, policy Local", "lb", local, _NODES[_GONE_ON]),
            )
        }
        asking = [
            await stack.enter_async_context(_witness(home, where, "ask", _order(some)))
            for where, some in ((f"pod/{NAMESPACE}/stays-1", inside), ("client", outside))
        ]
        watching = [asyncio.create_task(each) for each in (_watch_pod(client, seen), _watch_slices(client, seen))]
        await asyncio.sleep(0.5)
        begun = time.time()
        await client.delete(Pod, _POD, NAMESPACE)
        seen["deletion acknowledged"] = time.time()
        for process in asking:
            assert process.stdin is not None
            process.stdin.write(b"deleted\n")
        async with asyncio.timeout(30):
            for what, process in rows.items():
                assert process.stdout is not None
                seen[what] = float(await process.stdout.readline())
            await asyncio.gather(*watching)
        told: dict[str, Told] = {}
        for process in asking:
            assert process.stdin is not None
            process.stdin.close()
            out, _ = await asyncio.wait_for(process.communicate(), 30)
            told |= msgspec.json.decode(out, type=dict[str, Told])
    for name, each in told.items():
        seen |= {f"last new connection, {name}": each.last_new, f"last long request ends, {name}": each.last_long}
    moments = {what: 1000 * (when - begun) for what, when in seen.items() if when}
    # Straight to the pod, dialling fails once it is gone: that is the measurement, and no failure.
    return Timeline(moments, {name: tuple(each.failures) for name, each in told.items() if "straight" not in name})


def _order(targets: Mapping[str, Target]) -> str:
    order = Order(pod=_POD, targets={**targets}, rate=_RATE, long=_LONG_EACH, seconds=_LONG_SECONDS)
    return msgspec.json.encode(order).decode()


@asynccontextmanager
async def _witness(home: Path, place: str, *words: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fairlead", "exec", "--from", place, "--"),
        *(sys.executable, "-m", "fairlead.bench.witness", *words),
        env={**os.environ, "FAIRLEAD_HOME": str(home)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        if line != b"ready\n":
            raise RuntimeError(f"the witness at {place} says {line.decode()!r}")
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _find_ways(client: KubeClient) -> tuple[dict[str, Target], str]:
    """What to dial by way, and the pod's address; waits until all are there."""
    async with asyncio.timeout(60):
        while True:
            pod = await client.get(Pod, _POD, NAMESPACE)
            web = await client.get(Service, "web", NAMESPACE)
            local = await client.get(Service, "local", NAMESPACE)
            ingress = await client.get(Ingress, "web", NAMESPACE)
            given = [each.status.load_balancer.ingress for each in (web, local, ingress)]
            if all(given) and all(each.status == "True" for each in pod.status.conditions):
                break
            await asyncio.sleep(0.1)
    first, second, third = (each[0].ip for each in given)
    ways = {
        "straight to the pod": Target(address=pod.status.pod_ip, port=8080),
        "ClusterIP": Target(address=web.spec.cluster_ip, port=80),
        "NodePort": Target(address=_NODES[_GONE_ON], port=_NODE_PORT),
        "LoadBalancer": Target(address=first, port=80),
        "LoadBalancer, policy Local": Target(address=second, port=80),
        "Ingress": Target(address=third, port=80, host=_HOST),
    }
    return ways, pod.status.pod_ip


def _wait_for_ingress(home: Path, target: Target) -> None:
    words = ("curl", "-s", "-m", "2", "-H", f"Host: {target.host}", f"http://{target.address}/")
    asked = ("exec", "--from", "client", "--", "sh", "-c", f"{' '.join(map(_quoted, words))} || true")
    deadline = time.monotonic() + 60
    while '"pod"' not in fairlead(str(home), *asked):
        if time.monotonic() > deadline:
            raise RuntimeError("the Ingress never answered")


def _quoted(word: str) -> str:
    return f"'{word}'"


async def _watch_pod(client: KubeClient, seen: dict[str, float]) -> None:
    """Stamp what the pod says of itself, until it is gone."""
    async for change in client.reflect(Pod, NAMESPACE, fields=f"metadata.name={_POD}"):
        now = time.time()
        if isinstance(change, Deleted):
            seen["pod gone from the API"] = now
            return
        if not isinstance(change, Applied):
            continue
        if change.object.metadata.deletion_timestamp is not None:
            seen.setdefault("pod has deletionTimestamp", now)
        if any(each.state.terminated is not None for each in change.object.status.container_statuses if each.state):
            seen.setdefault("process ended", now)


async def _watch_slices(client: KubeClient, seen: dict[str, float]) -> None:
    """Stamp what a slice of the Service says of the pod, until it does not name it any more."""
    async for change in client.reflect(EndpointSlice, NAMESPACE, labels=f"{SERVICE_NAME_LABEL}=web"):
        if not isinstance(change, Applied):
            continue
        named = [each for each in change.object.endpoints if each.target_ref and each.target_ref.name == _POD]
        if not named:
            seen["endpoint gone from the slice"] = time.time()
            return
        for each in named:
            conditions = each.conditions
            if (conditions.ready, conditions.serving, conditions.terminating) == (False, True, True):
                seen.setdefault("endpoint terminating, serving, not ready", time.time())
