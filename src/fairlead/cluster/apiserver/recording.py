"""Whose address is whose, written down together with each service: the IPAddress objects, and the end of ranges.

In: every change of a service, as it is staged. Out: the IPAddress objects that go with it, staged in the same commit
(KEP-1880), and ServiceCIDRs let go once no address holds them. Upstream's controllers for both live here, because the
store changes in one step.
"""

from collections.abc import Callable

from fairlead.cluster.apiserver.allocating import ADDRESSES, RANGES, SERVICES, Allocating, address_changes
from fairlead.cluster.apiserver.kinds.addresses import PROTECTION
from fairlead.cluster.apiserver.objectmeta import is_finished, metadata_of
from fairlead.cluster.apiserver.store import ResourceKey, Store, Stored
from fairlead.kube.documents import Document, items_at


class AddressRecords:
    """Keeps the addresses' objects true to the services."""

    def __init__(self, store: Store, allocating: Allocating, stamp: Callable[[], Document]) -> None:
        """`stamp` gives what the metadata of a new object begins with: a uid and the time."""
        self._store = store
        self._allocating = allocating
        self._stamp = stamp

    def follow(self, resource: ResourceKey, new: Stored | None, old: Stored | None) -> None:
        """Take up a change of any resource that was just staged; services and addresses matter."""
        if resource == SERVICES:
            self._record(new, old)
        elif resource == ADDRESSES and new is None:
            self.finish_ranges()

    def _record(self, new: Stored | None, old: Stored | None) -> None:
        for name, document in address_changes(new.document() if new else None, old.document() if old else None):
            if document is not None:
                metadata_of(document).update(self._stamp())
                self._store.put(ADDRESSES, ("", name), document)
            elif self._store.get(ADDRESSES, ("", name)) is not None:
                self._store.delete(ADDRESSES, ("", name))
                self.finish_ranges()

    def finish_ranges(self) -> None:
        """Let go of ranges that are going and that no address holds any more."""
        for stored in self._allocating.finished_ranges():
            document = stored.document()
            metadata = metadata_of(document)
            metadata["finalizers"] = [each for each in items_at(metadata, "finalizers") if each != PROTECTION]
            if is_finished(document):
                self._store.delete(RANGES, stored.key, document)
            else:
                self._store.put(RANGES, stored.key, document)
