"""From the bytes an API server sends to typed views, as fast as msgspec can, and forgiving what Go writes.

A Go server writes `null` for an empty list that has no omitempty; a view reads that as absent.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Generic, TypeVar, cast

import msgspec
from msgspec import Struct

from fairlead.drivers.collection import collection_paused
from fairlead.kube.meta import KubeObject

T = TypeVar("T", bound=KubeObject)
K = TypeVar("K")


class _ListMeta(Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class _Listing(Struct, Generic[T]):
    items: tuple[T, ...] = ()
    metadata: _ListMeta = _ListMeta()


class _RawListing(Struct):
    items: tuple[msgspec.Raw, ...] = ()
    metadata: _ListMeta = _ListMeta()


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        entries = cast("dict[str, object]", value)
        return {key: _without_nulls(item) for key, item in entries.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in cast("list[object]", value)]
    return value


def _decode(kind: Any, body: bytes | msgspec.Raw) -> Any:
    try:
        return _decoder(kind).decode(body)
    except msgspec.ValidationError:
        return msgspec.convert(_without_nulls(msgspec.json.decode(body)), kind)


def decode_view(cls: type[T], body: bytes | msgspec.Raw) -> T:
    """One object. Raises msgspec.MsgspecError where it is no such object."""
    return cast("T", _decode(cls, body))


def decode_list(cls: type[T], body: bytes) -> tuple[tuple[T, ...], str]:
    """The items of a list and its resourceVersion."""
    with collection_paused():
        listing = cast("_Listing[T]", _decode(_Listing[cls], body))
    return listing.items, listing.metadata.resource_version


def decode_list_kept(cls: type[T], keep: Callable[[T], K], body: bytes) -> tuple[tuple[K, ...], str]:
    """What `keep` returns of the items of a list, and its resourceVersion; one item at a time is in memory whole."""
    with collection_paused():
        listing = cast("_RawListing", _decode(_RawListing, body))
        items = tuple(keep(decode_view(cls, raw)) for raw in listing.items)
    return items, listing.metadata.resource_version
