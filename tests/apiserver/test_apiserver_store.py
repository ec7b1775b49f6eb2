"""The store: revisions, snapshots, events, and what a refused commit leaves behind."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fairlead.cluster.apiserver import log as logs
from fairlead.cluster.apiserver import store as stores
from fairlead.cluster.apiserver.log import DiskRefusedError, LogRefusedError, SqliteLog
from fairlead.cluster.apiserver.store import Event, EventType, ExpiredError, MemoryLog, Row, Store
from fairlead.drivers.errors import FairleadError
from fairlead.kube.documents import text_at

PODS = ("", "pods")


def pod(name: str, **labels: str) -> Any:
    return {"metadata": {"name": name, "namespace": "a", "labels": labels}}


def make(log: stores.Log | None = None) -> Store:
    return Store(log or MemoryLog(), lambda _resource, _document: {})


def names(found: Sequence[stores.Stored]) -> list[str]:
    return [each.key[1] for each in found]


def test_every_change_takes_one_revision_and_is_stamped_with_it() -> None:
    store = make()
    first = store.put(PODS, ("a", "x"), pod("x"))
    second = store.put(("", "services"), ("a", "y"), pod("y"))
    assert (first.revision, second.revision) == (1, 2)
    assert text_at(second.document(), "metadata", "resourceVersion") == "2"


def test_items_come_in_key_order_and_by_namespace() -> None:
    store = make()
    for key in (("b", "x"), ("a", "z"), ("ab", "q"), ("a", "b")):
        store.put(PODS, key, pod(key[1]))
    store.commit()
    assert [each.key for each in store.items(PODS)] == [("a", "b"), ("a", "z"), ("ab", "q"), ("b", "x")]
    assert [each.key for each in store.items(PODS, "a")] == [("a", "b"), ("a", "z")]


def test_a_snapshot_shows_the_past() -> None:
    store = make()
    store.put(PODS, ("a", "x"), pod("x"))
    store.put(PODS, ("a", "y"), pod("y", v="1"))
    store.commit()
    then = store.committed
    store.delete(PODS, ("a", "x"))
    store.put(PODS, ("a", "y"), pod("y", v="2"))
    store.put(PODS, ("a", "z"), pod("z"))
    store.commit()
    past = store.snapshot(PODS, then)
    assert names(past) == ["x", "y"]
    assert past[1].labels == {"v": "1"}
    assert names(list(store.items(PODS))) == ["y", "z"]


def test_settled_leaves_out_what_is_only_staged() -> None:
    store = make()
    store.put(PODS, ("a", "x"), pod("x"))
    store.commit()
    store.put(PODS, ("a", "y"), pod("y"))
    assert names(store.settled(PODS)) == ["x"]
    assert names(store.settled(PODS, "b")) == []


def test_a_revision_that_left_the_ring_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "RING_LENGTH", 3)
    store = make()
    for index in range(6):
        store.put(PODS, ("a", f"x{index}"), pod("x"))
        store.commit()
    assert [event.revision for event in store.since(PODS, 3)] == [4, 5, 6]
    with pytest.raises(ExpiredError, match=r"too old resource version: 2 \(3\)"):
        store.since(PODS, 2)


def test_big_objects_leave_the_ring_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "RING_BYTES", 1000)
    store = make()
    for index in range(4):
        store.put(PODS, ("a", f"x{index}"), pod("x", blob="x" * 400))
        store.commit()
    assert [event.revision for event in store.since(PODS, 2)] == [3, 4]
    with pytest.raises(ExpiredError):
        store.since(PODS, 1)


def test_events_are_published_only_when_durable() -> None:
    store, seen = make(), list[Event]()
    store.subscribe(PODS, seen.append)
    store.put(PODS, ("a", "x"), pod("x"))
    assert not seen
    store.commit()
    store.delete(PODS, ("a", "x"))
    store.commit()
    assert [(event.type, event.revision) for event in seen] == [(EventType.ADDED, 1), (EventType.DELETED, 2)]
    assert b'"resourceVersion":"2"' in seen[1].current.raw


class FullDisk(MemoryLog):
    full = False

    def append(self, rows: Sequence[Row], revision: int) -> None:
        if self.full:
            raise DiskRefusedError("no room", "make room")


def test_a_refused_commit_takes_everything_back() -> None:
    log = FullDisk()
    store, seen, followed = make(log), list[Event](), list[Any]()
    store.put(PODS, ("a", "x"), pod("x", v="1"))
    store.commit()
    store.subscribe(PODS, seen.append)
    store.follow(PODS, lambda new, old: followed.append((new and new.revision, old and old.revision)))
    log.full = True
    store.put(PODS, ("a", "x"), pod("x", v="2"))
    store.put(PODS, ("a", "y"), pod("y"))
    store.delete(PODS, ("a", "x"))
    with pytest.raises(DiskRefusedError):
        store.commit()
    assert names(list(store.items(PODS))) == ["x"]
    restored = store.get(PODS, ("a", "x"))
    assert restored is not None
    assert restored.labels == {"v": "1"}
    assert not seen
    assert followed == [(2, 1), (3, None), (None, 2), (2, None), (None, 3), (1, 2)]
    log.full = False
    assert store.put(PODS, ("a", "z"), pod("z")).revision > 4
    store.commit()
    assert [event.current.key[1] for event in seen] == ["z"]


def test_what_was_committed_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "data.sqlite"
    store = make(SqliteLog(path))
    store.put(PODS, ("a", "x"), pod("x"))
    store.put(PODS, ("a", "y"), pod("y"))
    store.commit()
    store.delete(PODS, ("a", "y"))
    store.commit()
    # The process dies here: the first log is never closed.
    again = make(SqliteLog(path))
    assert names(list(again.items(PODS))) == ["x"]
    assert again.revision == 3
    assert again.since(PODS, 3) == []
    with pytest.raises(ExpiredError):
        again.since(PODS, 2)


def test_the_log_is_folded_into_the_file_beside_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "CHECKPOINT_BYTES", 100_000)
    path = tmp_path / "data.sqlite"
    log = SqliteLog(path)
    for number in range(1, 21):
        log.append([Row(PODS, ("a", f"x{number}"), number, b"{}" * 10_000)], number)
    log._folding.join()  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
    assert path.stat().st_size > 100_000
    _, rows = SqliteLog(path).load()
    assert len(list(rows)) == 20
    log.close()


@pytest.mark.parametrize("damage", ["garbage", "torn", "empty", "without tables"])
def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "data.sqlite"
    log = SqliteLog(path)
    log.append([Row(PODS, ("a", f"x{n}"), n, b"{}" * 2000) for n in range(200)], 200)
    log.close()
    content = path.read_bytes()
    if damage == "without tables":
        path.unlink()
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
    else:
        broken = {"garbage": b"not a database at all" * 100, "torn": content[: len(content) // 2], "empty": b""}
        path.write_bytes(broken[damage])
    left = path.read_bytes()
    with pytest.raises(LogRefusedError) as refused:
        make(SqliteLog(path))
    assert str(path) in str(refused.value)
    assert "move" in refused.value.remedy
    assert path.read_bytes() == left


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(FairleadError, match="another version"):
        SqliteLog(path)


def test_a_full_disk_refuses_writes_and_recovers(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "data.sqlite")
    store = make(log)
    store.put(PODS, ("a", "x"), pod("x"))
    store.commit()
    pages = log.limit_pages(1)
    store.put(PODS, ("a", "big"), pod("big", blob="x" * 200_000))
    with pytest.raises(DiskRefusedError, match="full"):
        store.commit()
    assert names(list(store.items(PODS))) == ["x"]
    log.limit_pages(pages)
    store.put(PODS, ("a", "big"), pod("big", blob="x" * 200_000))
    store.commit()
    assert names(list(store.items(PODS))) == ["big", "x"]
