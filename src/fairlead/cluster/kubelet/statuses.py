"""A pod's status out of its containers' runs. Pure: what is shown, not what is done.

Source: pkg/kubelet/kubelet_pods.go (getPhase), pkg/kubelet/status/generate.go (conditions, reasons, messages).
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from fairlead.cluster.kubelet.runs import ContainerRun, Stage
from fairlead.kube.documents import Document, Json, text_at
from fairlead.kube.meta import Condition
from fairlead.kube.pods import Pod

OWNED = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
TERMINAL = ("Succeeded", "Failed")


def time_text(epoch: float) -> str:
    """Whole seconds as metav1.Time is written."""
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def phase_of(pod: Pod, runs: Sequence[ContainerRun]) -> str:
    """Pending, Running, Succeeded or Failed."""
    policy = pod.spec.restart_policy
    inits = [run for run in runs if run.init]
    for run in inits:
        if not run.sidecar and run.stage is Stage.ENDED and run.exit_code and policy == "Never":
            return "Failed"
    mains = [run for run in runs if not run.init]
    begun = [run for run in mains if run.stage in (Stage.RUNNING, Stage.ENDED) or run.last is not None]
    if any(not run.done for run in inits) and not begun:
        return "Pending"
    if len(begun) < len(mains):
        return "Pending"
    if any(run.alive or run.stage is Stage.WAITING for run in mains) or policy == "Always":
        return "Running"
    if all(run.exit_code == 0 for run in mains):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def container_status(pod: Pod, run: ContainerRun) -> Document:
    """One entry of containerStatuses."""
    status: Document = {
        "name": run.spec.name,
        "image": run.spec.image,
        "imageID": "" if run.stage is Stage.WAITING and run.last is None else f"fairlead.invalid/{run.spec.image}",
        "ready": run.ready,
        "started": run.started,
        "restartCount": run.restarts,
        "state": run.state({"startedAt": time_text(run.started_at)}),
        "lastState": {"terminated": run.last} if run.last else {},
    }
    if run.stage in (Stage.RUNNING, Stage.ENDED):
        status["containerID"] = container_id(pod, run)
    return status


def container_id(pod: Pod, run: ContainerRun) -> str:
    """What tells the runs of containers apart in statuses."""
    return f"fairlead://{pod.metadata.uid}/{run.spec.name}/{run.restarts}"


def _unready(names: list[str], word: str) -> str:
    return f"containers with {word} status: [{' '.join(names)}]"


def conditions_of(
    pod: Pod, runs: Sequence[ContainerRun], phase: str, *, prepared: bool, now: float, former: dict[str, Document]
) -> list[Json]:
    """The kubelet's own conditions, with the former transition times where nothing changed, and others' as they are."""
    waiting = [run.spec.name for run in runs if run.init and not run.done]
    begun = any(not run.init and (run.stage is not Stage.WAITING or run.last) for run in runs)
    unready = [run.spec.name for run in runs if (not run.init or run.sidecar) and not run.ready]
    gates = [
        gate.condition_type
        for gate in pod.spec.readiness_gates
        if not any(each.type == gate.condition_type and each.status == "True" for each in pod.status.conditions)
    ]
    initialized = ("", "") if not waiting or begun else ("ContainersNotInitialized", _unready(waiting, "incomplete"))
    contained = ("ContainersNotReady", _unready(unready, "unready")) if unready else ("", "")
    if phase == "Succeeded":
        contained = ("PodCompleted", "")
    elif phase == "Failed":
        contained = ("PodFailed", "")
    ready = contained
    if not contained[0] and gates:
        missing = "; ".join(f'corresponding condition of pod readiness gate "{gate}" does not exist.' for gate in gates)
        ready = ("ReadinessGatesNotReady", missing)
    wanted = {
        "PodReadyToStartContainers": (prepared, ("", "")),
        "Initialized": (not initialized[0], initialized),
        "Ready": (not ready[0], ready),
        "ContainersReady": (not contained[0], contained),
        "PodScheduled": (True, ("", "")),
    }
    conditions: list[Json] = []
    for kind, (holds, (reason, message)) in wanted.items():
        condition: Document = {"type": kind, "status": "True" if holds else "False"}
        if reason:
            condition["reason"] = reason
        if message:
            condition["message"] = message
        before = former.get(kind)
        same = before is not None and before.get("status") == condition["status"]
        condition["lastTransitionTime"] = before["lastTransitionTime"] if before and same else time_text(now)
        former[kind] = condition
        conditions.append(condition)
    conditions += [_condition(each) for each in pod.status.conditions if each.type not in OWNED]
    return conditions


def known_conditions(pod: Pod) -> dict[str, Document]:
    """The kubelet's conditions as the API last had them, to carry their times on."""
    return {each.type: _condition(each) for each in pod.status.conditions if each.type in OWNED}


def contradicted(pod: Pod, written: Sequence[Json]) -> bool:
    """Whether somebody has said otherwise of the pod since its conditions were `written`.

    The node controller does while nobody hears of the node (pkg/kubelet/status/status_manager.go, needsReconcile). What
    was written earlier, and is only seen now, is told from that by its time.
    """
    shown = {each.type: each for each in pod.status.conditions}
    for each in written:
        there = shown.get(text_at(each, "type"))
        if there is None or there.status == text_at(each, "status"):
            continue
        if (there.last_transition_time or "") > text_at(each, "lastTransitionTime"):
            return True
    return False


def _condition(each: Condition) -> Document:
    found: Document = {"type": each.type, "status": each.status, "lastTransitionTime": each.last_transition_time}
    for key, value in (("reason", each.reason), ("message", each.message)):
        if value:
            found[key] = value
    return found
