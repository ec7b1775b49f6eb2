"""What an embedded cluster costs: time from `up` to the first answer, memory, a thousand pods.

Each runs the command a user types, with a home of its own, and ends what it started.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from fairlead.bench.measurement import Measurement

_SHOP = Path(__file__).parents[3] / "examples" / "shop"
_PODS_A_NODE = 200  # of the 250 that a node allows and the 253 that its prefix has addresses for
_PODS = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: many}}
spec:
  replicas: {count}
  selector: {{matchLabels: {{app: many}}}}
  template:
    metadata: {{labels: {{app: many}}}}
    spec:
      containers: [{{name: app, image: example/app, ports: [{{containerPort: 8080}}]}}]
"""


def fairlead(home: str, *words: str, stdin: str | None = None, timeout: float = 300) -> str:
    """Run the command line with `home` and return what it printed. Raises CalledProcessError."""
    return subprocess.run(
        [sys.executable, "-m", "fairlead", *words],
        env={**os.environ, "FAIRLEAD_HOME": home},
        input=stdin,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=timeout,
    ).stdout


@contextmanager
def cluster(*words: str, stdin: str | None = None, timeout: float = 300) -> Generator[str]:
    """A detached cluster for the body; gives its home."""
    with tempfile.TemporaryDirectory() as home:
        try:
            fairlead(home, "up", "--detach", *words, stdin=stdin, timeout=timeout)
            yield home
        finally:
            fairlead(home, "down", "--all")


def boot(rounds: int = 3) -> list[Measurement]:
    """Seconds from typing `up examples/shop` to the first answer through its NodePort; the median of some rounds.

    The baseline is the time of the interpreter importing this command line and doing nothing.
    """
    times: list[float] = []
    baselines: list[float] = []
    for _ in range(rounds):
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as home:
            fairlead(home, "--help")
            baselines.append(time.monotonic() - started)
            started = time.monotonic()
            try:
                fairlead(home, "up", str(_SHOP), "--detach")
                fairlead(home, "exec", "--from", "client", "--", "curl", "-sS", "-f", "http://172.18.0.2:30080/")
                times.append(time.monotonic() - started)
            finally:
                fairlead(home, "down", "--all")
    value, baseline = sorted(times)[rounds // 2], sorted(baselines)[rounds // 2]
    return [
        Measurement(
            name="boot: up examples/shop to first answer",
            value=value,
            unit="s",
            baseline=baseline,
            ratio=value / baseline,
            target=2.0,
            met=value <= 2.0,
        )
    ]


def proportional_memory(root: int) -> int:
    """Bytes of proportional set size of the process `root` and everything below it (proc(5), smaps_rollup)."""
    return sum(memory for _, memory in proportional_memory_of(root))


def proportional_memory_of(root: int) -> list[tuple[str, int]]:
    """The same of each process by itself, with its command line."""
    found: list[tuple[str, int]] = []
    for pid in _family(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            title = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        found.append((title, sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))))
    return found


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(found for child in children for found in _family(int(child)))]


def _record(home: str) -> dict[str, int]:
    return json.loads((Path(home) / "fairlead" / "cluster.json").read_text())


def memory() -> list[Measurement]:
    """Memory of three nodes and the shop; the baseline is one interpreter with the libraries the cluster imports."""
    with cluster(str(_SHOP)) as home:
        value = proportional_memory(_record(home)["keeper"]) / 1e6
    imports = "import aiohttp, msgspec, cryptography.x509, yaml, fairlead.net; import os; os.read(0, 1)"
    with subprocess.Popen([sys.executable, "-c", imports], stdin=subprocess.PIPE) as idle:
        time.sleep(1.0)
        baseline = proportional_memory(idle.pid) / 1e6
        assert idle.stdin is not None
        idle.stdin.close()
    return [
        Measurement(
            name="memory: 3 nodes and examples/shop (PSS)",
            value=value,
            unit="MB",
            baseline=baseline,
            ratio=value / baseline,
            target=200.0,
            met=value <= 200.0,
        )
    ]


def pods(count: int = 1000) -> list[Measurement]:
    """Seconds from `up` with a Deployment of `count` stand-in pods to all of them ready; baseline: the same with 10."""
    nodes = max(3, -(-count // _PODS_A_NODE))
    seconds: dict[int, float] = {}
    memory: dict[int, float] = {}
    for replicas in (10, count):
        started = time.monotonic()
        with cluster("--nodes", str(nodes), "--timeout", "240", "-", stdin=_PODS.format(count=replicas)) as home:
            seconds[replicas] = time.monotonic() - started
            memory[replicas] = proportional_memory(_record(home)["keeper"]) / 1e6
    return [
        Measurement(
            name=f"pods: {count} stand-in pods ready, boot included",
            value=seconds[count],
            unit="s",
            baseline=seconds[10],
            ratio=seconds[count] / seconds[10],
            target=20.0,
            met=seconds[count] <= 20.0,
        ),
        Measurement(
            name=f"pods: memory with {count} pods (PSS)",
            value=memory[count],
            unit="MB",
            baseline=memory[10],
            ratio=memory[count] / memory[10],
            target=None,
            met=None,
        ),
    ]
