"""StatefulSets: one with its pods and revisions comes in; pods to create, replace and delete and its status go out.

Semantics of upstream's pkg/controller/statefulset/stateful_set_control.go. A pod's number is its identity: it keeps
name, host name and claims. OrderedReady takes one step at a time, upwards when there are too few pods, downwards when
there are too many or the template is new; Parallel takes all at once.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from fairlead.cluster.controllers.actions import About, Action, Again, Create, Delete, Patch, Tell
from fairlead.cluster.controllers.histories import outdated
from fairlead.cluster.controllers.ownership import Owner
from fairlead.cluster.controllers.pods import is_finished, is_ready, seconds_until_available
from fairlead.cluster.controllers.replicasets import delete_pod
from fairlead.cluster.controllers.rollouts import resolve_share
from fairlead.cluster.controllers.templates import make_pod, with_labels
from fairlead.kube.apps import ControllerRevision, StatefulSet
from fairlead.kube.core import Pod
from fairlead.kube.documents import Document, Json, items_at, mapping_at, text_at
from fairlead.kube.storage import PersistentVolumeClaim

REVISION_LABEL = "controller-revision-hash"
POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"
COMPONENT = "statefulset-controller"
_KEPT_REVISIONS = 10


class StatefulView(Struct, frozen=True, kw_only=True):
    """A StatefulSet as its controller sees it: the set, its own pods, and the templates of its revisions by name."""

    stateful_set: StatefulSet
    spec: Document
    """As its author wrote it."""
    pods: tuple[Pod, ...]
    revisions: tuple[ControllerRevision, ...]
    templates: Mapping[str, Document]
    update: str
    """The revision of the present template."""
    now: float


def owner_of(stateful_set: StatefulSet) -> Owner:
    """The set as the owner of its pods and revisions."""
    meta = stateful_set.metadata
    deleting = meta.deletion_timestamp is not None
    return Owner(api_version="apps/v1", kind="StatefulSet", name=meta.name, uid=meta.uid, deleting=deleting)


def number_of(stateful_set: StatefulSet, pod_name: str) -> int | None:
    """The number of a pod by its name, or None for a name that is none of the set's."""
    prefix, _, digits = pod_name.rpartition("-")
    return int(digits) if prefix == stateful_set.metadata.name and digits.isdigit() else None


def reconcile(view: StatefulView) -> tuple[Action, ...]:
    """The next steps and the status."""
    current = _current_revision(view)
    actions: list[Action] = []
    if view.stateful_set.metadata.deletion_timestamp is None:
        actions += _Round(view, current).steps()
    in_use = {view.update, current, *(pod.metadata.labels.get(REVISION_LABEL, "") for pod in view.pods)}
    limit = view.stateful_set.spec.revision_history_limit
    actions += outdated(view.revisions, in_use, _KEPT_REVISIONS if limit is None else limit)
    return (*actions, *_status(view, current))


def _current_revision(view: StatefulView) -> str:
    """The revision that pods below a partition have; it follows the update once every pod has that."""
    known = view.stateful_set.status.current_revision
    return known if known in view.templates else view.update


class _Round:
    """One look at the set: what there is by number, and what is next."""

    def __init__(self, view: StatefulView, current: str) -> None:
        self._view = view
        self._current = current
        spec = view.stateful_set.spec
        self._start = spec.ordinals.start if spec.ordinals else 0
        self._size = 1 if spec.replicas is None else spec.replicas
        self._ordered = spec.pod_management_policy != "Parallel"
        self._pods: dict[int, Pod] = {}
        for pod in view.pods:
            number = number_of(view.stateful_set, pod.metadata.name)
            if number is not None:
                self._pods[number] = pod

    def steps(self) -> list[Action]:
        """What to do now, nothing while an earlier step is under way."""
        actions: list[Action] = []
        for number in range(self._start, self._start + self._size):
            pod = self._pods.get(number)
            step = self._make_right(number, pod)
            actions += step
            if self._ordered and (step or pod is None or not self._settled(pod)):
                return actions
        surplus = sorted((number for number in self._pods if not self._wanted(number)), reverse=True)
        for number in surplus:
            pod = self._pods[number]
            if pod.metadata.deletion_timestamp is None:
                actions.append(delete_pod(pod))
            if self._ordered:
                return actions
        return [*actions, *(() if actions or surplus else self._update())]

    def _wanted(self, number: int) -> bool:
        return self._start <= number < self._start + self._size

    def _make_right(self, number: int, pod: Pod | None) -> list[Action]:
        """Create a pod that is missing, replace one that has ended."""
        if pod is None:
            return [Create(kind=Pod, document=self._document(number))]
        if is_finished(pod) and pod.metadata.deletion_timestamp is None:
            return [delete_pod(pod)]
        return []

    def _settled(self, pod: Pod) -> bool:
        """Whether the next number may follow: running, ready for long enough, and not going."""
        if pod.metadata.deletion_timestamp is not None:
            return False
        return seconds_until_available(pod, self._view.stateful_set.spec.min_ready_seconds, self._view.now) == 0

    def _update(self) -> list[Action]:
        """Replace pods of an older template from the highest number down, as many as may be unavailable."""
        strategy = self._view.stateful_set.spec.update_strategy
        if strategy.type != "RollingUpdate":
            return []
        rolling = strategy.rolling_update
        first = max(self._start, self._start + (rolling.partition or 0)) if rolling else self._start
        share = rolling.max_unavailable if rolling is not None and rolling.max_unavailable is not None else 1
        left = max(resolve_share(share, self._size, round_up=True), 1)
        actions: list[Action] = []
        for number in range(self._start + self._size - 1, first - 1, -1):
            pod = self._pods[number]
            if pod.metadata.deletion_timestamp is None and pod.metadata.labels.get(REVISION_LABEL) != self._view.update:
                actions.append(delete_pod(pod))
                left -= 1
            elif not self._settled(pod):
                left -= 1
            if left <= 0:
                break
        return actions

    def _revision(self, number: int) -> str:
        """The revision a new pod is made of: the former one below a partition, while there is one."""
        rolling = self._view.stateful_set.spec.update_strategy.rolling_update
        partition = (rolling.partition or 0) if rolling else 0
        return self._current if number - self._start < partition else self._view.update

    def _document(self, number: int) -> Document:
        view, revision = self._view, self._revision(number)
        meta = view.stateful_set.metadata
        name = f"{meta.name}-{number}"
        template = with_labels(
            view.templates[revision], {REVISION_LABEL: revision, POD_NAME_LABEL: name, INDEX_LABEL: str(number)}
        )
        pod = make_pod(template, prefix="", namespace=meta.namespace, owner=owner_of(view.stateful_set).reference())
        metadata = {**mapping_at(pod, "metadata"), "name": name}
        del metadata["generateName"]
        spec = {
            **mapping_at(pod, "spec"),
            "hostname": name,
            "subdomain": view.stateful_set.spec.service_name or None,
        }
        claims = _claimed(view.spec, name)
        if claims:
            own = {text_at(each, "name") for each in claims}
            kept = [each for each in items_at(spec, "volumes") if text_at(each, "name") not in own]
            spec["volumes"] = [*kept, *claims]
        return {**pod, "metadata": metadata, "spec": {key: value for key, value in spec.items() if value is not None}}


def claims_of(stateful_set: StatefulSet, spec: Document, pod: str) -> list[Document]:
    """The claims a pod needs by the claim templates; they outlive it, and the set too unless it says otherwise."""
    meta, retention = stateful_set.metadata, stateful_set.spec.persistent_volume_claim_retention_policy
    owners: list[Json] = []
    if retention is not None and retention.when_deleted == "Delete":
        owners.append({**owner_of(stateful_set).reference(), "blockOwnerDeletion": False})
    labels = dict(stateful_set.spec.selector.match_labels)
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                **mapping_at(each, "metadata"),
                "name": claim_name(text_at(each, "metadata", "name"), pod),
                "namespace": meta.namespace,
                "labels": {**mapping_at(each, "metadata", "labels"), **labels},
                "ownerReferences": owners,
            },
            "spec": mapping_at(each, "spec"),
        }
        for each in items_at(spec, "volumeClaimTemplates")
    ]


def unneeded_claims(view: StatefulView, claims: Iterable[PersistentVolumeClaim]) -> list[Delete]:
    """The claims of numbers that were scaled away, where the set says that they go too."""
    spec = view.stateful_set.spec
    retention = spec.persistent_volume_claim_retention_policy
    if retention is None or retention.when_scaled != "Delete" or view.stateful_set.metadata.deletion_timestamp:
        return []
    start, size = spec.ordinals.start if spec.ordinals else 0, 1 if spec.replicas is None else spec.replicas
    present = {pod.metadata.name for pod in view.pods}
    present |= {f"{view.stateful_set.metadata.name}-{number}" for number in range(start, start + size)}
    templates = [text_at(each, "metadata", "name") for each in items_at(view.spec, "volumeClaimTemplates")]
    found: list[Delete] = []
    for claim in claims:
        meta = claim.metadata
        pods = [meta.name.removeprefix(f"{name}-") for name in templates if meta.name.startswith(f"{name}-")]
        mine = [pod for pod in pods if number_of(view.stateful_set, pod) is not None]
        if mine and mine[0] not in present and meta.deletion_timestamp is None:
            found.append(Delete(kind=PersistentVolumeClaim, namespace=meta.namespace, name=meta.name, uid=meta.uid))
    return found


def claim_name(template: str, pod: str) -> str:
    """The name of the claim a pod has by a claim template."""
    return f"{template}-{pod}"


def _claimed(spec: Document, pod: str) -> list[Json]:
    """The volumes of a pod that its claims fill."""
    names = [text_at(each, "metadata", "name") for each in items_at(spec, "volumeClaimTemplates")]
    return [{"name": name, "persistentVolumeClaim": {"claimName": claim_name(name, pod)}} for name in names]


def _status(view: StatefulView, current: str) -> Iterable[Action]:
    stateful_set = view.stateful_set
    meta, old, spec = stateful_set.metadata, stateful_set.status, stateful_set.spec
    living = [pod for pod in view.pods if not is_finished(pod)]
    staying = [pod for pod in living if pod.metadata.deletion_timestamp is None]
    waits = [seconds_until_available(pod, spec.min_ready_seconds, view.now) for pod in living]
    on_update = _count(staying, view.update)
    on_current = _count(staying, current)
    size = 1 if spec.replicas is None else spec.replicas
    if on_update == len(living) == size and all(wait == 0 for wait in waits):
        current, on_current = view.update, on_update  # the update is complete (completeRollingUpdate)
    status: Document = {
        "observedGeneration": meta.generation,
        "replicas": len(living),
        "readyReplicas": sum(is_ready(pod) for pod in living) or None,
        "currentReplicas": on_current or None,
        "updatedReplicas": on_update or None,
        "availableReplicas": sum(wait == 0 for wait in waits),
        "currentRevision": current,
        "updateRevision": view.update,
        "collisionCount": old.collision_count or 0,
    }
    known: Document = {
        "observedGeneration": old.observed_generation,
        "replicas": old.replicas,
        "readyReplicas": old.ready_replicas or None,
        "currentReplicas": old.current_replicas or None,
        "updatedReplicas": old.updated_replicas or None,
        "availableReplicas": old.available_replicas,
        "currentRevision": old.current_revision,
        "updateRevision": old.update_revision,
        "collisionCount": old.collision_count or 0,
    }
    if status != known:
        patch: Document = {"status": status}
        yield Patch(kind=StatefulSet, namespace=meta.namespace, name=meta.name, patch=patch, subresource="status")
    pending = [wait for wait in waits if wait]
    if pending:
        yield Again(min(pending) + 0.05)


def _count(pods: Sequence[Pod], revision: str) -> int:
    return sum(pod.metadata.labels.get(REVISION_LABEL) == revision for pod in pods)


def tell(stateful_set: StatefulSet, verb: str, pod: str, refused: str = "") -> Tell:
    """An Event about a pod of the set, in upstream's words."""
    meta = stateful_set.metadata
    about = About(api_version="apps/v1", kind="StatefulSet", namespace=meta.namespace, name=meta.name, uid=meta.uid)
    outcome, reason = ("failed error: " + refused, "Failed") if refused else ("successful", "Successful")
    message = f"{verb} Pod {pod} in StatefulSet {meta.name} {outcome}"
    return Tell(
        about=about,
        reason=f"{reason}{verb.capitalize()}",
        message=message,
        warning=bool(refused),
        component=COMPONENT,
    )
