"""The kinds that definitions make, as they come and go.

In: the store. Out: the present kinds and their OpenAPI documents; and the end of a definition, which takes its
objects along. Source: k8s.io/apiextensions-apiserver (customresource_handler.go, finalizer/crd_finalizer.go).
"""

import re
from collections.abc import Mapping

from fairlead.cluster.apiserver.custom.definitions import FINALIZER
from fairlead.cluster.apiserver.custom.kinds import DEFINITION, kinds_of
from fairlead.cluster.apiserver.deleting import DeleteOptions, delete_stored
from fairlead.cluster.apiserver.kinds.spec import KindSpec
from fairlead.cluster.apiserver.store import Store, Stored
from fairlead.cluster.apiserver.tables import Clock
from fairlead.cluster.apiserver.writing import Writer
from fairlead.kube.documents import items_at, text_at

DEFINITIONS = (DEFINITION.resource.group, DEFINITION.resource.plural)

_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")
_STAGES = {None: 2, "beta": 1, "alpha": 0}


def version_order(name: str) -> tuple[int, int, int, str]:
    """Return the key by which versions sort, the most stable and newest first (apimachinery, pkg/version)."""
    match = _VERSION.fullmatch(name)
    if match is None:
        return (1, 0, 0, name)
    return (-_STAGES[match[2]] - 10, -int(match[1]), -int(match[3] or 0), name)


class Definitions:
    """The CustomResourceDefinitions of a store."""

    def __init__(self, store: Store, writer: Writer, clock: Clock) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self.edition = 1
        """Grows with every change of a definition."""
        self._read = 0
        self._going: list[Stored] = []
        self._documents: Mapping[str, bytes] | None = None
        self._kinds: tuple[KindSpec, ...] = ()
        store.follow(DEFINITIONS, self._changed)

    def _changed(self, new: Stored | None, old: Stored | None) -> None:
        self.edition += 1

    def kinds(self) -> tuple[KindSpec, ...]:
        """Return the kinds of all definitions, the preferred version of a group first."""
        if self._read != self.edition:
            self._read = self.edition
            self._documents = None
            stored = list(self._store.items(DEFINITIONS))
            self._going = [each for each in stored if text_at(each.document(), "metadata", "deletionTimestamp")]
            found = [kind for each in stored for kind in kinds_of(each.document())]
            self._kinds = tuple(sorted(found, key=lambda kind: version_order(kind.resource.version)))
        return self._kinds

    def documents(self) -> Mapping[str, bytes]:
        """Return the OpenAPI documents of the kinds by their path, such as apis/example.com/v1."""
        kinds = self.kinds()
        if self._documents is None:
            from fairlead.cluster.apiserver.kinds.openapi import custom_documents

            self._documents = custom_documents(kinds)
        return self._documents

    def run(self) -> None:
        """Delete the objects of definitions that are going, and let go of those that have none left."""
        self.kinds()
        for stored in tuple(self._going):
            self._empty(stored)

    def _empty(self, definition: Stored) -> None:
        current = self._store.get(DEFINITIONS, definition.key)
        if current is None:
            self._going.remove(definition)
            return
        document = current.document()
        resource = (text_at(document, "spec", "group"), text_at(document, "spec", "names", "plural"))
        for kind in kinds_of(document):
            for each in tuple(self._store.items(resource)):
                if not text_at(each.document(), "metadata", "deletionTimestamp"):
                    delete_stored(kind, each, DeleteOptions(), self._writer, self._clock)
            break
        finalizers = items_at(document, "metadata", "finalizers")
        if self._store.count(resource) == 0 and FINALIZER in finalizers:
            metadata = document["metadata"]
            assert isinstance(metadata, dict)
            metadata["finalizers"] = [each for each in finalizers if each != FINALIZER]
            self._writer.settle(DEFINITION, current, document)
