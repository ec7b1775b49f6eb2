"""Who controls whom: a selector, an owner and candidates come in; claimed objects and the patches to claim or let
go come out.

The rules of upstream's ControllerRefManager: an object with our reference stays while it matches, one without any
controller is adopted when it matches, both only while the owner itself is not being deleted.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec import Struct

from fairlead.cluster.controllers.actions import Patch
from fairlead.cluster.controllers.informers import controller_uid
from fairlead.kube.documents import Document, Json, text_at
from fairlead.kube.meta import KubeObject

T = TypeVar("T", bound=KubeObject)


class Owner(Struct, frozen=True, kw_only=True):
    """The controlling object, as references to it name it."""

    api_version: str
    kind: str
    name: str
    uid: str
    deleting: bool

    def reference(self) -> Document:
        """The owner reference its dependents carry."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


def claim(
    owner: Owner,
    kind: type[KubeObject],
    candidates: Iterable[T],
    matches: Callable[[T], bool],
) -> tuple[list[T], list[Patch]]:
    """Split candidates into those that are the owner's now, and the patches that adopt or release others."""
    claimed: list[T] = []
    patches: list[Patch] = []
    for each in candidates:
        uid = controller_uid(each)
        if uid == owner.uid:
            if matches(each):
                claimed.append(each)
            elif not owner.deleting:
                patches.append(_patch(kind, each, _without(each, frozenset({owner.uid}))))
        elif not uid and not owner.deleting and each.metadata.deletion_timestamp is None and matches(each):
            patches.append(_patch(kind, each, [*_references(each), owner.reference()]))
    return claimed, patches


def without_owners(kind: type[KubeObject], item: KubeObject, uids: frozenset[str]) -> Patch:
    """The patch that takes the owners with these uids off an object."""
    return _patch(kind, item, _without(item, uids))


def _patch(kind: type[KubeObject], item: KubeObject, references: list[Json]) -> Patch:
    meta = item.metadata
    changed: Document = {"uid": meta.uid, "resourceVersion": meta.resource_version, "ownerReferences": references}
    return Patch(kind=kind, namespace=meta.namespace, name=meta.name, patch={"metadata": changed})


def _without(item: KubeObject, uids: frozenset[str]) -> list[Json]:
    return [each for each in _references(item) if text_at(each, "uid") not in uids]


def _references(item: KubeObject) -> list[Json]:
    references: list[Json] = []
    for each in item.metadata.owner_references:
        reference: Document = {
            "apiVersion": each.api_version,
            "kind": each.kind,
            "name": each.name,
            "uid": each.uid,
        }
        if each.controller:
            reference["controller"] = True
        if each.block_owner_deletion:
            reference["blockOwnerDeletion"] = True
        references.append(reference)
    return references
