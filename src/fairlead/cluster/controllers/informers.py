"""A shared cache of API objects: what lists and watches deliver comes in, look-ups by name, uid and index go out.

A store also takes the answers to our own writes at once (`apply`, `remove`), so the round after a write sees it.
That does the work of upstream's expectations: no object is made twice because the watch lags. An answer never
replaces something newer, and an object once seen deleted does not come back from an answer that was slow. Stores
make no requests and decide nothing.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

from msgspec.structs import replace

from fairlead.drivers.kubeapi import Applied, Change, Deleted, Replaced
from fairlead.kube.meta import KubeObject

REMEMBERED_DELETIONS = 8192

Key = tuple[str, str]
"""Namespace ("" for objects without) and name."""


T = TypeVar("T", bound=KubeObject)
V = TypeVar("V", bound=Hashable)
Listener = Callable[[T | None, T | None], None]
"""Called with an object before and after a change; None before it came and after it went."""


def key_of(item: KubeObject) -> Key:
    """The key of an object."""
    return item.metadata.namespace, item.metadata.name


class Index(Generic[T, V]):
    """Objects of a store by what a function says of them; an object may stand under several values or none."""

    def __init__(self, values_of: Callable[[T], Iterable[V]]) -> None:
        self._values_of = values_of
        self._buckets: dict[V, dict[Key, T]] = {}

    def find(self, value: V) -> tuple[T, ...]:
        """The objects under `value`, in the order they came."""
        bucket = self._buckets.get(value)
        return tuple(bucket.values()) if bucket else ()

    def count(self, value: V) -> int:
        """How many objects stand under `value`."""
        return len(self._buckets.get(value, ()))

    def update(self, key: Key, old: T | None, new: T | None) -> None:
        """Follow a change of one object."""
        before = () if old is None else tuple(self._values_of(old))
        after = () if new is None else tuple(self._values_of(new))
        for value in before:
            if value not in after:
                bucket = self._buckets[value]
                del bucket[key]
                if not bucket:
                    del self._buckets[value]
        if new is not None:
            for value in after:
                self._buckets.setdefault(value, {})[key] = new


class Store(Generic[T]):
    """All objects of one kind, as far as known."""

    def __init__(self) -> None:
        self._objects: dict[Key, T] = {}
        self._uids: dict[str, Key] = {}
        self._gone: dict[str, None] = {}
        self._followers: list[Callable[[Key, T | None, T | None], None]] = []
        self._listeners: list[Listener[T]] = []
        self.synced = asyncio.Event()
        """Set once the first list is in."""

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[T]:
        return iter(tuple(self._objects.values()))

    def get(self, namespace: str, name: str) -> T | None:
        """The object of that name, or None."""
        return self._objects.get((namespace, name))

    def by_uid(self, uid: str) -> T | None:
        """The object with that uid, or None."""
        key = self._uids.get(uid)
        return None if key is None else self._objects.get(key)

    def is_gone(self, uid: str) -> bool:
        """Whether the object with that uid was lately seen deleted."""
        return uid in self._gone

    def index(self, values_of: Callable[[T], Iterable[V]]) -> Index[T, V]:
        """A new index; make it before the store fills."""
        index = Index[T, V](values_of)
        for key, item in self._objects.items():
            index.update(key, None, item)
        self._followers.append(index.update)
        return index

    def listen(self, listener: Listener[T]) -> None:
        """Call `listener` with every change from now on."""
        self._listeners.append(listener)

    def apply(self, item: T) -> None:
        """Take an object as created or changed, unless something newer of it is known."""
        key, meta = key_of(item), item.metadata
        if (meta.uid) in self._gone:
            return
        old = self._objects.get(key)
        if old is not None and version_of(old) >= version_of(item):
            return
        if old is not None and old.metadata.uid != meta.uid:
            self._set(key, None)
        self._set(key, item)

    def remove(self, item: KubeObject) -> None:
        """Take an object as deleted."""
        key, uid = key_of(item), item.metadata.uid
        if uid:
            self._gone[uid] = None
            while len(self._gone) > REMEMBERED_DELETIONS:
                del self._gone[next(iter(self._gone))]
        old = self._objects.get(key)
        if old is not None and (old.metadata.uid) == uid:
            self._set(key, None)

    def presume_deleting(self, uid: str, when: str) -> None:
        """Take an object as being deleted since `when`, as its deletion was accepted; the watch will tell what
        became of it.
        """
        item = self.by_uid(uid)
        if item is not None and item.metadata.deletion_timestamp is None:
            metadata = replace(item.metadata, deletion_timestamp=when)
            self._set(key_of(item), replace(item, metadata=metadata))

    def replace(self, items: Iterable[T]) -> None:
        """Take `items` as all there is. Own writes that are newer than the list come back with the watch."""
        fresh = {key_of(item): item for item in items}
        for key, old in tuple(self._objects.items()):
            new = fresh.get(key)
            if new is None or new.metadata.uid != old.metadata.uid:
                self._set(key, None)
        for key, item in fresh.items():
            old = self._objects.get(key)
            if old is None or version_of(old) != version_of(item):
                self._set(key, item)
        self.synced.set()

    def take(self, change: Change[T]) -> None:
        """Follow one change of the API server."""
        match change:
            case Applied(object=item):
                self.apply(item)
            case Deleted(object=item):
                self.remove(item)
            case Replaced(items=items):
                self.replace(items)

    def _set(self, key: Key, new: T | None) -> None:
        old = self._objects.get(key)
        if new is None:
            if old is None:
                return
            del self._objects[key]
        else:
            self._objects[key] = new
        if old is not None and old.metadata.uid:
            self._uids.pop(old.metadata.uid, None)
        if new is not None and new.metadata.uid:
            self._uids[new.metadata.uid] = key
        for follow in self._followers:
            follow(key, old, new)
        for listener in self._listeners:
            listener(old, new)


def version_of(item: KubeObject) -> int:
    """The resourceVersion as a number, for order; 0 when absent (comparable since KEP-5504)."""
    text = item.metadata.resource_version
    return int(text) if text.isdigit() else 0


def controller_uid(item: KubeObject) -> str:
    """The uid of the owner that controls an object,."""
    return next((each.uid for each in item.metadata.owner_references if each.controller), "")
