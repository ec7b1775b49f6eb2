"""The columns of pods; the status tells in one word what its containers are doing.

Source: printPod of k8s.io/kubernetes/pkg/printers/internalversion/printers.go.
"""

from msgspec import Struct

from fairlead.cluster.apiserver.kinds.columns.ages import age_text
from fairlead.cluster.apiserver.kinds.columns.plain import AGE, NAME, age_of, name_of
from fairlead.cluster.apiserver.kinds.columns.texts import NONE
from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.spec import Column
from fairlead.kube.documents import Document, Json, flag_at, items_at, mapping_at, number_at, text_at

COLUMNS = (
    NAME,
    Column("Ready", "string", "", "How many of the containers are ready."),
    Column("Status", "string", "", "What the pod is doing."),
    Column("Restarts", "string", "", "How often containers were started again, and when last."),
    AGE,
    Column("IP", "string", "", "The address of the pod.", 1),
    Column("Node", "string", "", "The node the pod is on.", 1),
    Column("Nominated Node", "string", "", "The node that makes room for the pod.", 1),
    Column("Readiness Gates", "string", "", "How many of the further conditions for readiness hold.", 1),
)


class _Tally(Struct):
    """What has been counted over the containers so far."""

    word: str
    ready: int = 0
    restarts: int = 0
    last_restart: str = ""

    def add_restarts(self, status: Document) -> None:
        self.restarts += number_at(status, "restartCount") or 0
        self.last_restart = max(self.last_restart, text_at(status, "lastState", "terminated", "finishedAt"))


def _ending(terminated: Document) -> str:
    """Return why a container ended, by its reason, its signal or its exit code."""
    if reason := text_at(terminated, "reason"):
        return reason
    if signal := number_at(terminated, "signal"):
        return f"Signal:{signal}"
    return f"ExitCode:{number_at(terminated, 'exitCode') or 0}"


def _has_condition(pod: Document, name: str) -> bool:
    conditions = children(mapping_at(pod, "status"), "conditions")
    return any(text_at(each, "type") == name and text_at(each, "status") == "True" for each in conditions)


def _sidecars(pod: Document) -> set[str]:
    """Return the names of the init containers that keep running beside the others."""
    containers = children(mapping_at(pod, "spec"), "initContainers")
    return {text_at(each, "name") for each in containers if text_at(each, "restartPolicy") == "Always"}


def _tally_init(pod: Document, tally: _Tally, beside: _Tally) -> bool:
    """Go through the init containers; return whether one of them is still at work or has failed."""
    sidecars = _sidecars(pod)
    total = len(items_at(pod, "spec", "initContainers"))
    for index, status in enumerate(children(mapping_at(pod, "status"), "initContainerStatuses")):
        tally.add_restarts(status)
        waiting = text_at(status, "state", "waiting", "reason")
        terminated = mapping_at(status, "state", "terminated")
        is_sidecar = text_at(status, "name") in sidecars
        if is_sidecar:
            beside.add_restarts(status)
        if terminated and not number_at(terminated, "exitCode"):
            continue
        if is_sidecar and flag_at(status, "started"):
            tally.ready += flag_at(status, "ready")
            continue
        if terminated:
            tally.word = f"Init:{_ending(terminated)}"
        elif waiting and waiting != "PodInitializing":
            tally.word = f"Init:{waiting}"
        else:
            tally.word = f"Init:{index}/{total}"
        return True
    return False


def _tally_main(pod: Document, tally: _Tally) -> None:
    """Go through the main containers, the first having the last word."""
    running = False
    for status in reversed(children(mapping_at(pod, "status"), "containerStatuses")):
        tally.add_restarts(status)
        terminated = mapping_at(status, "state", "terminated")
        if waiting := text_at(status, "state", "waiting", "reason"):
            tally.word = waiting
        elif terminated:
            tally.word = _ending(terminated)
        elif flag_at(status, "ready") and "running" in mapping_at(status, "state"):
            running = True
            tally.ready += 1
    if tally.word == "Completed" and running:
        tally.word = "Running" if _has_condition(pod, "Ready") else "NotReady"


def _tally(pod: Document) -> _Tally:
    status = mapping_at(pod, "status")
    tally = _Tally(text_at(status, "reason") or text_at(status, "phase"))
    if any(text_at(each, "reason") == "SchedulingGated" for each in children(status, "conditions")):
        tally.word = "SchedulingGated"
    beside = _Tally("")
    if not _tally_init(pod, tally, beside) or _has_condition(pod, "Initialized"):
        tally.restarts, tally.last_restart = beside.restarts, beside.last_restart
        _tally_main(pod, tally)
    if text_at(pod, "metadata", "deletionTimestamp"):
        if text_at(status, "reason") == "NodeLost":
            tally.word = "Unknown"
        elif text_at(status, "phase") not in ("Succeeded", "Failed"):
            tally.word = "Terminating"
    return tally


def _gates(pod: Document) -> str:
    gates = children(mapping_at(pod, "spec"), "readinessGates")
    if not gates:
        return NONE
    return f"{sum(_has_condition(pod, text_at(each, 'conditionType')) for each in gates)}/{len(gates)}"


def row(pod: Document, now: float) -> list[Json]:
    """Return the cells of `COLUMNS`."""
    tally = _tally(pod)
    total = len(items_at(pod, "spec", "containers")) + len(_sidecars(pod))
    restarts = str(tally.restarts)
    if tally.restarts and tally.last_restart:
        restarts = f"{restarts} ({age_text(tally.last_restart, now)} ago)"
    address = text_at(pod, "status", "podIP") or next(
        (text_at(each, "ip") for each in items_at(pod, "status", "podIPs")), ""
    )
    return [
        name_of(pod),
        f"{tally.ready}/{total}",
        tally.word,
        restarts,
        age_of(pod, now),
        address or NONE,
        text_at(pod, "spec", "nodeName") or NONE,
        text_at(pod, "status", "nominatedNodeName") or NONE,
        _gates(pod),
    ]
