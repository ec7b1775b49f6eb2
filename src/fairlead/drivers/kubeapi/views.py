"""From the bytes an API server sends to typed views, as fast as msgspec can, and forgiving what Go writes.

A Go server writes `null` for an empty list that has no omitempty; a view reads that as absent.
"""

from functools import cache
from typing import Any, Generic, TypeVar, cast

import msgspec
from msgspec import Struct

from fairlead.drivers.collection import collection_paused
from fairlead.kube.meta import KubeObject

T = TypeVar("T", bound=KubeObject)


class _ListMeta(Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class _Listing(Struct, Generic[T]):
    items: tuple[T, ...] = ()
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
