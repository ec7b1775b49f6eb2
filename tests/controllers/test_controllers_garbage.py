"""Garbage collection: who goes, who stays, who waits."""

from fairlead.cluster.controllers.actions import Delete, Patch
from fairlead.cluster.controllers.garbage import Dependent, Owners, judge, release
from fairlead.kube.apps import Deployment, ReplicaSet
from fairlead.kube.core import Pod
from fairlead.kube.documents import items_at, text_at, value_at
from fairlead.kube.meta import ObjectMeta, OwnerReference

NONE: frozenset[str] = frozenset()


def owned(*uids: str, finalizers: tuple[str, ...] = (), deleting: bool = False) -> Pod:
    owners = tuple(
        OwnerReference(api_version="apps/v1", kind="ReplicaSet", name=uid, uid=uid, block_owner_deletion=True)
        for uid in uids
    )
    when = "2026-11-23T00:00:00Z" if deleting else None
    return Pod(
        metadata=ObjectMeta(
            name="p", namespace="shop", uid="p", owner_references=owners, finalizers=finalizers, deletion_timestamp=when
        )
    )


def test_an_object_with_an_owner_stays() -> None:
    assert judge(Pod, owned("a"), Owners(frozenset("a"), NONE, NONE), has_dependents=False) == ()


def test_an_object_whose_owners_are_all_gone_goes_by_its_uid() -> None:
    action = judge(Pod, owned("a", "b"), Owners(NONE, frozenset("ab"), NONE), has_dependents=True)[0]
    assert isinstance(action, Delete)
    assert (action.uid, action.propagation) == ("p", "Background")


def test_an_object_with_one_owner_left_loses_the_others() -> None:
    action = judge(Pod, owned("a", "b"), Owners(frozenset("a"), frozenset("b"), NONE), has_dependents=False)[0]
    assert isinstance(action, Patch)
    left = items_at(action.patch, "metadata", "ownerReferences")
    assert [text_at(each, "uid") for each in left] == ["a"]


def test_dependents_of_an_owner_that_waits_go_in_the_foreground_when_they_have_dependents() -> None:
    action = judge(Pod, owned("a"), Owners(NONE, NONE, frozenset("a")), has_dependents=True)[0]
    assert isinstance(action, Delete)
    assert action.propagation == "Foreground"


def replica_set(finalizer: str) -> ReplicaSet:
    return ReplicaSet(metadata=ObjectMeta(name="a", namespace="shop", uid="a", finalizers=(finalizer, "mine")))


def test_an_owner_in_the_foreground_waits_while_anything_blocks_it() -> None:
    owner = replica_set("foregroundDeletion")
    assert release(ReplicaSet, owner, [Dependent(Pod, owned("a", deleting=True))]) == ()
    deleted = release(ReplicaSet, owner, [Dependent(Pod, owned("a"))])
    assert [type(each) for each in deleted] == [Delete]
    action = release(ReplicaSet, owner, [])[0]
    assert isinstance(action, Patch)
    assert value_at(action.patch, "metadata", "finalizers") == ["mine"]


def test_an_owner_that_orphans_takes_its_reference_off_first() -> None:
    owner = replica_set("orphan")
    action = release(ReplicaSet, owner, [Dependent(Pod, owned("a", "b"))])[0]
    assert isinstance(action, Patch)
    assert action.kind is Pod
    assert [text_at(each, "uid") for each in items_at(action.patch, "metadata", "ownerReferences")] == ["b"]
    assert [type(each) for each in release(ReplicaSet, owner, [])] == [Patch]


def test_an_owner_without_our_finalizers_is_not_ours_to_release() -> None:
    assert release(Deployment, Deployment(metadata=ObjectMeta(uid="d", finalizers=("mine",))), []) == ()
