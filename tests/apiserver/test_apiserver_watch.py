"""Watches: where they begin, what selectors make of a change, bookmarks, ends, and slow clients."""

import asyncio
from typing import Any

import pytest
from apiservers import Api, lines

from fairlead.cluster.apiserver import store
from fairlead.cluster.apiserver import watch as watches

CM = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def cm(name: str, **labels: str) -> Any:
    return {"metadata": {"name": name, "labels": labels}, "data": {"a": "b"}}


def told(events: list[Any]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


async def revision(api: Api) -> str:
    return (await api("GET", CM)).json["metadata"]["resourceVersion"]


async def test_a_watch_from_a_revision_sees_what_came_after_it(api: Api) -> None:
    await api("POST", CM, cm("before"))
    since = await revision(api)
    await api("POST", CM, cm("x"))
    stream = await api.watch(f"{CM}?resourceVersion={since}")
    await api("PATCH", f"{CM}/x", {"data": {"a": "c"}}, kind="application/merge-patch+json")
    await api("DELETE", f"{CM}/x")
    events = await lines(stream, 3)
    assert told(events) == [("ADDED", "x"), ("MODIFIED", "x"), ("DELETED", "x")]
    revisions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert revisions == sorted(set(revisions))


async def test_a_watch_without_revision_begins_with_what_is_there(api: Api) -> None:
    await api("POST", CM, cm("x"))
    stream = await api.watch(CM)
    await api("POST", CM, cm("y"))
    assert told(await lines(stream, 2)) == [("ADDED", "x"), ("ADDED", "y")]


async def test_initial_events_end_with_a_marked_bookmark(api: Api) -> None:
    await api("POST", CM, cm("x"))
    stream = await api.watch(f"{CM}?sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
    events = await lines(stream, 2)
    assert told(events) == [("ADDED", "x"), ("BOOKMARK", "")]
    bookmark = events[1]["object"]
    assert (bookmark["kind"], bookmark["apiVersion"]) == ("ConfigMap", "v1")
    assert bookmark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert bookmark["metadata"]["resourceVersion"] == await revision(api)


async def test_sending_initial_events_asks_for_its_companions(api: Api) -> None:
    assert (await api("GET", f"{CM}?watch=true&sendInitialEvents=true")).status == 422
    assert (await api("GET", f"{CM}?sendInitialEvents=true")).status == 422


async def test_objects_come_into_the_sight_of_a_selector_and_leave_it(api: Api) -> None:
    stream = await api.watch(f"{CM}?labelSelector=a%3Db")
    merge = "application/merge-patch+json"
    await api("POST", CM, cm("x"))
    await api("PATCH", f"{CM}/x", {"metadata": {"labels": {"a": "b"}}}, kind=merge)
    await api("PATCH", f"{CM}/x", {"data": {"a": "2"}}, kind=merge)
    gone = (await api("PATCH", f"{CM}/x", {"metadata": {"labels": {"a": None}}}, kind=merge)).json
    await api("DELETE", f"{CM}/x")
    await api("POST", CM, cm("y", a="b"))
    events = await lines(stream, 4)
    assert told(events) == [("ADDED", "x"), ("MODIFIED", "x"), ("DELETED", "x"), ("ADDED", "y")]
    left = events[2]["object"]["metadata"]
    assert left["labels"] == {"a": "b"}
    assert left["resourceVersion"] == gone["metadata"]["resourceVersion"]


async def test_watchers_of_a_kind_share_one_encoding(api: Api) -> None:
    first, second = await api.watch(CM), await api.watch("/api/v1/configmaps")
    await api("POST", CM, cm("x"))
    queued = [stream._queue[0] for stream in (first, second)]  # pyright: ignore[reportPrivateUsage]
    assert queued[0] is queued[1]


async def test_a_watch_of_one_namespace_or_name_sees_no_other(api: Api) -> None:
    streams = [await api.watch(path) for path in (f"{CM}/x", "/api/v1/namespaces/kube-system/configmaps")]
    await api("POST", CM, cm("y"))
    await api("POST", CM, cm("x"))
    await api("POST", "/api/v1/namespaces/kube-system/configmaps", cm("z"))
    assert told(await lines(streams[0], 1)) == [("ADDED", "x")]
    assert told(await lines(streams[1], 1)) == [("ADDED", "z")]


async def test_a_table_watch_names_its_columns_once(api: Api) -> None:
    stream = await api.watch(CM, accept=TABLE)
    await api("POST", CM, cm("x"))
    await api("POST", CM, cm("y"))
    first, second = await lines(stream, 2)
    assert first["object"]["kind"] == "Table"
    assert first["object"]["columnDefinitions"][0]["name"] == "Name"
    assert not second["object"]["columnDefinitions"]
    assert second["object"]["rows"][0]["cells"][0] == "y"


async def test_a_revision_that_is_gone_is_410_and_one_to_come_504(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "RING_LENGTH", 2)
    for index in range(4):
        await api("POST", CM, cm(f"x{index}"))
    old = await api.watch(f"{CM}?resourceVersion=1")
    (told,) = await lines(old, 2)
    assert (told["type"], told["object"]["code"], told["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert told["object"]["message"].startswith("too old resource version: 1 (")
    ahead = await api("GET", f"{CM}?watch=true&resourceVersion=99999")
    assert (ahead.status, ahead.json["details"]["causes"][0]["reason"]) == (504, "ResourceVersionTooLarge")


async def test_a_watch_ends_after_its_time_with_a_bookmark_if_allowed(api: Api) -> None:
    with_bookmark = await api.watch(f"{CM}?timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion=1")
    without = await api.watch(f"{CM}?timeoutSeconds=1&resourceVersion=1")
    events = await lines(with_bookmark, 2)
    assert [event["type"] for event in events] == ["BOOKMARK"]
    assert await without.next() is None


async def test_a_client_that_does_not_read_is_cut_off_and_others_are_not(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "QUEUE_LENGTH", 3)
    slow, quick = await api.watch(CM), await api.watch(CM)
    for index in range(5):
        await api("POST", CM, cm(f"x{index}"))
        assert told(await lines(quick, 1)) == [("ADDED", f"x{index}")]
    async with asyncio.timeout(2):
        assert await slow.next() is None
