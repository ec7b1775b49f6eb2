"""Garbage collection: objects whose owners are gone are deleted, and owners wait for or let go of what depends on
them.

Comes in: stores of every kind. Goes out: deletions and patches. The rules of upstream's
pkg/controller/garbagecollector: an owner is known by its uid; an object goes when no owner is left; a deletion in
the foreground waits for dependents that block it; one that orphans takes its reference off them. An owner missing
from the cache is asked for at the API server before anything goes.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec import Struct

from fairlead.cluster.controllers.actions import Action, Delete, Patch
from fairlead.cluster.controllers.informers import Store
from fairlead.cluster.controllers.loops import Loop
from fairlead.cluster.controllers.ownership import without_owners
from fairlead.cluster.controllers.performer import Performer
from fairlead.cluster.controllers.queue import WorkQueue
from fairlead.drivers.kubeapi import KubeClient
from fairlead.kube.meta import KubeObject, ObjectMeta, OwnerReference
from fairlead.kube.resources import RESOURCES, find_resource

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"

T = TypeVar("T", bound=KubeObject)
Kind = type[KubeObject]
Ref = tuple[Kind, str, str]
"""A kind, a namespace and a name."""

_KINDS = {resource: kind for kind, resource in RESOURCES.items()}


class Dependent(Struct, frozen=True):
    """An object that names an owner."""

    kind: Kind
    item: KubeObject


class Owners(Struct, frozen=True):
    """The owners of an object, by what they mean for its life; all are uids.

    `solid` keep it, `absent` are gone, `waiting` are being deleted in the foreground and wait for it.
    """

    solid: frozenset[str]
    absent: frozenset[str]
    waiting: frozenset[str]


def judge(kind: Kind, item: KubeObject, owners: Owners, *, has_dependents: bool) -> tuple[Action, ...]:
    """What becomes of an object that is not being deleted, given its owners."""
    lost = owners.absent | owners.waiting
    if not lost:
        return ()
    if owners.solid:
        return (without_owners(kind, item, lost),)
    finalizers = item.metadata.finalizers
    if ORPHAN in finalizers:
        propagation = "Orphan"
    elif FOREGROUND in finalizers or (owners.waiting and has_dependents):
        propagation = "Foreground"
    else:
        propagation = "Background"
    return (_delete(kind, item, propagation),)


def release(kind: Kind, item: KubeObject, dependents: Iterable[Dependent]) -> tuple[Action, ...]:
    """The next step of an owner that is being deleted and holds one of our finalizers."""
    meta = item.metadata
    dependents = tuple(dependents)
    if ORPHAN in meta.finalizers:
        lost = frozenset({meta.uid})
        actions = tuple(without_owners(each.kind, each.item, lost) for each in dependents)
        return actions or (_without_finalizer(kind, meta, ORPHAN),)
    if FOREGROUND not in meta.finalizers:
        return ()
    blocking = [each for each in dependents if _blocks(each.item, meta.uid)]
    if not blocking:
        return (_without_finalizer(kind, meta, FOREGROUND),)
    return tuple(
        _delete(each.kind, each.item, "Foreground")
        for each in blocking
        if each.item.metadata.deletion_timestamp is None
    )


def _blocks(item: KubeObject, uid: str) -> bool:
    return any(each.uid == uid and each.block_owner_deletion for each in item.metadata.owner_references)


def _delete(kind: Kind, item: KubeObject, propagation: str) -> Delete:
    meta = item.metadata
    return Delete(kind=kind, namespace=meta.namespace, name=meta.name, uid=meta.uid, propagation=propagation)


def _without_finalizer(kind: Kind, meta: ObjectMeta, finalizer: str) -> Patch:
    left = [each for each in meta.finalizers if each != finalizer]
    return Patch(
        kind=kind,
        namespace=meta.namespace,
        name=meta.name,
        patch={"metadata": {"resourceVersion": meta.resource_version, "finalizers": [*left] or None}},
    )


class _Watched(Struct):
    """What the collector asks of one store, whatever its kind."""

    find: Callable[[str, str], KubeObject | None]
    find_owned: Callable[[str], list[Dependent]]
    by_uid: Callable[[str], KubeObject | None]
    is_gone: Callable[[str], bool]


class GarbageCollector:
    """Follows all stores and looks at objects whose owners, or whose own end, call for it."""

    def __init__(self, client: KubeClient, performer: Performer) -> None:
        self._client = client
        self._performer = performer
        self._stores: dict[Kind, _Watched] = {}
        self.loop = Loop("garbage", WorkQueue[Ref](), self.reconcile)

    def watch(self, kind: type[T], store: Store[T]) -> None:
        """Collect among the objects of a kind; make all of these calls before the stores fill."""
        owned = store.index(lambda item: {each.uid for each in item.metadata.owner_references})

        def find_owned(uid: str) -> list[Dependent]:
            return [Dependent(kind, item) for item in owned.find(uid)]

        def follow(old: T | None, new: T | None) -> None:
            self._follow(kind, old, new)

        self._stores[kind] = _Watched(find=store.get, find_owned=find_owned, by_uid=store.by_uid, is_gone=store.is_gone)
        store.listen(follow)

    def _follow(self, kind: Kind, old: KubeObject | None, new: KubeObject | None) -> None:
        if new is None and old is not None:
            for each in self._dependents(old.metadata.uid):
                self.loop.queue.add(_ref(each.kind, each.item))
            self._look_at_owners(old)
        elif new is not None:
            refs = new.metadata.owner_references
            if refs and (old is None or old.metadata.owner_references != refs):
                self.loop.queue.add(_ref(kind, new))
            if old is not None and old.metadata.owner_references != refs:
                self._look_at_owners(old)
            if new.metadata.deletion_timestamp is not None and _is_held(new):
                self.loop.queue.add(_ref(kind, new))

    def _look_at_owners(self, item: KubeObject) -> None:
        """An owner that waits for its dependents may be free now."""
        for reference in item.metadata.owner_references:
            kind = _kind_of(reference)
            owner = self._stores[kind].by_uid(reference.uid) if kind in self._stores else None
            if kind is not None and owner is not None and owner.metadata.deletion_timestamp is not None:
                self.loop.queue.add(_ref(kind, owner))

    async def reconcile(self, ref: Ref) -> float | None:
        """Look at one object."""
        kind, namespace, name = ref
        item = self._stores[kind].find(namespace, name)
        if item is None:
            return None
        if item.metadata.deletion_timestamp is not None:
            if not _is_held(item):
                return None
            return await self._performer.perform(release(kind, item, self._dependents(item.metadata.uid)))
        owners = await self._owners(item)
        has_dependents = bool(self._dependents(item.metadata.uid))
        return await self._performer.perform(judge(kind, item, owners, has_dependents=has_dependents))

    def _dependents(self, uid: str) -> list[Dependent]:
        return [each for watched in self._stores.values() for each in watched.find_owned(uid)]

    async def _owners(self, item: KubeObject) -> Owners:
        solid, absent, waiting = set[str](), set[str](), set[str]()
        for reference in item.metadata.owner_references:
            kind = _kind_of(reference)
            watched = self._stores.get(kind) if kind is not None else None
            if kind is None or watched is None:
                solid.add(reference.uid)
                continue
            owner = watched.by_uid(reference.uid)
            if owner is None and not watched.is_gone(reference.uid):
                namespace = item.metadata.namespace if RESOURCES[kind].namespaced else ""
                owner = await self._client.get_or_none(kind, reference.name, namespace)
            if owner is None or owner.metadata.uid != reference.uid:
                absent.add(reference.uid)
            elif _waits(owner) and reference.block_owner_deletion:
                waiting.add(reference.uid)
            else:
                solid.add(reference.uid)
        return Owners(frozenset(solid), frozenset(absent), frozenset(waiting))


def _is_held(item: KubeObject) -> bool:
    return FOREGROUND in item.metadata.finalizers or ORPHAN in item.metadata.finalizers


def _waits(owner: KubeObject) -> bool:
    return owner.metadata.deletion_timestamp is not None and FOREGROUND in owner.metadata.finalizers


def _kind_of(reference: OwnerReference) -> Kind | None:
    resource = find_resource(reference.api_version, reference.kind)
    return _KINDS.get(resource) if resource is not None else None


def _ref(kind: Kind, item: KubeObject) -> Ref:
    return kind, item.metadata.namespace, item.metadata.name
