"""The status of a Deployment: its ReplicaSets' counts and its last status come in, the new status goes out.

Conditions, reasons and messages are upstream's (pkg/controller/deployment/progress.go, util/deployment_util.go);
`kubectl rollout status` reads them. Decides nothing about sizes.
"""

from collections.abc import Iterable

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from fairlead.cluster.controllers.timestamps import format_time, parse_time
from fairlead.kube.apps import Deployment, DeploymentStatus, ReplicaSet
from fairlead.kube.documents import Document
from fairlead.kube.meta import Condition

AVAILABLE, PROGRESSING, REPLICA_FAILURE = "Available", "Progressing", "ReplicaFailure"
COMPLETE, TIMED_OUT = "NewReplicaSetAvailable", "ProgressDeadlineExceeded"
NO_DEADLINE = 2**31 - 1

Conditions = tuple[Condition, ...]


class Situation(Struct, frozen=True, kw_only=True):
    """What a status is computed from.

    `floor` is the number of pods that must be available; `note` is a condition that the round itself brings (a
    ReplicaSet made, a pause), or None.
    """

    deployment: Deployment
    new: ReplicaSet | None
    olds: tuple[ReplicaSet, ...]
    floor: int
    now: float
    note: Condition | None = None

    @property
    def sets(self) -> tuple[ReplicaSet, ...]:
        """All ReplicaSets of the Deployment, the new one first."""
        return self.olds if self.new is None else (self.new, *self.olds)


def wanted_size(deployment: Deployment) -> int:
    """How many pods the Deployment asks for."""
    return 1 if deployment.spec.replicas is None else deployment.spec.replicas


def progress_deadline(deployment: Deployment) -> int | None:
    """Seconds without progress after which a roll-out counts as failed; None when nobody waits for it."""
    seconds = deployment.spec.progress_deadline_seconds
    return None if seconds is None or seconds >= NO_DEADLINE else seconds


def make_condition(kind: str, status: str, reason: str, message: str, now: float) -> Condition:
    """A condition that came about now."""
    time = format_time(now)
    return Condition(
        type=kind, status=status, reason=reason, message=message, last_update_time=time, last_transition_time=time
    )


def find_condition(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of a type, or None."""
    return next((each for each in conditions if each.type == kind), None)


def without_condition(conditions: Conditions, kind: str) -> Conditions:
    """The conditions of all other types."""
    return tuple(each for each in conditions if each.type != kind)


def with_condition(conditions: Conditions, new: Condition) -> Conditions:
    """Put `new` in the place of the condition of its type.

    The same status and reason change nothing; the same status keeps the time of transition.
    """
    old = find_condition(conditions, new.type)
    if old is not None and (old.status, old.reason) == (new.status, new.reason):
        return conditions
    return _put(conditions, new)


def _put(conditions: Conditions, new: Condition) -> Conditions:
    old = find_condition(conditions, new.type)
    if old is not None and old.status == new.status:
        new = replace(new, last_transition_time=old.last_transition_time)
    return (*without_condition(conditions, new.type), new)


def compute_status(at: Situation) -> DeploymentStatus:
    """The status to write: counts, then the Available, Progressing and ReplicaFailure conditions."""
    counted = _count(at)
    conditions = at.deployment.status.conditions
    if at.note is not None:
        conditions = with_condition(conditions, at.note)
    conditions = with_condition(conditions, _availability(at, counted))
    if progress_deadline(at.deployment) is None:
        conditions = without_condition(conditions, PROGRESSING)
    elif not at.deployment.spec.paused:
        conditions = _progress(at, counted, conditions)
    return replace(counted, conditions=_failure(at, conditions))


def status_document(status: DeploymentStatus) -> Document:
    """The status as a merge patch writes it: what is zero or absent is removed."""
    counts = {
        "observedGeneration": status.observed_generation,
        "replicas": status.replicas,
        "updatedReplicas": status.updated_replicas,
        "readyReplicas": status.ready_replicas,
        "availableReplicas": status.available_replicas,
        "unavailableReplicas": status.unavailable_replicas,
        "collisionCount": status.collision_count,
    }
    document: Document = {key: value or None for key, value in counts.items()}
    document["conditions"] = to_builtins(status.conditions)
    return document


def is_complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    """Whether all pods wanted are new and available, and no old one is left (util.DeploymentComplete)."""
    size = wanted_size(deployment)
    return (
        status.updated_replicas == size
        and status.replicas == size
        and status.available_replicas == size
        and status.observed_generation >= deployment.metadata.generation
    )


def seconds_to_deadline(at: Situation, status: DeploymentStatus) -> float | None:
    """When to look again although nothing happens, since progress may then be overdue; None when it cannot become
    so.
    """
    deadline = progress_deadline(at.deployment)
    progressing = find_condition(status.conditions, PROGRESSING)
    if deadline is None or progressing is None or at.deployment.spec.paused:
        return None
    since = parse_time(progressing.last_update_time)
    if since is None or progressing.reason in (COMPLETE, TIMED_OUT):
        return None
    return max(since + deadline - at.now, 0.0) + 1.0


def _count(at: Situation) -> DeploymentStatus:
    available = sum(each.status.available_replicas for each in at.sets)
    return DeploymentStatus(
        observed_generation=at.deployment.metadata.generation,
        replicas=sum(each.status.replicas for each in at.sets),
        updated_replicas=at.new.status.replicas if at.new else 0,
        ready_replicas=sum(each.status.ready_replicas for each in at.sets),
        available_replicas=available,
        unavailable_replicas=max(wanted_size(at.deployment) - available, 0),
        collision_count=at.deployment.status.collision_count,
    )


def _availability(at: Situation, counted: DeploymentStatus) -> Condition:
    if counted.available_replicas >= at.floor:
        text = "Deployment has minimum availability."
        return make_condition(AVAILABLE, "True", "MinimumReplicasAvailable", text, at.now)
    text = "Deployment does not have minimum availability."
    return make_condition(AVAILABLE, "False", "MinimumReplicasUnavailable", text, at.now)


def _progress(at: Situation, counted: DeploymentStatus, conditions: Conditions) -> Conditions:
    present = find_condition(conditions, PROGRESSING)
    if counted.replicas == counted.updated_replicas and present is not None and present.reason == COMPLETE:
        return conditions
    name = f'ReplicaSet "{at.new.metadata.name}"' if at.new else f'Deployment "{at.deployment.metadata.name}"'
    if is_complete(at.deployment, counted):
        done = make_condition(PROGRESSING, "True", COMPLETE, f"{name} has successfully progressed.", at.now)
        return with_condition(conditions, done)
    if _has_progressed(at.deployment.status, counted):
        # Also when the reason stays: the time of update moves, and the deadline counts from there.
        going = make_condition(PROGRESSING, "True", "ReplicaSetUpdated", f"{name} is progressing.", at.now)
        return _put(conditions, going)
    if present is not None and _is_overdue(at, present):
        late = make_condition(PROGRESSING, "False", TIMED_OUT, f"{name} has timed out progressing.", at.now)
        return with_condition(conditions, late)
    return conditions


def _has_progressed(old: DeploymentStatus, new: DeploymentStatus) -> bool:
    return (
        new.updated_replicas > old.updated_replicas
        or new.replicas - new.updated_replicas < old.replicas - old.updated_replicas
        or new.ready_replicas > old.ready_replicas
        or new.available_replicas > old.available_replicas
    )


def _is_overdue(at: Situation, present: Condition) -> bool:
    since, deadline = parse_time(present.last_update_time), progress_deadline(at.deployment)
    if present.reason in (COMPLETE, TIMED_OUT) or since is None or deadline is None:
        return present.reason == TIMED_OUT
    return at.now > since + deadline


def _failure(at: Situation, conditions: Conditions) -> Conditions:
    for each in at.sets:
        found = find_condition(each.status.conditions, REPLICA_FAILURE)
        if found is not None and found.status == "True":
            failed = make_condition(REPLICA_FAILURE, "True", found.reason, found.message, at.now)
            return with_condition(conditions, failed)
    return without_condition(conditions, REPLICA_FAILURE)
