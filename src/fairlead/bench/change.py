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
from collections.abc import Mapping
from pathlib import Path

from fairlead.bench.fakeserver import FakeServer
from fairlead.bench.measurement import Measurement

_NETFILTER, _NOTIFICATIONS, _NEW_GENERATION = 12, 7, 0x0A0F
_SUBSCRIBE = (270, 1)  # SOL_NETLINK, NETLINK_ADD_MEMBERSHIP
_CHANGES = 1000
_PROGRAM_TARGETS: Mapping[int, float] = {10_000: 4.0, 100_000: 60.0}
_MEMORY_TARGETS: Mapping[int, float] = {10_000: 150.0, 100_000: 2500.0}


def program(sizes: tuple[int, ...] = (10_000, 100_000), endpoints: int = 10) -> list[Measurement]:
    """Seconds from process start to programmed; the baseline is an interpreter that imports the agent and ends."""
    return [figure for services in sizes for figure in _program_one(services, endpoints)]


def _program_one(services: int, endpoints: int) -> list[Measurement]:
    found = _measured(services, endpoints, 0)
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


def change(services: int = 10_000, endpoints: int = 10) -> list[Measurement]:
    """Milliseconds from an API event written to its rows in the kernel; the baseline is the same beside 10 services."""
    found, small = _measured(services, endpoints, _CHANGES), _measured(10, endpoints, _CHANGES)
    parts = {"compiling, rendering, encoding, p50": "change_python_ms", "the kernel, p50": "change_kernel_ms"}
    return [
        Measurement(
            name=f"change: {services}x{endpoints}, API event to kernel, {at}",
            value=found[at],
            unit="ms",
            baseline=small[at],
            ratio=found[at] / small[at],
            target=10.0 if at == "p99" else None,
            met=found[at] <= 10.0 if at == "p99" else None,
        )
        for at in ("p50", "p99")
    ] + [
        Measurement(
            name=f"change: {services}x{endpoints}, of this, {what}",
            value=found[part],
            unit="ms",
            baseline=small[part],
            ratio=found[part] / small[part],
        )
        for what, part in parts.items()
    ]


def _measured(services: int, endpoints: int, changes: int) -> dict[str, float]:
    """Run this module in new namespaces and return the figures it prints."""
    namespaces = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-Urn"]
    command = [*namespaces, sys.executable, "-m", "fairlead.bench.change", *map(str, (services, endpoints, changes))]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=600)
    return json.loads(run.stdout)


async def _measure(services: int, endpoints: int, changes: int) -> dict[str, float]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = FakeServer(services, endpoints)
    serving = await asyncio.start_server(server.answer, sock=listener)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "kubeconfig"
        config.write_text(json.dumps(_kubeconfig(listener.getsockname()[1])))
        command = [sys.executable, "-m", "fairlead", "agent", "node", "--node", "node-1", "--kubeconfig", str(config)]
        started = time.perf_counter()
        agent = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
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
        latencies = [await _one_change(server, commits, number) for number in range(changes)]
        if latencies:
            latencies.sort()
            figures |= {"p50": latencies[changes // 2], "p99": latencies[changes * 99 // 100], "max": latencies[-1]}
        figures |= _memory_of(agent.pid)
        agent.send_signal(signal.SIGTERM)
        await agent.wait()
        await draining
        for part in ("python_ms", "kernel_ms") if changes else ():
            figures[f"change_{part}"] = statistics.median(each[part] for each in rounds)
    serving.close()
    return figures


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
    figures = {"import_s": _import_seconds(), **asyncio.run(_measure(*map(int, sys.argv[1:4])))}
    sys.stdout.write(json.dumps(figures) + "\n")
