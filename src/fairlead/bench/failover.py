"""A node that fails behind the external load balancer: how long until no new connection is led to it.

The node is cut off (its link goes down) or its agent hangs (SIGSTOP), again and again. A witness at the load-balancer
host stamps when the last row that leads to the node went; the baseline is what the health checks take by themselves:
an interval, and as many silences as make a node dead. While agents hang, connections go on: rows stay in the kernel.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from fairlead.agents.loadbalancer.probing import BREATH, ProbeSettings
from fairlead.bench.embedded import cluster, fairlead
from fairlead.bench.measurement import Measurement, at_most
from fairlead.drivers.kubeapi import HttpTransport, KubeClient
from fairlead.kube.core import Service

_TARGET = 1.0
_NODE, _ADDRESS = "node-2", "172.18.0.3"
_ROUTER = "172.18.0.1"
_MANIFESTS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: example/web, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""


def failover(rounds: int = 50) -> list[Measurement]:
    """Seconds from a failure to the last row's going, by cause: the median and the longest of so many rounds."""
    settings = ProbeSettings()
    alone = settings.interval + settings.misses * settings.patience + (settings.misses - 1) * BREATH
    figures: list[Measurement] = []
    with cluster("-", stdin=_MANIFESTS) as home:
        address = asyncio.run(_address(home))
        for cause, fail, mend in (
            ("node cut off", _cut, _join),
            ("agent hangs", _hang, _go_on),
        ):
            taken = sorted(_round(home, address, fail, mend) for _ in range(rounds))
            name = f"failover: external, {cause}, {rounds} rounds"
            median = Measurement(f"{name}, median", taken[rounds // 2], "s", alone, taken[rounds // 2] / alone)
            figures += [median, at_most(f"{name}, longest", taken[-1], "s", _TARGET, alone)]
    return figures


def _round(home: str, address: str, fail: Callable[[str], float], mend: Callable[[str], None]) -> float:
    _wait_for_row(home, address)
    with _witness(home, address) as witness:
        begun = fail(home)
        try:
            assert witness.stdout is not None
            return float(witness.stdout.readline()) - begun
        finally:
            mend(home)


@contextmanager
def _witness(home: str, address: str) -> Generator[subprocess.Popen[str]]:
    words = ("exec", "--from", "lb", "--", sys.executable, "-m", "fairlead.bench.witness", "rows", address, _ADDRESS)
    with subprocess.Popen(
        [sys.executable, "-m", "fairlead", *words],
        env={**os.environ, "FAIRLEAD_HOME": home},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("the load balancer does not lead to the node")
            yield process
        finally:
            process.kill()


def _cut(home: str) -> float:
    script = "date +%s.%N && ip link set eth0 down"
    return float(fairlead(home, "exec", "--from", f"node/{_NODE}", "--", "sh", "-c", script))


def _join(home: str) -> None:
    """Put the link up again, and the route that went with it."""
    script = f"ip link set eth0 up && ip route replace default via {_ROUTER}"
    fairlead(home, "exec", "--from", f"node/{_NODE}", "--", "sh", "-c", script)


def _hang(home: str) -> float:
    agent, begun = _agent(home), time.time()
    os.kill(agent, signal.SIGSTOP)
    return begun


def _go_on(home: str) -> None:
    os.kill(_agent(home), signal.SIGCONT)


def _agent(home: str) -> int:
    """The process that is the node's agent: the one that writes its log."""
    log = (Path(home) / "fairlead" / "logs" / f"agent-{_NODE}.log").stat()
    for entry in Path("/proc").iterdir():
        try:
            out = (entry / "fd/1").stat()
        except OSError:
            continue
        if (out.st_ino, out.st_dev) == (log.st_ino, log.st_dev):
            return int(entry.name)
    raise RuntimeError(f"{_NODE} has no agent")


async def _address(home: str) -> str:
    """The address of the Service, once it has one."""
    client = KubeClient(HttpTransport.from_kubeconfig(Path(home) / "fairlead" / "kubeconfig"))
    try:
        async with asyncio.timeout(30):
            while True:
                given = (await client.get(Service, "web", "default")).status.load_balancer.ingress
                if given:
                    return given[0].ip
                await asyncio.sleep(0.1)
    finally:
        await client.close()


def _wait_for_row(home: str, address: str) -> None:
    deadline = time.monotonic() + 30
    listing = ("exec", "--from", "lb", "--", "nft", "list", "map", "ip", "fairlead", "backends")
    while time.monotonic() < deadline:
        lines = fairlead(home, *listing).splitlines()
        if any(f"{address} ." in line and f": {_ADDRESS} ." in line for line in lines):
            return
        time.sleep(0.1)
    raise RuntimeError(f"the load balancer never led to {_NODE} again")
