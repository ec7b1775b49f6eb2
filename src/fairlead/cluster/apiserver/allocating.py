"""The allocators of services kept in step with the store.

In: services about to be written, and every change the store makes or takes back, of services, ranges and addresses.
Out: services with their addresses and ports; the IPAddress objects that say so (KEP-1880). The rules are the kinds';
this module only sees that what is taken is what is stored.
"""

from collections.abc import Iterator

from fairlead.cluster.apiserver.kinds.addresses import IP_ADDRESS, PROTECTION, SERVICE_CIDR
from fairlead.cluster.apiserver.kinds.allocators import AllocationFailedError, Allocators
from fairlead.cluster.apiserver.kinds.errors import FieldError
from fairlead.cluster.apiserver.kinds.pools import Chance
from fairlead.cluster.apiserver.kinds.spec import KindSpec
from fairlead.cluster.apiserver.statuses import internal
from fairlead.cluster.apiserver.store import Store, Stored
from fairlead.kube.documents import Document, items_at, mapping_at, text_at
from fairlead.net import Address, Prefix, parse_address, parse_prefix

SERVICES = ("", "services")
ADDRESSES = (IP_ADDRESS.resource.group, IP_ADDRESS.resource.plural)
RANGES = (SERVICE_CIDR.resource.group, SERVICE_CIDR.resource.plural)
MANAGED_BY = "ipallocator.k8s.io"


class Allocating:
    """Gives services what they need; subscribed to the store for as long as that lives."""

    def __init__(self, store: Store, ranges: tuple[Prefix, ...], chance: Chance) -> None:
        """Take over what the stored services have."""
        self._allocators = Allocators(ranges, chance, (each.document() for each in store.items(SERVICES)))
        self._store = store
        for each in store.items(RANGES):
            self._range_changed(each, None)
        for each in store.items(ADDRESSES):
            self._address_changed(each, None)
        store.follow(SERVICES, self._service_changed)
        store.follow(RANGES, self._range_changed)
        store.follow(ADDRESSES, self._address_changed)

    def allocate(self, kind: KindSpec, document: Document, old: Document | None) -> list[FieldError]:
        """Fill in what a service lacks; return what it asks for and cannot have. Raises 500 where nothing is left."""
        if (kind.resource.group, kind.resource.plural) != SERVICES:
            return []
        try:
            problem = self._allocators.allocate(document, old)
        except AllocationFailedError as error:
            raise internal(str(error)) from error
        return [problem] if problem else []

    def _service_changed(self, new: Stored | None, old: Stored | None) -> None:
        self._allocators.commit(new.document() if new else None, old.document() if old else None)

    def _range_changed(self, new: Stored | None, old: Stored | None) -> None:
        for prefix in _ranges_of(old):
            self._allocators.addresses.drop_range(prefix)
        if new is not None and not is_going(new.document()):
            for prefix in _ranges_of(new):
                self._allocators.addresses.add_range(prefix)

    def _address_changed(self, new: Stored | None, old: Stored | None) -> None:
        if new is not None:
            self._allocators.addresses.reserve(parse_address(new.key[1]))
        elif old is not None:
            self._allocators.addresses.give_back(parse_address(old.key[1]))

    def is_in_use(self, service_range: Document) -> bool:
        """Whether an address lies in a range that is going, and in no other."""
        name = text_at(service_range, "metadata", "name")
        going = _prefixes(service_range)
        staying = [
            prefix
            for each in self._store.items(RANGES)
            if each.key[1] != name and not is_going(each.document())
            for prefix in _ranges_of(each)
        ]
        addresses = (parse_address(each.key[1]) for each in self._store.items(ADDRESSES))
        return any(_within(each, going) and not _within(each, staying) for each in addresses)

    def finished_ranges(self) -> list[Stored]:
        """The ranges that go and whose protection has nothing left to protect."""
        return [
            each
            for each in self._store.items(RANGES)
            if is_going(each.document())
            and PROTECTION in items_at(each.document(), "metadata", "finalizers")
            and not self.is_in_use(each.document())
        ]


def address_changes(new: Document | None, old: Document | None) -> Iterator[tuple[str, Document | None]]:
    """The IPAddress objects, by name, that a change of a service calls for; None for those that go with it."""
    before = items_at(mapping_at(old, "spec"), "clusterIPs") if old else []
    after = items_at(mapping_at(new, "spec"), "clusterIPs") if new else []
    for text in before:
        if text not in after and text != "None":
            yield str(text), None
    for text in after:
        if new is not None and text not in before and text != "None":
            yield str(text), _address(str(text), mapping_at(new, "metadata"))


def is_going(document: Document) -> bool:
    """Whether an object is marked as deleted."""
    return bool(text_at(document, "metadata", "deletionTimestamp"))


def _address(text: str, service: Document) -> Document:
    family = parse_address(text).family.value
    labels: Document = {"ipaddress.kubernetes.io/ip-family": family, "ipaddress.kubernetes.io/managed-by": MANAGED_BY}
    namespace, name = text_at(service, "namespace"), text_at(service, "name")
    return {
        "kind": "IPAddress",
        "apiVersion": IP_ADDRESS.resource.api_version,
        "metadata": {"name": text, "labels": labels},
        "spec": {"parentRef": {"resource": "services", "namespace": namespace, "name": name}},
    }


def _ranges_of(stored: Stored | None) -> list[Prefix]:
    return _prefixes(stored.document()) if stored is not None else []


def _prefixes(service_range: Document) -> list[Prefix]:
    return [parse_prefix(str(text)) for text in items_at(service_range, "spec", "cidrs")]


def _within(address: Address, prefixes: list[Prefix]) -> bool:
    return any(address in prefix for prefix in prefixes)
