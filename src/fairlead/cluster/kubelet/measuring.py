"""What the kubelet's pods use: running containers come in, counters go out. Asked for, never kept up.

A program's CPU and memory are those of all processes under its first one, as /proc has them (proc(5)); a stand-in's
are what its pod's annotations declare. Requests are those a stand-in answered; of programs the kernel tells only how
many TCP connections the pod's network namespace accepted (PassiveOpens), and each counts as one.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from fairlead.cluster.metrics.usage import ContainerUsage, PodUsage
from fairlead.cluster.standins.controls import parse_controls
from fairlead.cluster.standins.messages import Served
from fairlead.kube.pods import Pod

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Running(Struct, frozen=True):
    """A pod and its running containers: name, run, and the id by which programs and stand-ins are known."""

    pod: Pod
    containers: tuple[tuple[str, int, str], ...]


class Process(Struct, frozen=True):
    """One process: its parent, CPU seconds of itself and of the children it has waited for, and resident bytes."""

    parent: int
    cpu: float
    memory: int


def measure(pods: Iterable[Running], programs: Mapping[str, int], served: Iterable[Served]) -> tuple[PodUsage, ...]:
    """Return the use of every pod. `programs` gives the first process of each program by its id."""
    answered = {each.id: each for each in served}
    processes = read_processes() if programs else {}
    families = _families(processes)
    return tuple(_pod_usage(each, programs, answered, processes, families) for each in pods)


def _pod_usage(
    running: Running,
    programs: Mapping[str, int],
    answered: Mapping[str, Served],
    processes: Mapping[int, Process],
    families: Mapping[int, Sequence[int]],
) -> PodUsage:
    meta = running.pod.metadata
    controls, _ = parse_controls(meta.annotations)
    containers: list[ContainerUsage] = []
    requests: int | None = None
    errors: int | None = None
    first = 0
    for name, run, key in running.containers:
        pid, counted = programs.get(key), answered.get(key)
        if pid is not None:
            first = first or pid
            tree = [processes[each] for each in _under(pid, families) if each in processes]
            memory = sum(each.memory for each in tree)
            containers.append(ContainerUsage(name=name, run=run, cpu=sum(each.cpu for each in tree), memory=memory))
        elif counted is not None:
            requests = (requests or 0) + counted.requests
            errors = (errors or 0) + counted.errors
            containers.append(ContainerUsage(name=name, run=run, cpu=counted.cpu, memory=controls.memory))
        else:  # a built-in program: it lives in the process of the stand-ins, and nothing tells its share
            containers.append(ContainerUsage(name=name, run=run, cpu=0.0, memory=0))
    if requests is None and first and not running.pod.spec.host_network:
        requests = accepted_connections(first)
    return PodUsage(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        node=running.pod.spec.node_name,
        containers=tuple(containers),
        requests=requests,
        errors=errors,
    )


def read_processes(proc: Path = Path("/proc")) -> dict[int, Process]:
    """Return every process this one can see, by pid."""
    found: dict[int, Process] = {}
    for entry in os.scandir(proc):
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):  # it ended meanwhile
                found[int(entry.name)] = _parse_stat(Path(entry.path, "stat").read_text())
    return found


def _parse_stat(text: str) -> Process:
    """Read /proc/PID/stat; the name in brackets may hold anything."""
    words = text.rpartition(")")[2].split()
    ticks = sum(int(word) for word in words[11:15])
    return Process(int(words[1]), ticks / _TICK, int(words[21]) * _PAGE)


def _families(processes: Mapping[int, Process]) -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)
    return children


def _under(pid: int, families: Mapping[int, Sequence[int]]) -> list[int]:
    found = [pid]
    for each in found:
        found += families.get(each, ())
    return found


def accepted_connections(pid: int) -> int | None:
    """Return how many TCP connections the network namespace of a process has accepted, None where it has ended."""
    try:
        lines = [line.split() for line in Path(f"/proc/{pid}/net/snmp").read_text().splitlines()]
    except OSError:
        return None
    names, values = (line for line in lines if line and line[0] == "Tcp:")
    return int(values[names.index("PassiveOpens")])
