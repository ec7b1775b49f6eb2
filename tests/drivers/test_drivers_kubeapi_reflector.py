"""Does a reflector lose or double a change when a server does what servers do?"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from fairlead.drivers.clock import BackOff
from fairlead.drivers.kubeapi import ApiError, ApiRequest, ApiResponse, Applied, Deleted, Replaced
from fairlead.drivers.kubeapi.reflector import reflect
from fairlead.kube.core import ConfigMap
from fairlead.kube.documents import Document

Script = list[bytes | ApiError]


class ScriptedTransport:
    """Answers each list and each watch with the next entry of its script, and keeps what was asked."""

    def __init__(self, lists: list[ApiResponse | ApiError], watches: list[Script]) -> None:
        self.lists, self.watches = lists, watches
        self.asked: list[dict[str, str]] = []

    async def send(self, request: ApiRequest) -> ApiResponse:
        self.asked.append(dict(request.query))
        answer = self.lists.pop(0)
        if isinstance(answer, ApiError):
            raise answer
        return answer

    async def stream(self, request: ApiRequest) -> AsyncGenerator[bytes, None]:
        self.asked.append(dict(request.query))
        for line in self.watches.pop(0):
            if isinstance(line, ApiError):
                raise line
            yield line

    async def close(self) -> None:
        return None


def a_map(name: str, version: int) -> Document:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def listing(version: int, *names: str) -> ApiResponse:
    items = [a_map(name, version) for name in names]
    body = msgspec.json.encode({"metadata": {"resourceVersion": str(version)}, "items": items})
    return ApiResponse(200, {}, body)


def event(kind: str, name: str, version: int) -> bytes:
    return msgspec.json.encode({"type": kind, "object": a_map(name, version)})


async def told(transport: ScriptedTransport, count: int) -> tuple[list[str], list[float], list[int]]:
    """The first `count` changes, the pauses made and the errors heard of."""
    pauses: list[float] = []
    errors: list[int] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    changes: list[str] = []
    query = (("labelSelector", "a=b"),)
    back_off = BackOff(1.0, 4.0, lambda: 0.5)
    stream = reflect(
        transport,
        ConfigMap,
        "",
        query,
        told=lambda error: errors.append(error.status),
        back_off=back_off,
        sleep=sleep,
    )
    async with aclosing(stream):
        async for change in stream:
            match change:
                case Replaced(items):
                    changes.append("=" + ",".join(item.metadata.name for item in items))
                case Applied(item):
                    changes.append("+" + item.metadata.name)
                case Deleted(item):
                    changes.append("-" + item.metadata.name)
            if len(changes) == count:
                break
    return changes, pauses, errors


async def test_a_watch_goes_on_where_the_list_ended() -> None:
    watch: Script = [event("ADDED", "b", 6), event("MODIFIED", "a", 7), event("DELETED", "a", 8)]
    transport = ScriptedTransport([listing(5, "a")], [watch])
    changes, _, _ = await told(transport, 4)
    assert changes == ["=a", "+b", "+a", "-a"]
    assert transport.asked[1]["resourceVersion"] == "5"
    assert transport.asked[1]["allowWatchBookmarks"] == "true"
    assert transport.asked[1]["labelSelector"] == "a=b"


async def test_a_watch_that_ends_is_taken_up_at_the_last_revision_heard_bookmarks_included() -> None:
    first: Script = [event("ADDED", "b", 6), event("BOOKMARK", "", 9)]
    transport = ScriptedTransport([listing(5)], [first, [event("ADDED", "c", 10)]])
    changes, pauses, errors = await told(transport, 3)
    assert changes == ["=", "+b", "+c"]
    assert [asked.get("resourceVersion") for asked in transport.asked] == ["0", "5", "9"]
    assert (pauses, errors) == ([], [])


async def test_a_revision_too_old_is_answered_by_listing_again() -> None:
    gone = msgspec.json.encode({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}})
    transport = ScriptedTransport(
        [listing(5, "a"), listing(20, "b"), listing(30, "c")],
        [[gone], [ApiError(410, "", "")], [event("ADDED", "d", 31)]],
    )
    changes, _, errors = await told(transport, 4)
    assert changes == ["=a", "=b", "=c", "+d"]
    assert errors == [410, 410]


async def test_a_broken_connection_is_taken_up_without_a_new_list() -> None:
    broken: Script = [event("ADDED", "a", 6), ApiError(0, "Unreachable", "")]
    transport = ScriptedTransport([listing(5)], [broken, [ApiError(503, "", "")], [event("ADDED", "b", 7)]])
    changes, pauses, errors = await told(transport, 3)
    assert changes == ["=", "+a", "+b"]
    assert [asked.get("resourceVersion") for asked in transport.asked[1:]] == ["5", "6", "6"]
    assert (pauses, errors) == ([1.0, 2.0], [0, 503])


async def test_pauses_grow_to_a_limit_and_shrink_after_a_success() -> None:
    down: list[ApiResponse | ApiError] = [ApiError(0, "Unreachable", "") for _ in range(4)]
    watch: Script = [event("ADDED", "a", 6), ApiError(0, "", "")]
    transport = ScriptedTransport([*down, listing(5)], [watch, [event("ADDED", "b", 7)]])
    _, pauses, _ = await told(transport, 3)
    assert pauses == [1.0, 2.0, 4.0, 4.0, 1.0]


async def test_a_server_that_ends_every_watch_at_once_is_not_stormed() -> None:
    transport = ScriptedTransport([listing(5)], [[], [], [event("ADDED", "a", 6)]])
    changes, pauses, _ = await told(transport, 2)
    assert changes == ["=", "+a"]
    assert pauses == [1.0, 2.0]


async def test_an_answer_that_is_no_object_is_told_and_listed_anew() -> None:
    transport = ScriptedTransport([ApiResponse(200, {}, b"<html>"), listing(5, "a")], [[b"{", b""], [b"{}"]])
    changes, _, errors = await told(transport, 1)
    assert changes == ["=a"]
    assert errors == [0]
