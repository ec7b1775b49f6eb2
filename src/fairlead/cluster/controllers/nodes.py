"""The life of nodes: their signs of life come in; their conditions, taints, and what becomes of their pods go out.

Upstream's nodelifecycle and tainteviction controllers. A sign of life is a change of the node's Lease or of its own
status, timed by the clock of whoever sees it, so that clocks need not agree. After 50 s without one a node's
conditions are Unknown, its pods are not ready, and pods that do not tolerate the taints leave when their time is
over.
"""

from collections.abc import Iterable

from msgspec import Struct

from fairlead.cluster.controllers.actions import About, Action, Again, Delete, Patch, Tell
from fairlead.cluster.controllers.eligibility import NOT_READY, UNREACHABLE, UNSCHEDULABLE, tolerates
from fairlead.cluster.controllers.pods import is_ready
from fairlead.cluster.controllers.timestamps import format_time, parse_time
from fairlead.drivers.kubeapi import PatchType
from fairlead.kube.core import Node, Pod, Taint
from fairlead.kube.documents import Document, Json
from fairlead.kube.meta import Condition

GRACE_SECONDS = 50.0
PERIOD_SECONDS = 5.0
COMPONENT = "node-controller"

_LIFECYCLE = (NOT_READY, UNREACHABLE, UNSCHEDULABLE)


class Heard(Struct, frozen=True):
    """The last sign of a node: what it said, and when that was noticed."""

    sign: str
    at: float


def note_sign(last: Heard | None, sign: str, now: float, round_before: float | None) -> Heard:
    """What is known of a node's life after a look at it.

    `round_before` is when anybody last looked: time in which we ourselves did not run is not held against the node.
    """
    if last is None or last.sign != sign:
        return Heard(sign, now)
    slept = 0.0 if round_before is None else max(now - round_before - 2 * PERIOD_SECONDS, 0.0)
    return Heard(sign, last.at + slept)


def ready_status(node: Node) -> str:
    """The status of the Ready condition: True, False or Unknown; "" before the node has said anything."""
    return next((each.status for each in node.status.conditions if each.type == "Ready"), "")


def reconcile_node(node: Node, pods: Iterable[Pod], heard: Heard, now: float) -> tuple[Action, ...]:
    """What a look at one node brings about."""
    actions: list[Action] = []
    status = ready_status(node)
    if now - heard.at > GRACE_SECONDS and status not in ("", "Unknown"):
        actions += _declare_unknown(node, now)
        status = "Unknown"
    actions += _taint(node, status, now)
    if status in ("False", "Unknown"):
        actions += [_unready(pod, now) for pod in pods if is_ready(pod) and pod.metadata.deletion_timestamp is None]
    actions += _evict(node, pods, now)
    return tuple(actions)


def wanted_taints(node: Node, status: str, now: float) -> tuple[Taint, ...]:
    """The node's taints with those of its state put right; taints of others stay as they are."""
    wanted: list[tuple[str, str]] = []
    if status == "Unknown":
        wanted = [(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]
    elif status == "False":
        wanted = [(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]
    if node.spec.unschedulable:
        wanted.append((UNSCHEDULABLE, "NoSchedule"))
    present = {(each.key, each.effect): each for each in node.spec.taints}
    kept = [each for each in node.spec.taints if each.key not in _LIFECYCLE or (each.key, each.effect) in wanted]
    time = format_time(now)
    new = [Taint(key=key, effect=effect, time_added=time) for key, effect in wanted if (key, effect) not in present]
    return (*kept, *new)


def _taint(node: Node, status: str, now: float) -> list[Action]:
    taints = wanted_taints(node, status, now)
    if taints == node.spec.taints:
        return []
    listed: list[Json] = [_taint_document(each) for each in taints]
    meta = node.metadata
    patch: Document = {"metadata": {"resourceVersion": meta.resource_version}, "spec": {"taints": listed or None}}
    return [Patch(kind=Node, namespace="", name=meta.name, patch=patch)]


def _taint_document(taint: Taint) -> Document:
    document: Document = {"key": taint.key, "effect": taint.effect}
    if taint.value:
        document["value"] = taint.value
    if taint.time_added:
        document["timeAdded"] = taint.time_added
    return document


def _declare_unknown(node: Node, now: float) -> list[Action]:
    """All conditions become Unknown: nobody knows whether the last ones still hold."""
    conditions: list[Json] = [_unknown(each, now) for each in node.status.conditions if each.status != "Unknown"]
    meta = node.metadata
    about = About(api_version="v1", kind="Node", namespace="", name=meta.name, uid=meta.uid)
    message = f"Node {meta.name} status is now: NodeNotReady"
    return [
        Patch(
            kind=Node,
            namespace="",
            name=meta.name,
            patch={"status": {"conditions": conditions}},
            subresource="status",
            patch_type=PatchType.STRATEGIC,
        ),
        Tell(about=about, reason="NodeNotReady", message=message, component=COMPONENT),
    ]


def _unknown(condition: Condition, now: float) -> Document:
    return {
        "type": condition.type,
        "status": "Unknown",
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
        "lastTransitionTime": format_time(now),
    }


def _unready(pod: Pod, now: float) -> Patch:
    condition: Document = {"type": "Ready", "status": "False", "lastTransitionTime": format_time(now)}
    meta = pod.metadata
    return Patch(
        kind=Pod,
        namespace=meta.namespace,
        name=meta.name,
        patch={"status": {"conditions": [condition]}},
        subresource="status",
        patch_type=PatchType.STRATEGIC,
    )


def _evict(node: Node, pods: Iterable[Pod], now: float) -> list[Action]:
    """Delete pods whose toleration of a NoExecute taint has run out; come back for those whose has not yet."""
    taints = [each for each in node.spec.taints if each.effect == "NoExecute"]
    actions: list[Action] = []
    waits: list[float] = []
    for pod in pods if taints else ():
        if pod.metadata.deletion_timestamp is not None:
            continue
        left = min(_seconds_tolerated(pod, each, now) for each in taints)
        if left <= 0:
            meta = pod.metadata
            message = f"Marking for deletion Pod {meta.namespace}/{meta.name}"
            about = About(api_version="v1", kind="Pod", namespace=meta.namespace, name=meta.name, uid=meta.uid)
            actions.append(Tell(about=about, reason="TaintManagerEviction", message=message, component=COMPONENT))
            actions.append(Delete(kind=Pod, namespace=meta.namespace, name=meta.name, uid=meta.uid))
        elif left < float("inf"):
            waits.append(left)
    if waits:
        actions.append(Again(min(waits) + 0.1))
    return actions


def _seconds_tolerated(pod: Pod, taint: Taint, now: float) -> float:
    toleration = tolerates(pod.spec.tolerations, taint)
    if toleration is None:
        return 0.0
    if toleration.toleration_seconds is None:
        return float("inf")
    since = parse_time(taint.time_added)
    return max(toleration.toleration_seconds, 0) - (now - since if since is not None else 0.0)
