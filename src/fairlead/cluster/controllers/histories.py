"""The revisions of a StatefulSet or DaemonSet: a template and the ControllerRevisions there are come in; the revision
of the template and what to create, renumber or delete go out.

Semantics of upstream's pkg/controller/history. A template equal to a former one takes that one's revision, with a new
number, so that `kubectl rollout history` and `undo` work.
"""

from collections.abc import Iterable, Sequence
from typing import cast

from msgspec import Struct

from fairlead.cluster.controllers.actions import Action, Create, Delete, Patch
from fairlead.cluster.controllers.ownership import Owner
from fairlead.cluster.controllers.templates import hash_template, identify_template
from fairlead.kube.apps import ControllerRevision
from fairlead.kube.documents import Document, mapping_at, strings_at

HASH_LABEL = "controller.kubernetes.io/hash"


class History(Struct, frozen=True):
    """The revision of the present template, and what makes the API say so."""

    update: str
    """Its ControllerRevision's name."""
    actions: tuple[Action, ...]


def template_of(revision: ControllerRevision) -> Document:
    """The pod template a revision keeps."""
    template = mapping_at(cast(Document, revision.data), "spec", "template")
    return {key: value for key, value in template.items() if key != "$patch"}


def sorted_revisions(revisions: Iterable[ControllerRevision]) -> list[ControllerRevision]:
    """Oldest first: by number, then by age and name."""
    return sorted(
        revisions, key=lambda each: (each.revision, each.metadata.creation_timestamp or "", each.metadata.name)
    )


def find_history(
    owner: Owner, namespace: str, template: Document, revisions: Iterable[ControllerRevision], collisions: int = 0
) -> History:
    """Find the template's revision, or say how to make it."""
    known = sorted_revisions(revisions)
    identity = identify_template(template)
    equal = [each for each in known if identify_template(template_of(each)) == identity]
    number = known[-1].revision + 1 if known else 1
    if equal:
        found = equal[-1]
        if found is known[-1]:
            return History(found.metadata.name, ())
        patch: Document = {"revision": number}
        renumbered = Patch(kind=ControllerRevision, namespace=namespace, name=found.metadata.name, patch=patch)
        return History(found.metadata.name, (renumbered,))
    digest = hash_template(identity, collisions)
    name = f"{owner.name[:223]}-{digest}"
    document: Document = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {**strings_at(template, "metadata", "labels"), HASH_LABEL: digest},
            "ownerReferences": [owner.reference()],
        },
        "data": {"spec": {"template": {**template, "$patch": "replace"}}},
        "revision": number,
    }
    return History(name, (Create(kind=ControllerRevision, document=document),))


def outdated(revisions: Iterable[ControllerRevision], in_use: set[str], limit: int) -> Sequence[Delete]:
    """The oldest revisions beyond `limit` of those nobody uses."""
    idle = [each for each in sorted_revisions(revisions) if each.metadata.name not in in_use]
    return [
        Delete(
            kind=ControllerRevision,
            namespace=each.metadata.namespace,
            name=each.metadata.name,
            uid=each.metadata.uid,
        )
        for each in idle[: max(len(idle) - limit, 0)]
    ]
