"""For how long new connections fail when the node that announces an address by layer 2 stops to do so.

A client outside connects every 20 ms; the longest time between two connections that were answered is the figure, by
cause: speaker killed, speaker stopped, link of the node down. The baseline is the same figure with nothing happening.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

from fairlead.bench.embedded import cluster, fairlead
from fairlead.bench.measurement import Measurement, at_most
from fairlead.drivers.kubeapi import HttpTransport, KubeClient
from fairlead.kube.core import Service
from fairlead.kube.metallb import ServiceL2Status

_TARGET = 1.0
_WATCHED_SECONDS, _PATIENCE_SECONDS = 2.5, 30.0
_MANIFESTS = """
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: first, namespace: metallb-system}
spec: {addresses: [172.18.254.0/24]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: all, namespace: metallb-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: example/web, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]}
"""
_CONNECT = """
import socket, sys, time
until = time.monotonic() + float(sys.argv[2])
print("ready", flush=True)
while time.monotonic() < until:
    try:
        socket.create_connection((sys.argv[1], 80), 0.1).close()
        print(time.monotonic(), flush=True)
    except OSError:
        pass
    time.sleep(0.02)
"""


def takeover(rounds: int = 3) -> list[Measurement]:
    """Longest outage of some rounds, by cause."""
    with cluster("-", stdin=_MANIFESTS) as home:
        address = _wait_for(lambda: asyncio.run(_address(home)))
        ports = _ports(home)
        stopped: list[int] = []

        def hang(node: str) -> None:
            stopped.append(_speaker(home, node))
            os.kill(stopped[-1], signal.SIGSTOP)

        def switch(node: str, state: str) -> None:
            fairlead(home, "exec", "--from", "fabric", "--", "ip", "link", "set", ports[node], state)

        baseline = max(_outage(home, address, lambda _: None, lambda _: None) for _ in range(rounds))
        causes: list[tuple[str, Callable[[str], None], Callable[[str], None]]] = [
            ("speaker killed", lambda node: os.kill(_speaker(home, node), signal.SIGKILL), lambda _: None),
            ("speaker stopped", hang, lambda _: os.kill(stopped[-1], signal.SIGCONT)),
            ("link down", lambda node: switch(node, "down"), lambda node: switch(node, "up")),
        ]
        return [
            at_most(
                f"takeover: l2, {cause}, longest of {rounds}",
                max(_outage(home, address, harm, heal) for _ in range(rounds)),
                "s",
                _TARGET,
                baseline,
            )
            for cause, harm, heal in causes
        ]


def _outage(home: str, address: str, harm: Callable[[str], None], heal: Callable[[str], None]) -> float:
    """The longest time without an answered connection, while the node that announces is harmed."""
    node = _wait_for(lambda: asyncio.run(_announcer(home)))
    time.sleep(1)  # what healed is in place again
    connecting = subprocess.Popen(
        [
            *(sys.executable, "-m", "fairlead", "exec", "--from", "client", "--"),
            *(sys.executable, "-c", _CONNECT, address, str(_WATCHED_SECONDS)),
        ],
        env={**os.environ, "FAIRLEAD_HOME": home},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert connecting.stdout is not None
    assert connecting.stdout.readline() == "ready\n"
    time.sleep(0.3)
    harm(node)
    out, _ = connecting.communicate(timeout=_PATIENCE_SECONDS)
    heal(node)
    answered = [float(line) for line in out.split()]
    return max(later - earlier for earlier, later in pairwise(answered))


async def _address(home: str) -> str:
    async def read(client: KubeClient) -> str:
        found = [each for each in (await client.list(Service)).items if each.metadata.name == "web"]
        return next((each.ip for service in found for each in service.status.load_balancer.ingress), "")

    return await _asked(home, read)


async def _announcer(home: str) -> str:
    async def read(client: KubeClient) -> str:
        return next((each.status.node for each in (await client.list(ServiceL2Status)).items), "")

    return await _asked(home, read)


async def _asked(home: str, read: Callable[[KubeClient], Awaitable[str]]) -> str:
    transport = HttpTransport.from_kubeconfig(Path(home) / "fairlead" / "kubeconfig")
    try:
        return await read(KubeClient(transport))
    finally:
        await transport.close()


def _wait_for(look: Callable[[], str]) -> str:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError("no node announces the address")
        time.sleep(0.1)
    return found


def _ports(home: str) -> dict[str, str]:
    """The fabric's end of each node's link."""
    shown = fairlead(home, "exec", "--from", "fabric", "--", "ip", "-j", "link", "show", "master", "fabric")
    return {f"node-{number}": link["ifname"] for number, link in enumerate(json.loads(shown))}


def _speaker(home: str, node: str) -> int:
    """The process that writes a speaker's log."""
    log = (Path(home) / "fairlead" / "logs" / f"speaker-{node}.log").stat()
    for entry in Path("/proc").iterdir():
        try:
            out = (entry / "fd/1").stat()
        except OSError:
            continue
        if (out.st_ino, out.st_dev) == (log.st_ino, log.st_dev):
            return int(entry.name)
    raise ProcessLookupError(f"{node} has no speaker")
