"""ReplicaSets: one set with its pods comes in; pods to create or delete, adoptions and the status go out.

Semantics of upstream's pkg/controller/replicaset. A finished or deleted pod does not count; what the pods run is
not its affair.
"""

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from fairlead.cluster.controllers.actions import About, Action, Again, Create, Delete, Patch, Tell
from fairlead.cluster.controllers.ownership import Owner, claim
from fairlead.cluster.controllers.pods import is_active, order_of_deletion, seconds_until_available
from fairlead.cluster.controllers.templates import make_pod
from fairlead.cluster.controllers.timestamps import format_time
from fairlead.kube.apps import ReplicaSet
from fairlead.kube.core import Pod
from fairlead.kube.documents import Document, Json, strings_at
from fairlead.kube.selectors import selector_matcher

BURST = 500
"""The most pods created or deleted in one round."""

COMPONENT = "replicaset-controller"


class SetView(Struct, frozen=True, kw_only=True):
    """A ReplicaSet as its controller sees it: the set, its template as written, and the pods that are or could be
    its own.

    `nearby` counts, by node, the active pods of all sets of the same owner; it steers which pod is deleted first.
    """

    replica_set: ReplicaSet
    template: Document
    candidates: tuple[Pod, ...]
    nearby: Counter[str] = Counter()
    now: float


def owner_of(replica_set: ReplicaSet) -> Owner:
    """The set as the owner of its pods."""
    meta = replica_set.metadata
    deleting = meta.deletion_timestamp is not None
    return Owner(api_version="apps/v1", kind="ReplicaSet", name=meta.name, uid=meta.uid, deleting=deleting)


def wanted_size(replica_set: ReplicaSet) -> int:
    """How many pods the set asks for."""
    return 1 if replica_set.spec.replicas is None else replica_set.spec.replicas


def claim_pods(view: SetView) -> tuple[list[Pod], list[Patch]]:
    """The active pods that are the set's, and the patches that adopt or release pods."""
    matches = selector_matcher(view.replica_set.spec.selector)
    active = (pod for pod in view.candidates if is_active(pod))
    return claim(owner_of(view.replica_set), Pod, active, lambda pod: matches(pod.metadata.labels))


def reconcile_pods(view: SetView, pods: Sequence[Pod]) -> tuple[Action, ...]:
    """The pods to create or to delete so that there are as many as wanted."""
    replica_set = view.replica_set
    if replica_set.metadata.deletion_timestamp is not None:
        return ()
    missing = wanted_size(replica_set) - len(pods)
    if missing > 0:
        document = make_pod(
            view.template,
            prefix=f"{replica_set.metadata.name}-",
            namespace=replica_set.metadata.namespace,
            owner=owner_of(replica_set).reference(),
        )
        return (Create(kind=Pod, document=document),) * min(missing, BURST)
    if missing == 0:
        return ()
    doomed = order_of_deletion(pods, view.nearby, view.now)[: min(-missing, BURST)]
    return tuple(delete_pod(pod) for pod in doomed)


def delete_pod(pod: Pod, grace_seconds: int | None = None) -> Delete:
    """Delete exactly this pod."""
    meta = pod.metadata
    return Delete(kind=Pod, namespace=meta.namespace, name=meta.name, uid=meta.uid, grace_seconds=grace_seconds)


def reconcile_status(view: SetView, pods: Sequence[Pod], failure: str = "") -> tuple[Action, ...]:
    """The status to write if it differs, and when to look again because a pod is then available.

    `failure` is why pods could not be created or deleted, or "".
    """
    replica_set = view.replica_set
    min_ready = replica_set.spec.min_ready_seconds or 0
    waits = [seconds_until_available(pod, min_ready, view.now) for pod in pods]
    template_labels = strings_at(view.template, "metadata", "labels").items()
    status: Document = {
        "replicas": len(pods),
        "fullyLabeledReplicas": sum(template_labels <= pod.metadata.labels.items() for pod in pods) or None,
        "readyReplicas": sum(wait is not None for wait in waits) or None,
        "availableReplicas": sum(wait == 0 for wait in waits) or None,
        "observedGeneration": replica_set.metadata.generation or None,
    }
    old = replica_set.status
    known: Document = {
        "replicas": old.replicas or 0,
        "fullyLabeledReplicas": old.fully_labeled_replicas or None,
        "readyReplicas": old.ready_replicas or None,
        "availableReplicas": old.available_replicas or None,
        "observedGeneration": old.observed_generation or None,
    }
    conditions = _conditions(view, len(pods), failure)
    actions: list[Action] = []
    if conditions is not None:
        status["conditions"] = conditions
    if status != known:
        actions.append(_patch_status(replica_set, status))
    pending = [wait for wait in waits if wait]
    if pending:
        actions.append(Again(min(pending) + 0.05))
    return tuple(actions)


def _conditions(view: SetView, size: int, failure: str) -> list[Json] | None:
    """The conditions to write, or None to leave them: pods that cannot be made are a ReplicaFailure."""
    failing = any(each.type == "ReplicaFailure" for each in view.replica_set.status.conditions)
    if bool(failure) == failing:
        return None
    if not failure:
        return []
    missing = size < wanted_size(view.replica_set)
    return [
        {
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate" if missing else "FailedDelete",
            "message": failure,
            "lastTransitionTime": format_time(view.now),
        }
    ]


def _patch_status(replica_set: ReplicaSet, status: Document) -> Patch:
    meta = replica_set.metadata
    return Patch(
        kind=ReplicaSet,
        namespace=meta.namespace,
        name=meta.name,
        patch={"status": status},
        subresource="status",
    )


def about(replica_set: ReplicaSet) -> About:
    """The set as the object of an Event."""
    meta = replica_set.metadata
    return About(api_version="apps/v1", kind="ReplicaSet", namespace=meta.namespace, name=meta.name, uid=meta.uid)


def tell_created(replica_set: ReplicaSet, pod_name: str) -> Tell:
    """The Event of a pod made."""
    return Tell(
        about=about(replica_set), reason="SuccessfulCreate", message=f"Created pod: {pod_name}", component=COMPONENT
    )


def tell_deleted(replica_set: ReplicaSet, pod_name: str) -> Tell:
    """The Event of a pod deleted."""
    return Tell(
        about=about(replica_set), reason="SuccessfulDelete", message=f"Deleted pod: {pod_name}", component=COMPONENT
    )


def tell_refused(replica_set: ReplicaSet, why: str, *, creating: bool) -> Tell:
    """The Event of a pod that could not be made or deleted."""
    reason, verb = ("FailedCreate", "creating") if creating else ("FailedDelete", "deleting")
    return Tell(
        about=about(replica_set), reason=reason, message=f"Error {verb}: {why}", warning=True, component=COMPONENT
    )
