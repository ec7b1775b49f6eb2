"""The columns of Deployments, ReplicaSets, DaemonSets, StatefulSets and ControllerRevisions.

Source: printDeployment, printReplicaSet, printDaemonSet, printStatefulSet and printControllerRevision of
k8s.io/kubernetes/pkg/printers/internalversion/printers.go.
"""

from fairlead.cluster.apiserver.kinds.columns.plain import AGE, NAME, age_of, name_of
from fairlead.cluster.apiserver.kinds.columns.texts import CONTAINERS, IMAGES, SELECTOR, labels_text, template_cells
from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.spec import Column
from fairlead.kube.documents import Document, Json, mapping_at, number_at, strings_at, text_at

_UP_TO_DATE = "Pods that are made from the present template."
_AVAILABLE = "Pods that have been ready for long enough."
_TEMPLATE = (CONTAINERS, IMAGES, SELECTOR)

DEPLOYMENT = (
    NAME,
    Column("Ready", "string", "", "How many of the wanted pods are ready."),
    Column("Up-to-date", "string", "", _UP_TO_DATE),
    Column("Available", "string", "", _AVAILABLE),
    AGE,
    *_TEMPLATE,
)
REPLICA_SET = (
    NAME,
    Column("Desired", "integer", "", "How many pods are wanted."),
    Column("Current", "integer", "", "How many pods there are."),
    Column("Ready", "integer", "", "How many pods are ready."),
    AGE,
    *_TEMPLATE,
)
DAEMON_SET = (
    NAME,
    Column("Desired", "integer", "", "How many nodes should run the pod."),
    Column("Current", "integer", "", "How many nodes run the pod."),
    Column("Ready", "integer", "", "How many nodes run a ready pod."),
    Column("Up-to-date", "integer", "", _UP_TO_DATE),
    Column("Available", "integer", "", _AVAILABLE),
    Column("Node Selector", "string", "", "The labels of the nodes that should run the pod."),
    AGE,
    *_TEMPLATE,
)


STATEFUL_SET = (
    NAME,
    Column("Ready", "string", "", "How many of the wanted pods are ready."),
    AGE,
    CONTAINERS,
    IMAGES,
)
CONTROLLER_REVISION = (
    NAME,
    Column("Controller", "string", "", "The object whose former state this is."),
    Column("Revision", "string", "", "The number of the state, counted up."),
    AGE,
)


def _spec(document: Document, field: str) -> int:
    return number_at(document, "spec", field) or 0


def _status(document: Document, field: str) -> int:
    return number_at(document, "status", field) or 0


def deployment_row(deployment: Document, now: float) -> list[Json]:
    """Return the cells of `DEPLOYMENT`."""
    return [
        name_of(deployment),
        f"{_status(deployment, 'readyReplicas')}/{_spec(deployment, 'replicas')}",
        str(_status(deployment, "updatedReplicas")),
        str(_status(deployment, "availableReplicas")),
        age_of(deployment, now),
        *template_cells(deployment),
    ]


def replica_set_row(replica_set: Document, now: float) -> list[Json]:
    """Return the cells of `REPLICA_SET`."""
    return [
        name_of(replica_set),
        _spec(replica_set, "replicas"),
        _status(replica_set, "replicas"),
        _status(replica_set, "readyReplicas"),
        age_of(replica_set, now),
        *template_cells(replica_set),
    ]


def daemon_set_row(daemon_set: Document, now: float) -> list[Json]:
    """Return the cells of `DAEMON_SET`."""
    return [
        name_of(daemon_set),
        _status(daemon_set, "desiredNumberScheduled"),
        _status(daemon_set, "currentNumberScheduled"),
        _status(daemon_set, "numberReady"),
        _status(daemon_set, "updatedNumberScheduled"),
        _status(daemon_set, "numberAvailable"),
        labels_text(strings_at(daemon_set, "spec", "template", "spec", "nodeSelector")),
        age_of(daemon_set, now),
        *template_cells(daemon_set),
    ]


def stateful_set_row(stateful_set: Document, now: float) -> list[Json]:
    """Return the cells of `STATEFUL_SET`."""
    return [
        name_of(stateful_set),
        f"{_status(stateful_set, 'readyReplicas')}/{_spec(stateful_set, 'replicas')}",
        age_of(stateful_set, now),
        *template_cells(stateful_set)[:2],
    ]


def controller_revision_row(revision: Document, now: float) -> list[Json]:
    """Return the cells of `CONTROLLER_REVISION`."""
    owners = [each for each in children(mapping_at(revision, "metadata"), "ownerReferences") if each.get("controller")]
    kinds = (text_at(each, "kind").lower() for each in owners)
    groups = (text_at(each, "apiVersion").rpartition("/")[0] for each in owners)
    names = (text_at(each, "name") for each in owners)
    owner = next((f"{kind}.{group}/{name}" for kind, group, name in zip(kinds, groups, names, strict=True)), "<none>")
    return [name_of(revision), owner, str(number_at(revision, "revision") or 0), age_of(revision, now)]
