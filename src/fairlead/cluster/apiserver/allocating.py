"""The allocators of services kept in step with the store.

In: services about to be written, and every change the store makes or takes back. Out: services with their addresses
and ports. The rules are the kinds'; this module only sees that what is taken is what is stored.
"""

from fairlead.cluster.apiserver.kinds.allocators import AllocationFailedError, Allocators
from fairlead.cluster.apiserver.kinds.errors import FieldError
from fairlead.cluster.apiserver.kinds.pools import Chance
from fairlead.cluster.apiserver.kinds.spec import KindSpec
from fairlead.cluster.apiserver.statuses import internal
from fairlead.cluster.apiserver.store import Store, Stored
from fairlead.kube.documents import Document
from fairlead.net import Prefix

SERVICES = ("", "services")


class Allocating:
    """Gives services what they need; subscribed to the store for as long as that lives."""

    def __init__(self, store: Store, ranges: tuple[Prefix, ...], chance: Chance) -> None:
        """Take over what the stored services have."""
        self._allocators = Allocators(ranges, chance, (each.document() for each in store.items(SERVICES)))
        store.follow(SERVICES, self._changed)

    def allocate(self, kind: KindSpec, document: Document, old: Document | None) -> list[FieldError]:
        """Fill in what a service lacks; return what it asks for and cannot have. Raises 500 where nothing is left."""
        if (kind.resource.group, kind.resource.plural) != SERVICES:
            return []
        try:
            problem = self._allocators.allocate(document, old)
        except AllocationFailedError as error:
            raise internal(str(error)) from error
        return [problem] if problem else []

    def _changed(self, new: Stored | None, old: Stored | None) -> None:
        self._allocators.commit(new.document() if new else None, old.document() if old else None)
