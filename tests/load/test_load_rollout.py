"""Does a rolling update of ten pods under load fail a request, and do held connections last as long as their pods?

A real embedded cluster, driven from outside: 200 new connections a second, half through the ClusterIP at a node, half
through the node ports of all nodes from outside, and 50 connections that are held, all while every pod is replaced.
Then a service without a selector gets 150 random sets of endpoints through the API, under the same load;
FAIRLEAD_LONG=1 in the environment asks for 2,000.
"""

import asyncio
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fairlead.drivers.kubeapi import Applied, Deleted, HttpTransport, KubeClient
from fairlead.kube.apps import Deployment
from fairlead.kube.core import Pod, Service
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.documents import Document, Json
from fairlead.kube.resources import resource_of

pytestmark = [pytest.mark.kernel, pytest.mark.cluster]
SOURCE = Path(__file__).parents[2] / "src"
GRACE = 4
CHANGES = 2_000 if os.environ.get("FAIRLEAD_LONG") else 150
NODES = ("172.18.0.2", "172.18.0.3", "172.18.0.4")
MANIFEST = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 10
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: {GRACE}
      containers:
      - name: web
        image: example/web:1
        ports: [{{containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{type: NodePort, selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080, nodePort: 30080}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: picked}}
spec: {{type: NodePort, ports: [{{port: 80, targetPort: 8080, nodePort: 30081}}]}}
"""
REQUEST = "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"


class Cluster:
    """A cluster of three nodes with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {**os.environ, "FAIRLEAD_HOME": str(self.home), "PYTHONPATH": path}

    def run(self, *words: str, stdin: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "fairlead", *words],
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
        return done.stdout

    @asynccontextmanager
    async def load(self, place: str, targets: list[str], *, see_off: bool = False) -> AsyncGenerator["Load"]:
        """100 new connections a second and 25 held ones, from `place`, for the body."""
        script = Path(__file__).parent / "load_traffic.py"
        order = {"targets": targets, "request": REQUEST, "answer": "HTTP/1.1 200", "rate": 100, "hold": 25}
        order["see_off"] = see_off
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fairlead", "exec", "--from", place, "--"),
            *(sys.executable, str(script), json.dumps(order)),
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        load = Load()
        try:
            line = await asyncio.wait_for(process.stdout.readline(), 20)
            load.held = {int(port): target for port, target in json.loads(line)["held"].items()}
            yield load
            assert process.stdin is not None
            process.stdin.close()
            out, _ = await asyncio.wait_for(process.communicate(), 30)
            load.told = json.loads(out)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def pods_of(self, node: str, held: dict[int, str]) -> dict[int, str]:
        """The pods that held connections through a node lead to, by source port, as its connection tracking has it."""
        flows = self.run("exec", "--from", f"node/{node}", "--", "conntrack", "-L", "-p", "tcp")
        found = re.findall(r"dst=(\S+) sport=(\d+) dport=(\d+) src=(\S+)", flows)
        return {int(sport): pod for to, sport, port, pod in found if held.get(int(sport)) == f"{to}:{port}"}

    async def wait_for_rows(self, node: int, address: str, pods: list[str]) -> None:
        """Wait until a node's rows lead from a cluster address to these pods and no others."""
        words = ("exec", "--from", f"node/node-{node}", "--", "nft", "list", "map", "ip", "fairlead", "backends")
        pattern = rf"{re.escape(address)} \. tcp \. 80 \. \d+ : (\S+) \."
        deadline = time.monotonic() + 20
        while (found := set(re.findall(pattern, await asyncio.to_thread(self.run, *words)))) != set(pods):
            assert time.monotonic() < deadline, f"node-{node} leads to {found}, not {pods}"


class Load:
    """What a load held at its start, and what it told at its end."""

    held: dict[int, str]
    told: dict[str, Any]


class Life(dict[str, float]):
    """When the pod of each address was asked to end, or was gone."""


async def watch(client: KubeClient, asked: Life, gone: Life) -> None:
    async for change in client.reflect(Pod, "default"):
        match change:
            case Applied(pod) if pod.metadata.deletion_timestamp is not None:
                asked.setdefault(pod.status.pod_ip, time.time())
            case Deleted(pod):
                gone.setdefault(pod.status.pod_ip, time.time())
            case _:
                pass


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("rollout"))
    cluster.run("up", "-", "--detach", "--timeout", "60", stdin=MANIFEST)
    yield cluster
    cluster.run("down", "--all")


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[KubeClient]:
    client = KubeClient(HttpTransport.from_kubeconfig(cluster.home / "fairlead" / "kubeconfig"))
    yield client
    await client.close()


def endpoints(pods: list[str]) -> list[Json]:
    """Ready endpoints of a slice."""
    return [{"addresses": [each]} for each in pods]


async def rolled_out(client: KubeClient) -> bool:
    """Whether all ten pods are of the newest template, ready, and alone."""
    deployment = await client.get(Deployment, "web", "default")
    status = deployment.status
    there = status.observed_generation == deployment.metadata.generation and status.updated_replicas == 10
    return there and status.available_replicas == 10 and len((await client.list(Pod, "default")).items) == 10


def check(load: Load, least: int) -> None:
    """No request failed, and there were enough to tell."""
    assert load.told["failures"] == [], f"{load.told['failed']} of {load.told['made']}"
    assert load.told["made"] >= least


async def test_a_rolling_update_fails_no_request_and_held_connections_end_only_with_their_pods(
    cluster: Cluster, client: KubeClient
) -> None:
    address = (await client.get(Service, "web", "default")).spec.cluster_ip
    asked, gone = Life(), Life()
    watching = asyncio.create_task(watch(client, asked, gone))
    ports = [f"{node}:30080" for node in NODES]
    async with (
        cluster.load("node/node-1", [f"{address}:80"], see_off=True) as inside,
        cluster.load("client", ports, see_off=True) as outside,
    ):
        where = cluster.pods_of("node-1", inside.held)
        for number in (1, 2, 3):
            where |= cluster.pods_of(f"node-{number}", outside.held)
        template: Document = {"spec": {"template": {"metadata": {"annotations": {"rolled": "yes"}}}}}
        await client.patch(Deployment, "web", "default", template)
        async with asyncio.timeout(60):
            while not (await rolled_out(client) and len(gone) == 10):  # noqa: ASYNC110 - only the API server can tell
                await asyncio.sleep(0.05)
    watching.cancel()
    for load in (inside, outside):
        check(load, 500)
        assert len(load.told["ended"]) == len(load.held) == 25
        for port, (at, why) in load.told["ended"].items():
            pod = where[int(port)]
            lasted = at - asked[pod]
            assert lasted > GRACE - 1, f"{pod} was asked to end {lasted:.2f} s before its client was cut off: {why}"
            assert at < gone[pod] + 1, f"a connection outlives {pod}"


async def test_random_endpoints_through_the_api_fail_no_request(cluster: Cluster, client: KubeClient) -> None:
    chance = random.Random()
    address = (await client.get(Service, "picked", "default")).spec.cluster_ip
    pods = [pod.status.pod_ip for pod in (await client.list(Pod, "default")).items]
    document: Document = {
        "metadata": {"name": "picked-1", "labels": {"kubernetes.io/service-name": "picked"}},
        "addressType": "IPv4",
        "endpoints": endpoints(pods),
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
    }
    await client.create_document(resource_of(EndpointSlice), document, "default")
    ports = [f"{node}:30081" for node in NODES]
    for number in (1, 2, 3):
        await cluster.wait_for_rows(number, address, pods)
    async with cluster.load("node/node-2", [f"{address}:80"]) as inside, cluster.load("client", ports) as outside:
        drawn = pods
        for _ in range(CHANGES):
            drawn = chance.sample(pods, chance.randrange(1, len(pods)))
            await client.patch(EndpointSlice, "picked-1", "default", {"endpoints": endpoints(drawn)})
            await asyncio.sleep(0.02)
        for number in (1, 2, 3):
            await cluster.wait_for_rows(number, address, drawn)
    for load in (inside, outside):
        check(load, 200)
        assert load.told["ended"] == {}, "a connection was cut although its pod is there"
