"""A node agent at scale: from process start to programmed, and from one API event to the kernel.

Runs a real agent process in a network namespace of its own. This process is its API server, with bodies made
beforehand, and listens to the kernel's own notifications of nftables changes; so both ends of a latency are stamped by
one clock. The latency starts before the event is written to the watch and ends when the kernel has told of the commit.
"""

import asyncio
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from fairlead.bench.fakeserver import FakeServer
from fairlead.bench.measurement import Measurement
from fairlead.drivers.processes import die_with_parent

_NETFILTER, _NOTIFICATIONS, _NEW_GENERATION = 12, 7, 0x0A0F
_SUBSCRIBE = (270, 1)  # SOL_NETLINK, NETLINK_ADD_MEMBERSHIP
_CHANGES = 1000
_P99_TARGET = 10.0
_PROGRAM_TARGETS: Mapping[int, float] = {10_000: 4.0, 100_000: 60.0}
_MEMORY_TARGETS: Mapping[int, float] = {10_000: 150.0, 100_000: 2500.0}


def program(sizes: tuple[int, ...] = (10_000, 100_000), endpoints: int = 10) -> list[Measurement]:
    """Seconds from process start to programmed; the baseline is an interpreter that imports the agent and ends."""
    return [figure for services in sizes for figure in _program_one(services, endpoints)]


def _program_one(services: int, endpoints: int) -> list[Measurement]:
    with _Measured(services, endpoints) as agent:
        found = agent.finish()
    size = f"{services}x{endpoints}"
    seconds, target = found["program_s"], _PROGRAM_TARGETS.get(services)
    memory, limit = found["memory_mb"], _MEMORY_TARGETS.get(services)
    round_ms = found["start_python_ms"] + found["start_kernel_ms"]
    parts = {
        "the interpreter and its imports": found["import_s"],
        "lists read, parsed and kept": seconds - found["import_s"] - round_ms / 1000,
        "compiling, rendering, encoding": found["start_python_ms"] / 1000,
        "the kernel": found["start_kernel_ms"] / 1000,
    }
    return [
        Measurement(
            name=f"program: {size}, process start to programmed",
            value=seconds,
            unit="s",
            baseline=found["import_s"],
            ratio=seconds / found["import_s"],
            target=target,
            met=None if target is None else seconds <= target,
        ),
        *(Measurement(f"program: {size}, of this, {what}", part, "s") for what, part in parts.items()),
        Measurement(
            name=f"program: {size}, memory of the agent (peak)",
            value=memory,
            unit="MB",
            target=limit,
            met=None if limit is None else memory <= limit,
        ),
    ]


def change(sizes: tuple[int, ...] = (10, 10_000, 100_000), endpoints: int = 10) -> list[Measurement]:
    """Milliseconds from an API event written to its rows in the kernel, at each size; the first is the baseline.

    One agent for each size runs beside the others, and their changes take turns.
    """
    with ExitStack() as stack:
        agents = [stack.enter_context(_Measured(size, endpoints)) for size in sizes]
        latencies: list[list[float]] = [[] for _ in agents]
        for _ in range(_CHANGES):
            for agent, found in zip(agents, latencies, strict=True):
                found.append(agent.change())
        small, *others = [
            agent.finish() | {"p50": _percentile(found, 0.5), "p99": _percentile(found, 0.99)}
            for agent, found in zip(agents, latencies, strict=True)
        ]
    return [
        figure
        for size, found in zip(sizes[1:], others, strict=True)
        for figure in _beside(f"change: {size}x{endpoints}", found, small)
    ]


def _beside(title: str, found: dict[str, float], small: dict[str, float]) -> Iterator[Measurement]:
    parts = {
        "API event to kernel, p50": "p50",
        "API event to kernel, p99": "p99",
        "of this, compiling, rendering, encoding, p50": "change_python_ms",
        "of this, the kernel, p50": "change_kernel_ms",
    }
    for what, part in parts.items():
        value, baseline = found[part], small[part]
        target, met = (_P99_TARGET, value <= _P99_TARGET) if part == "p99" else (None, None)
        yield Measurement(f"{title}, {what}", value, "ms", baseline, value / baseline, target, met)


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


class _Measured:
    """This module run in new namespaces, with an agent that has programmed everything; each line it reads is a change.

    A context manager: what it runs ends with the body.
    """

    def __init__(self, services: int, endpoints: int) -> None:
        namespaces = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-Urn"]
        command = [*namespaces, sys.executable, "-m", "fairlead.bench.change", str(services), str(endpoints)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._read() == "ready"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def change(self) -> float:
        """Make one change, and return its milliseconds."""
        assert self._process.stdin is not None
        self._process.stdin.write("change\n")
        self._process.stdin.flush()
        return float(self._read())

    def finish(self) -> dict[str, float]:
        """Let the agent end, and return the figures of its life."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return json.loads(self._read())

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the benchmark's child ended early; its trace is above"
        return line.strip()


async def _measure(services: int, endpoints: int) -> dict[str, float]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = FakeServer(services, endpoints)
    serving = await asyncio.start_server(server.answer, sock=listener)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "kubeconfig"
        config.write_text(json.dumps(_kubeconfig(listener.getsockname()[1])))
        command = [sys.executable, "-m", "fairlead", "agent", "node", "--node", "node-1", "--kubeconfig", str(config)]
        started = time.perf_counter()
        agent = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        assert agent.stderr is not None
        while b"event=programmed" not in (line := await asyncio.wait_for(agent.stderr.readline(), 300)):
            assert line, "the agent ended before it had programmed anything"
        figures["program_s"] = time.perf_counter() - started
        sys.stderr.write(line.decode())
        figures |= {f"start_{part}": value for part, value in _parts(line).items()}
        rounds: list[dict[str, float]] = []
        draining = asyncio.create_task(_pass_on(agent.stderr, rounds))
        await asyncio.wait_for(server.watched.wait(), 60)
        commits = _subscribe()
        _say("ready")
        number = 0
        while await asyncio.to_thread(sys.stdin.readline):
            _say(str(await _one_change(server, commits, number)))
            number += 1
        figures |= _memory_of(agent.pid)
        agent.send_signal(signal.SIGTERM)
        await agent.wait()
        await draining
        for part in ("python_ms", "kernel_ms") if rounds else ():
            figures[f"change_{part}"] = statistics.median(each[part] for each in rounds)
    serving.close()
    return figures


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def _pass_on(stream: asyncio.StreamReader, rounds: list[dict[str, float]]) -> None:
    """Show what the agent says, but for its thousand lines of success, of which the times are kept."""
    async for line in stream:
        if b"event=programmed" in line:
            rounds.append(_parts(line))
        else:
            sys.stderr.write(line.decode())


def _parts(line: bytes) -> dict[str, float]:
    """The times a round's line tells, in milliseconds: what Python took, and what the kernel did."""
    return {name: float(value) for name, value in re.findall(r"(python_ms|kernel_ms)=([\d.]+)", line.decode())}


def _import_seconds() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import fairlead.agents.node"], check=True)
    return time.perf_counter() - started


def _memory_of(pid: int) -> dict[str, float]:
    status = Path(f"/proc/{pid}/status").read_text()
    return {"memory_mb": _kilobytes(status, "VmHWM") / 1000, "resident_mb": _kilobytes(status, "VmRSS") / 1000}


async def _one_change(server: FakeServer, commits: socket.socket, number: int) -> float:
    """Replace one endpoint of one service, and return the milliseconds until the kernel had it."""
    _drain(commits)
    event = server.replaced_endpoint(number)
    started = time.perf_counter()
    server.tell(event)
    loop = asyncio.get_running_loop()
    while True:
        data = await asyncio.wait_for(loop.sock_recv(commits, 1 << 16), 10)
        ended = time.perf_counter()
        if int.from_bytes(data[4:6], sys.byteorder) == _NEW_GENERATION or _NEW_GENERATION in _types(data):
            return (ended - started) * 1000


def _types(data: bytes) -> list[int]:
    types: list[int] = []
    at = 0
    while at + 16 <= len(data):
        length = int.from_bytes(data[at : at + 4], sys.byteorder)
        types.append(int.from_bytes(data[at + 4 : at + 6], sys.byteorder))
        at += max(16, (length + 3) & ~3)
    return types


def _subscribe() -> socket.socket:
    """A socket that hears of every nftables commit in this network namespace."""
    commits = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER)
    commits.bind((0, 0))
    commits.setsockopt(*_SUBSCRIBE, _NOTIFICATIONS)
    commits.setblocking(False)
    return commits


def _drain(commits: socket.socket) -> None:
    while True:
        try:
            commits.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:  # ENOBUFS: a cold start tells more than the socket holds
            continue


def _kubeconfig(port: int) -> dict[str, object]:
    return {
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "it", "user": {}}],
    }


def _kilobytes(status: str, field: str) -> int:
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{field}:"))


if __name__ == "__main__":
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    figures = {"import_s": _import_seconds(), **asyncio.run(_measure(*map(int, sys.argv[1:3])))}
    _say(json.dumps(figures))
