"""DaemonSets: one with the nodes and its pods comes in; pods to create and delete and its status go out.

Semantics of upstream's pkg/controller/daemon. A pod is tied to its node by affinity to the node's name, so that the
scheduler binds it; a node that may not run the pod gets none, and one that stops being eligible by selector or
NoExecute taint loses it.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct, convert

from fairlead.cluster.controllers.actions import About, Action, Again, Create, Delete, Patch, Tell
from fairlead.cluster.controllers.eligibility import matches_selector, tolerates
from fairlead.cluster.controllers.ownership import Owner
from fairlead.cluster.controllers.pods import is_finished, seconds_until_available
from fairlead.cluster.controllers.replicasets import delete_pod
from fairlead.cluster.controllers.rollouts import resolve_share
from fairlead.cluster.controllers.templates import hash_template, identify_template, make_pod, with_labels
from fairlead.kube.apps import DaemonSet
from fairlead.kube.core import Node, Pod, Taint
from fairlead.kube.documents import Document, Json, items_at, mapping_at
from fairlead.kube.pods import PodSpec

HASH_LABEL = "controller-revision-hash"
COMPONENT = "daemonset-controller"
_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_ON_HOST_NETWORK = ("node.kubernetes.io/network-unavailable", "NoSchedule")


class DaemonView(Struct, frozen=True, kw_only=True):
    """A DaemonSet as its controller sees it: the set, its template as written, all nodes, and its own pods."""

    daemon_set: DaemonSet
    template: Document
    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...]
    now: float


class _Verdict(Struct, frozen=True):
    """Whether a node should get a pod, and whether one there may stay."""

    run: bool
    stay: bool


def owner_of(daemon_set: DaemonSet) -> Owner:
    """The set as the owner of its pods."""
    meta = daemon_set.metadata
    deleting = meta.deletion_timestamp is not None
    return Owner(api_version="apps/v1", kind="DaemonSet", name=meta.name, uid=meta.uid, deleting=deleting)


def node_of(pod: Pod) -> str:
    """The node a daemon's pod is on or, before it is bound, is tied to."""
    if pod.spec.node_name:
        return pod.spec.node_name
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    terms = required.node_selector_terms if required else ()
    fields = (field for term in terms for field in term.match_fields if field.key == "metadata.name")
    return next((field.values[0] for field in fields if len(field.values) == 1), "")


def pod_template(template: Document) -> Document:
    """The template with the tolerations every daemon has and the label of its revision."""
    spec = mapping_at(template, "spec")
    present = items_at(spec, "tolerations")
    more = (*_TOLERATED, _ON_HOST_NETWORK) if spec.get("hostNetwork") is True else _TOLERATED
    added: list[Json] = [{"key": key, "operator": "Exists", "effect": effect} for key, effect in more]
    tolerations = [*present, *(each for each in added if each not in present)]
    digest = hash_template(identify_template(template))
    return with_labels({**template, "spec": {**spec, "tolerations": tolerations}}, {HASH_LABEL: digest})


def _tied(template: Document, node: str) -> Document:
    """The template tied to one node: a required term on its name, joined to every term there is."""
    spec = mapping_at(template, "spec")
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    affinity = mapping_at(spec, "affinity")
    by_node = mapping_at(affinity, "nodeAffinity")
    name: Document = {"key": "metadata.name", "operator": "In", "values": [node]}
    present = items_at(by_node, required, "nodeSelectorTerms")
    terms: list[Json] = [{**each, "matchFields": [name]} for each in present if isinstance(each, dict)]
    tied: Document = {**by_node, required: {"nodeSelectorTerms": terms or [{"matchFields": [name]}]}}
    return {**template, "spec": {**spec, "affinity": {**affinity, "nodeAffinity": tied}}}


def reconcile(view: DaemonView) -> tuple[Action, ...]:
    """The pods to create and delete, the next step of an update, and the status."""
    template = pod_template(view.template)
    digest = str(mapping_at(template, "metadata", "labels")[HASH_LABEL])
    by_node: dict[str, list[Pod]] = {}
    for pod in view.pods:
        by_node.setdefault(node_of(pod), []).append(pod)
    shadow = Pod(spec=convert(mapping_at(template, "spec"), PodSpec))
    verdicts = {node.metadata.name: _judge(shadow, node) for node in view.nodes}
    actions: list[Action] = []
    if view.daemon_set.metadata.deletion_timestamp is None:
        actions += _place(view, template, verdicts, by_node)
        if not actions and view.daemon_set.spec.update_strategy.type == "RollingUpdate":
            actions += _update(view, digest, verdicts, by_node)
    return (*actions, *_status(view, digest, verdicts, by_node))


def _judge(shadow: Pod, node: Node) -> _Verdict:
    if not matches_selector(shadow, node):
        return _Verdict(run=False, stay=False)
    refused: list[Taint] = [each for each in node.spec.taints if tolerates(shadow.spec.tolerations, each) is None]
    return _Verdict(
        run=not any(each.effect in ("NoSchedule", "NoExecute") for each in refused),
        stay=not any(each.effect == "NoExecute" for each in refused),
    )


def _place(
    view: DaemonView, template: Document, verdicts: Mapping[str, _Verdict], by_node: Mapping[str, Sequence[Pod]]
) -> list[Action]:
    """One living pod where one should run, none where none may; a failed one is replaced."""
    actions: list[Action] = []
    daemon_set = view.daemon_set
    for node, verdict in verdicts.items():
        pods = by_node.get(node, ())
        living = [pod for pod in pods if not is_finished(pod)]
        doomed = [pod for pod in pods if is_finished(pod)]
        staying = sorted(
            (pod for pod in living if pod.metadata.deletion_timestamp is None),
            key=lambda pod: (not pod.spec.node_name, pod.metadata.creation_timestamp or ""),
        )
        if not verdict.stay:
            doomed += staying
        else:
            doomed += staying[1:]
        actions += [delete_pod(pod) for pod in doomed if pod.metadata.deletion_timestamp is None]
        if verdict.run and not living and not doomed:
            document = make_pod(
                _tied(template, node),
                prefix=f"{daemon_set.metadata.name}-",
                namespace=daemon_set.metadata.namespace,
                owner=owner_of(daemon_set).reference(),
            )
            actions.append(Create(kind=Pod, document=document))
    return actions


def _update(
    view: DaemonView, digest: str, verdicts: Mapping[str, _Verdict], by_node: Mapping[str, Sequence[Pod]]
) -> list[Action]:
    """Delete pods of an older template, as many as may be unavailable: those first that are so already."""
    wanted = [node for node, verdict in verdicts.items() if verdict.run]
    rolling = view.daemon_set.spec.update_strategy.rolling_update
    share = rolling.max_unavailable if rolling is not None and rolling.max_unavailable is not None else 1
    allowed = max(resolve_share(share, len(wanted), round_up=True), 1)
    doomed: list[Delete] = []
    candidates: list[Delete] = []
    for node in wanted:
        pods = by_node.get(node, ())
        available = [pod for pod in pods if _is_available(view, pod)]
        olds = [pod for pod in pods if pod.metadata.labels.get(HASH_LABEL) != digest]
        removable = [delete_pod(pod) for pod in olds if pod.metadata.deletion_timestamp is None]
        if not available:
            allowed -= 1
            doomed += removable
        else:
            candidates += removable
    return [*doomed, *candidates[: max(allowed, 0)]]


def _is_available(view: DaemonView, pod: Pod) -> bool:
    if pod.metadata.deletion_timestamp is not None:
        return False
    return seconds_until_available(pod, view.daemon_set.spec.min_ready_seconds, view.now) == 0


def _status(
    view: DaemonView, digest: str, verdicts: Mapping[str, _Verdict], by_node: Mapping[str, Sequence[Pod]]
) -> list[Action]:
    desired = scheduled = misscheduled = ready = available = updated = 0
    waits: list[float] = []
    for node, verdict in verdicts.items():
        pods = [pod for pod in by_node.get(node, ()) if pod.metadata.deletion_timestamp is None]
        if not verdict.run:
            misscheduled += bool(pods)
            continue
        desired += 1
        scheduled += bool(pods)
        wait = seconds_until_available(pods[0], view.daemon_set.spec.min_ready_seconds, view.now) if pods else None
        ready += wait is not None
        available += wait == 0
        updated += bool(pods) and pods[0].metadata.labels.get(HASH_LABEL) == digest
        if wait:
            waits.append(wait)
    old, meta = view.daemon_set.status, view.daemon_set.metadata
    counts = (desired, scheduled, misscheduled, ready, available, updated, desired - available, meta.generation)
    known = (
        *(old.desired_number_scheduled, old.current_number_scheduled, old.number_misscheduled, old.number_ready),
        *(old.number_available, old.updated_number_scheduled, old.number_unavailable, old.observed_generation),
    )
    actions: list[Action] = [Again(min(waits) + 0.05)] if waits else []
    if counts != known:
        status: Document = {
            "desiredNumberScheduled": desired,
            "currentNumberScheduled": scheduled,
            "numberMisscheduled": misscheduled,
            "numberReady": ready,
            "numberAvailable": available or None,
            "updatedNumberScheduled": updated or None,
            "numberUnavailable": desired - available or None,
            "observedGeneration": meta.generation,
        }
        patch: Document = {"status": status}
        actions.append(
            Patch(kind=DaemonSet, namespace=meta.namespace, name=meta.name, patch=patch, subresource="status")
        )
    return actions


def tell(daemon_set: DaemonSet, reason: str, message: str) -> Tell:
    """An Event about the set."""
    meta = daemon_set.metadata
    about = About(api_version="apps/v1", kind="DaemonSet", namespace=meta.namespace, name=meta.name, uid=meta.uid)
    return Tell(about=about, reason=reason, message=message, warning=reason.startswith("Failed"), component=COMPONENT)
