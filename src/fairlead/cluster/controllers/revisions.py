"""What a Deployment writes on its ReplicaSets and on itself to keep its history: annotations come in, annotations
go out.

`kubectl rollout history` and `undo` read them (pkg/controller/deployment/util/deployment_util.go). Knows no sizes
beyond the two it notes.
"""

from collections.abc import Iterable, Mapping

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
ROOM = "deployment.kubernetes.io/max-replicas"
_NOT_COPIED = {
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    ROOM,
}


def revision_of(annotations: Mapping[str, str]) -> int:
    """The revision noted on an object, 0 when there is none."""
    text = annotations.get(REVISION, "")
    return int(text) if text.isdigit() else 0


def next_revision(olds: Iterable[Mapping[str, str]]) -> int:
    """The revision of the newest template: one more than any old ReplicaSet's."""
    return max((revision_of(each) for each in olds), default=0) + 1


def number_at_key(annotations: Mapping[str, str], key: str) -> int | None:
    """A size noted in an annotation, or None."""
    text = annotations.get(key, "")
    return int(text) if text.isdigit() else None


def size_notes(size: int, room: int) -> dict[str, str]:
    """What a ReplicaSet notes of the Deployment it was sized for."""
    return {DESIRED: str(size), ROOM: str(room)}


def new_set_annotations(deployment: Mapping[str, str], present: Mapping[str, str], revision: int) -> dict[str, str]:
    """The annotations that the new ReplicaSet lacks: copies of the Deployment's, and its revision, which never goes
    down.

    A set that comes back by a roll-back notes the revisions it had before.
    """
    wanted = {key: value for key, value in deployment.items() if key not in _NOT_COPIED}
    old = revision_of(present)
    if old < revision:
        wanted[REVISION] = str(revision)
        if old:
            history = present.get(REVISION_HISTORY, "")
            wanted[REVISION_HISTORY] = f"{history},{old}" if history else str(old)
    return {key: value for key, value in wanted.items() if present.get(key) != value}
