"""A kind as a watch keeps it: list once, follow changes, survive what servers do. Source: client-go's reflector.

Comes in: a transport and a kind. Goes out: an endless sequence of changes in which nothing is lost and each gap
is closed by a `Replaced`. Reconnects with a growing pause; a revision that is too old (410) means listing again.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from fairlead.drivers.clock import BackOff
from fairlead.drivers.kubeapi.transport import ApiError, ApiRequest, Transport
from fairlead.drivers.kubeapi.views import decode_list_kept, decode_view
from fairlead.kube.documents import as_document, number_at, text_at
from fairlead.kube.meta import KubeObject
from fairlead.kube.resources import resource_of

T = TypeVar("T", bound=KubeObject)
K = TypeVar("K")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0  # seconds between attempts to reach the server
_WATCH_SECONDS = 290
_SHORT_WATCH = 1.0  # a watch that ends sooner, and told nothing, is followed by a pause


class Replaced(Struct, Generic[K], frozen=True):
    """These are all objects there are; any other one known before is gone."""

    items: tuple[K, ...]


class Applied(Struct, Generic[K], frozen=True):
    """This object is new or has changed."""

    object: K


class Deleted(Struct, Generic[K], frozen=True):
    """This object, as it was last, is gone."""

    object: K


Change: TypeAlias = Replaced[K] | Applied[K] | Deleted[K]


class _Event(Struct):
    type: str
    object: msgspec.Raw


class _Bookmark(Struct):
    metadata: dict[str, object]


_events = msgspec.json.Decoder(_Event)


def _silent(_: ApiError) -> None:
    return None


def reflect(
    transport: Transport,
    cls: type[T],
    namespace: str,
    query: tuple[tuple[str, str], ...],
    *,
    told: Callable[[ApiError], None] = _silent,
    back_off: BackOff | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncGenerator[Change[T], None]:
    """Yield `Replaced`, then every change, for ever. Errors are handed to `told` and waited out, never raised."""
    return reflect_kept(transport, cls, _whole, namespace, query, told=told, back_off=back_off, sleep=sleep)


def _whole(view: T) -> T:
    return view


async def reflect_kept(
    transport: Transport,
    cls: type[T],
    keep: Callable[[T], K],
    namespace: str,
    query: tuple[tuple[str, str], ...],
    *,
    told: Callable[[ApiError], None] = _silent,
    back_off: BackOff | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncGenerator[Change[K], None]:
    """As `reflect`, with what `keep` returns in place of each object: a long list is then never in memory whole."""
    path = resource_of(cls).path(namespace)
    pauses = back_off or BackOff(_FIRST_PAUSE, _LONGEST_PAUSE)
    version, reached = "", "0"
    while True:
        opened = time.monotonic()
        heard = False
        try:
            if not version:
                items, version = await _list(transport, cls, keep, path, query, reached)
                reached = version
                yield Replaced(items)
            async for line in transport.stream(_watch_request(path, query, version)):
                change, version = _read_event(cls, keep, line, version)
                reached = version
                heard = True
                pauses.reset()
                if change is not None:
                    yield change
            if not heard and time.monotonic() - opened < _SHORT_WATCH:
                await sleep(pauses.pause())
        except ApiError as error:
            if _must_list(error):
                reached = reached if version else ""  # a list that is refused is asked for anew, as of now
                version = ""
            told(error)
            await sleep(pauses.pause())
        except msgspec.MsgspecError as error:
            version = ""
            told(ApiError(0, "Malformed", f"the API server answered {path} with what is no {cls.__name__}: {error}"))
            await sleep(pauses.pause())


def _must_list(error: ApiError) -> bool:
    """Whether the revision cannot be watched from any more."""
    return error.status in (400, 410, 504) or error.reason in ("Expired", "Gone")


def _read_event(cls: type[T], keep: Callable[[T], K], line: bytes, version: str) -> tuple[Change[K] | None, str]:
    """The change a line tells, None for a bookmark, and the revision reached. Raises ApiError for an ERROR event."""
    event = _events.decode(line)
    if event.type == "ERROR":
        raise _error_in(event.object)
    if event.type == "BOOKMARK":
        bookmark = msgspec.json.decode(event.object, type=_Bookmark)
        return None, str(bookmark.metadata.get("resourceVersion", version))
    view = decode_view(cls, event.object)
    kept = keep(view)
    change = Deleted(kept) if event.type == "DELETED" else Applied(kept)
    return change, view.metadata.resource_version or version


def _watch_request(path: str, query: tuple[tuple[str, str], ...], version: str) -> ApiRequest:
    options = (
        ("watch", "true"),
        ("resourceVersion", version),
        ("allowWatchBookmarks", "true"),
        ("timeoutSeconds", str(_WATCH_SECONDS)),
    )
    return ApiRequest("GET", path, (*query, *options))


async def _list(
    transport: Transport,
    cls: type[T],
    keep: Callable[[T], K],
    path: str,
    query: tuple[tuple[str, str], ...],
    reached: str,
) -> tuple[tuple[K, ...], str]:
    """List at a revision not older than `reached`, so that another API server does not lead back in time."""
    response = await transport.send(ApiRequest("GET", path, (*query, ("resourceVersion", reached))))
    if response.status >= 400:
        raise ApiError(response.status, "", f"listing {path} was answered with {response.status}")
    return decode_list_kept(cls, keep, response.body)


def _error_in(raw: msgspec.Raw) -> ApiError:
    status = as_document(msgspec.json.decode(raw))
    return ApiError(number_at(status, "code") or 500, text_at(status, "reason"), text_at(status, "message"))
