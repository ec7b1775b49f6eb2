"""Deployments: one with its ReplicaSets comes in; ReplicaSets to make, size and remove and its status go out.

Upstream's sync order (pkg/controller/deployment: deployment_controller.go, sync.go, rolling.go, recreate.go): one
step of sizes per round, the next when the cluster has followed. Roll-back needs nothing here: a template seen
before finds its old ReplicaSet.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct

from fairlead.cluster.controllers.actions import About, Action, Again, Create, Delete, Patch, Tell
from fairlead.cluster.controllers.ownership import Owner
from fairlead.cluster.controllers.progress import (
    PROGRESSING,
    Situation,
    compute_status,
    find_condition,
    is_complete,
    make_condition,
    progress_deadline,
    seconds_to_deadline,
    status_document,
    wanted_size,
)
from fairlead.cluster.controllers.revisions import (
    DESIRED,
    REVISION,
    ROOM,
    new_set_annotations,
    next_revision,
    number_at_key,
    revision_of,
    size_notes,
)
from fairlead.cluster.controllers.rollouts import Goal, Part, rescale, roll, rolling_goal, size_new_part
from fairlead.cluster.controllers.templates import HASH_LABEL, hash_template, identify_template, with_labels
from fairlead.kube.apps import Deployment, ReplicaSet
from fairlead.kube.documents import Document, mapping_at
from fairlead.kube.meta import Condition

COMPONENT = "deployment-controller"
DEFAULT_HISTORY = 10


class Templated(Struct, frozen=True):
    """A ReplicaSet with its template as it was written."""

    replica_set: ReplicaSet
    template: Document


class DeploymentView(Struct, frozen=True, kw_only=True):
    """A Deployment as its controller sees it: with its document as written and the ReplicaSets that are its own.

    `old_pods_left` tells whether any pod of an old ReplicaSet has not ended; only Recreate asks.
    """

    deployment: Deployment
    document: Document
    sets: tuple[Templated, ...]
    old_pods_left: bool
    now: float


def owner_of(deployment: Deployment) -> Owner:
    """The Deployment as the owner of its ReplicaSets."""
    meta = deployment.metadata
    deleting = meta.deletion_timestamp is not None
    return Owner(api_version="apps/v1", kind="Deployment", name=meta.name, uid=meta.uid, deleting=deleting)


def find_new(document: Document, sets: Sequence[Templated]) -> Templated | None:
    """The ReplicaSet of the present template: the oldest, should there be several (util.FindNewReplicaSet)."""
    wanted = identify_template(mapping_at(document, "spec", "template"))
    found = [each for each in sets if identify_template(each.template) == wanted]
    return min(found, key=lambda each: _age(each.replica_set), default=None)


def new_set_name(deployment: Deployment, document: Document) -> tuple[str, str]:
    """The name and the hash of the ReplicaSet for the present template."""
    identity = identify_template(mapping_at(document, "spec", "template"))
    digest = hash_template(identity, deployment.status.collision_count or 0)
    return f"{deployment.metadata.name}-{digest}", digest


def goal_of(deployment: Deployment) -> Goal:
    """The sizes its strategy allows."""
    size, strategy = wanted_size(deployment), deployment.spec.strategy
    if strategy.type == "Recreate":
        return Goal(size=size)
    rolling = strategy.rolling_update
    return rolling_goal(size, rolling.max_surge if rolling else None, rolling.max_unavailable if rolling else None)


def reconcile(view: DeploymentView) -> tuple[Action, ...]:
    """The next step of a Deployment, with the status that describes where it is."""
    return _Round(view).run()


class _Round:
    """One round over one Deployment: what is known once, and the actions as they come together."""

    def __init__(self, view: DeploymentView) -> None:
        self.view = view
        self.deployment = view.deployment
        self.goal = goal_of(view.deployment)
        new = find_new(view.document, view.sets)
        self.new = new.replica_set if new else None
        olds = (each.replica_set for each in view.sets if each is not new)
        self.olds = tuple(sorted(olds, key=_age))
        self.note: Condition | None = None
        self.actions: list[Action] = []

    def run(self) -> tuple[Action, ...]:
        if self.deployment.metadata.deletion_timestamp is None:
            self._step()
        self._write_status()
        return tuple(self.actions)

    def _step(self) -> None:
        """Upstream's ladder: a pause, then a change of size, then the strategy."""
        self._note_pause()
        recreate = self.deployment.spec.strategy.type == "Recreate"
        if self.deployment.spec.paused:
            if self.new is not None:
                self._annotate_new(self.new)
            self._rescale()
            self._clean_up()
            return
        if self._size_changed():
            self._rescale()
            return
        if recreate:
            self._recreate()
        else:
            self._roll()
        counted = compute_status(self._situation())
        if is_complete(self.deployment, counted):
            self._clean_up()

    def _note_pause(self) -> None:
        if progress_deadline(self.deployment) is None:
            return
        present = find_condition(self.deployment.status.conditions, PROGRESSING)
        noted = present is not None and present.reason == "DeploymentPaused"
        if present is not None and present.reason == "ProgressDeadlineExceeded":
            return
        if self.deployment.spec.paused and not noted:
            self._note("Unknown", "DeploymentPaused", "Deployment is paused")
        elif not self.deployment.spec.paused and noted:
            self._note("Unknown", "DeploymentResumed", "Deployment is resumed")

    def _size_changed(self) -> bool:
        sets = (self.new, *self.olds) if self.new else self.olds
        noted = [number_at_key(each.metadata.annotations, DESIRED) for each in sets if _size(each) > 0]
        return any(size is not None and size != self.goal.size for size in noted)

    def _rescale(self) -> None:
        rolling = self.deployment.spec.strategy.type != "Recreate"
        new = _part(self.new) if self.new else None
        before = self.deployment.status.replicas
        sizes = rescale(self.goal, new, [_part(each) for each in self.olds], rolling=rolling, room_before=before)
        for each in (self.new, *self.olds) if self.new else self.olds:
            size = sizes.get(each.metadata.name, _size(each))
            if size != _size(each) or size > 0:
                self._size(each, size)

    def _roll(self) -> None:
        new = self._ensure_new(lambda: size_new_part(self.goal, 0, sum(_size(each) for each in self.olds)))
        if new is None:
            return
        sizes = roll(self.goal, _part(new), [_part(each) for each in self.olds])
        for each in (new, *self.olds):
            if each.metadata.name in sizes:
                self._size(each, sizes[each.metadata.name])

    def _recreate(self) -> None:
        active = [each for each in self.olds if _size(each) > 0]
        for each in active:
            self._size(each, 0)
        if active or self.view.old_pods_left:
            return
        new = self._ensure_new(lambda: self.goal.size)
        if new is not None and _size(new) != self.goal.size:
            self._size(new, self.goal.size)

    def _ensure_new(self, first_size: Callable[[], int]) -> ReplicaSet | None:
        """The new ReplicaSet with its annotations up to date; None when it is only being made in this round."""
        if self.new is not None:
            self._annotate_new(self.new)
            if find_condition(self.deployment.status.conditions, PROGRESSING) is None:
                self._note("True", "FoundNewReplicaSet", f'Found new replica set "{self.new.metadata.name}"')
            return self.new
        size = first_size()
        revision = next_revision([each.metadata.annotations for each in self.olds])
        name, digest = new_set_name(self.deployment, self.view.document)
        self.actions.append(self._create(name, digest, size, revision))
        self._tell_scaled(name, 0, size)
        self._note_revision(revision)
        self._note("True", "NewReplicaSetCreated", f'Created new replica set "{name}"')
        return None

    def _create(self, name: str, digest: str, size: int, revision: int) -> Create:
        deployment = self.deployment
        template = with_labels(mapping_at(self.view.document, "spec", "template"), {HASH_LABEL: digest})
        selector = mapping_at(self.view.document, "spec", "selector")
        annotations = new_set_annotations(deployment.metadata.annotations, {}, revision)
        document: Document = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": name,
                "namespace": deployment.metadata.namespace,
                "labels": mapping_at(template, "metadata", "labels"),
                "annotations": {**annotations, **size_notes(self.goal.size, self.goal.room)},
                "ownerReferences": [owner_of(deployment).reference()],
            },
            "spec": {
                "replicas": size,
                "minReadySeconds": deployment.spec.min_ready_seconds,
                "selector": {**selector, "matchLabels": {**mapping_at(selector, "matchLabels"), HASH_LABEL: digest}},
                "template": template,
            },
        }
        return Create(kind=ReplicaSet, document=document)

    def _annotate_new(self, new: ReplicaSet) -> None:
        revision = next_revision([each.metadata.annotations for each in self.olds])
        present = new.metadata.annotations
        missing = new_set_annotations(self.deployment.metadata.annotations, present, revision)
        patch: Document = {}
        if missing:
            patch["metadata"] = {"annotations": {**missing}}
        if new.spec.min_ready_seconds != self.deployment.spec.min_ready_seconds:
            patch["spec"] = {"minReadySeconds": self.deployment.spec.min_ready_seconds}
        if patch:
            self.actions.append(_patch_set(new, patch))
        self._note_revision(max(revision, revision_of(present)))

    def _note_revision(self, revision: int) -> None:
        meta = self.deployment.metadata
        if meta.annotations.get(REVISION) != str(revision):
            patch: Document = {"metadata": {"annotations": {REVISION: str(revision)}}}
            self.actions.append(Patch(kind=Deployment, namespace=meta.namespace, name=meta.name, patch=patch))

    def _size(self, replica_set: ReplicaSet, size: int) -> None:
        """Ask a ReplicaSet for `size` pods, and note what it was sized for."""
        notes = size_notes(self.goal.size, self.goal.room)
        old = _size(replica_set)
        if size == old and notes.items() <= replica_set.metadata.annotations.items():
            return
        self.actions.append(
            _patch_set(replica_set, {"metadata": {"annotations": {**notes}}, "spec": {"replicas": size}})
        )
        if size != old:
            self._tell_scaled(replica_set.metadata.name, old, size)

    def _tell_scaled(self, name: str, old: int, size: int) -> None:
        if size == old:
            return
        verb = "up" if size > old else "down"
        message = f"Scaled {verb} replica set {name} from {old} to {size}"
        told = Tell(about=_about(self.deployment), reason="ScalingReplicaSet", message=message, component=COMPONENT)
        self.actions.append(told)

    def _clean_up(self) -> None:
        """Remove the oldest ReplicaSets that are empty beyond the limit of the history."""
        limit = self.deployment.spec.revision_history_limit
        limit = DEFAULT_HISTORY if limit is None else limit
        kept = [each for each in self.olds if each.metadata.deletion_timestamp is None]
        surplus = len(kept) - limit
        by_revision = sorted(kept, key=lambda each: (revision_of(each.metadata.annotations), _age(each)))
        for each in by_revision[: max(surplus, 0)]:
            followed = each.status.observed_generation >= each.metadata.generation
            if each.status.replicas == 0 and _size(each) == 0 and followed:
                meta = each.metadata
                self.actions.append(Delete(kind=ReplicaSet, namespace=meta.namespace, name=meta.name, uid=meta.uid))

    def _note(self, status: str, reason: str, message: str) -> None:
        if progress_deadline(self.deployment) is not None:
            self.note = make_condition(PROGRESSING, status, reason, message, self.view.now)

    def _situation(self) -> Situation:
        return Situation(
            deployment=self.deployment,
            new=self.new,
            olds=self.olds,
            floor=self.goal.floor if self.deployment.spec.strategy.type != "Recreate" else self.goal.size,
            now=self.view.now,
            note=self.note,
        )

    def _write_status(self) -> None:
        situation = self._situation()
        status = compute_status(situation)
        meta = self.deployment.metadata
        if status != self.deployment.status:
            patch: Document = {"status": status_document(status)}
            self.actions.append(
                Patch(
                    kind=Deployment,
                    namespace=meta.namespace,
                    name=meta.name,
                    patch=patch,
                    subresource="status",
                )
            )
        wait = seconds_to_deadline(situation, status)
        if wait is not None:
            self.actions.append(Again(wait))


def _part(replica_set: ReplicaSet) -> Part:
    meta = replica_set.metadata
    return Part(
        name=meta.name,
        created=meta.creation_timestamp or "",
        size=_size(replica_set),
        available=replica_set.status.available_replicas,
        room=number_at_key(meta.annotations, ROOM),
    )


def _size(replica_set: ReplicaSet) -> int:
    return 1 if replica_set.spec.replicas is None else replica_set.spec.replicas


def _age(replica_set: ReplicaSet) -> tuple[str, str]:
    return replica_set.metadata.creation_timestamp or "", replica_set.metadata.name


def _patch_set(replica_set: ReplicaSet, patch: Document) -> Patch:
    meta = replica_set.metadata
    return Patch(kind=ReplicaSet, namespace=meta.namespace, name=meta.name, patch=patch)


def _about(deployment: Deployment) -> About:
    meta = deployment.metadata
    return About(api_version="apps/v1", kind="Deployment", namespace=meta.namespace, name=meta.name, uid=meta.uid)
