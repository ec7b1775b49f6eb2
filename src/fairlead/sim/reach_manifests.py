"""The objects that decide who may talk to whom, from manifests alone.

Comes in: documents. Goes out: PolicyObjects, pods and endpoints as a cluster would make them. A namespace that only
objects name has the label every namespace has.
"""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from fairlead.kube.core import Namespace
from fairlead.kube.documents import Document, mapping_at, text_at
from fairlead.kube.meta import KubeObject
from fairlead.kube.networking import Ingress, NetworkPolicy
from fairlead.kube.policy import ClusterNetworkPolicy
from fairlead.sim.manifests import derive_world
from fairlead.sim.reach_objects import PolicyObjects

T = TypeVar("T", bound=KubeObject)


def objects_of(documents: Sequence[Document]) -> PolicyObjects:
    """Return the objects. Raises ValueError for one whose fields have wrong types."""
    world = derive_world(documents)
    return PolicyObjects(
        namespaces=_typed(documents, Namespace, namespaced=False),
        pods=tuple(world.pods.values()),
        policies=(
            *_typed(documents, NetworkPolicy, namespaced=True),
            *_typed(documents, ClusterNetworkPolicy, namespaced=False),
        ),
        services=tuple(world.services.values()),
        slices=tuple(piece for pieces in world.slices.values() for piece in pieces),
        ingresses=_typed(documents, Ingress, namespaced=True),
    )


def _typed(documents: Sequence[Document], kind: type[T], *, namespaced: bool) -> tuple[T, ...]:
    found: list[T] = []
    for document in documents:
        if text_at(document, "kind") != kind.__name__:
            continue
        metadata: Document = {**mapping_at(document, "metadata")}
        if namespaced:
            metadata.setdefault("namespace", "default")
        try:
            found.append(msgspec.convert({**document, "metadata": metadata}, kind))
        except msgspec.ValidationError as error:
            where = f"{kind.__name__} {metadata.get('namespace', '')}/{metadata.get('name', '')}"
            raise ValueError(f"{where}: {error}") from None
    return tuple(found)
