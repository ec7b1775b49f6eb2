"""The cache: own writes show at once, nothing old replaces anything new, nothing deleted comes back."""

from fairlead.cluster.controllers.informers import Store
from fairlead.drivers.kubeapi import Applied, Deleted, Replaced
from fairlead.kube.core import Pod
from fairlead.kube.meta import ObjectMeta


def pod(name: str, version: int, uid: str = "", **labels: str) -> Pod:
    meta = ObjectMeta(name=name, namespace="shop", uid=uid or name, resource_version=str(version), labels=labels)
    return Pod(metadata=meta)


async def test_an_answer_to_a_write_is_not_undone_by_older_events() -> None:
    store = Store[Pod]()
    store.apply(pod("a", 5))
    store.take(Applied(pod("a", 4)))
    found = store.get("shop", "a")
    assert found is not None
    assert found.metadata.resource_version == "5"


async def test_a_slow_answer_does_not_bring_back_what_was_deleted() -> None:
    store = Store[Pod]()
    store.take(Applied(pod("a", 1)))
    store.take(Deleted(pod("a", 3)))
    store.apply(pod("a", 2))
    assert store.get("shop", "a") is None
    assert store.is_gone("a")
    store.take(Applied(pod("a", 4, uid="another")))
    assert store.get("shop", "a") is not None


async def test_a_list_replaces_everything_and_tells_each_difference() -> None:
    store = Store[Pod]()
    told: list[tuple[str, str]] = []

    def listener(old: Pod | None, new: Pod | None) -> None:
        told.append((old.metadata.name if old else "", new.metadata.name if new else ""))

    store.take(Replaced((pod("a", 1), pod("b", 1))))
    store.listen(listener)
    store.take(Replaced((pod("b", 1), pod("c", 2))))
    assert told == [("a", ""), ("", "c")]
    assert store.synced.is_set()
    assert not store.is_gone("a")


async def test_an_index_follows_what_objects_say_of_themselves() -> None:
    store = Store[Pod]()
    index = store.index(lambda item: item.metadata.labels.values())
    store.apply(pod("a", 1, app="web"))
    store.apply(pod("b", 1, app="web"))
    store.apply(pod("a", 2, app="db"))
    assert [each.metadata.name for each in index.find("web")] == ["b"]
    assert [each.metadata.resource_version for each in index.find("db")] == ["2"]
    store.remove(pod("b", 3))
    assert index.find("web") == ()
    assert index.count("db") == 1


async def test_an_accepted_deletion_shows_until_the_watch_tells_more() -> None:
    store = Store[Pod]()
    store.apply(pod("a", 1))
    store.presume_deleting("a", "2026-11-23T00:00:00Z")
    found = store.by_uid("a")
    assert found is not None
    assert found.metadata.deletion_timestamp == "2026-11-23T00:00:00Z"
