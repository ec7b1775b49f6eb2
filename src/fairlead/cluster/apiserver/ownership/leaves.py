"""Documents taken apart into leaves, and put together again.

In: a shape and documents. Out: leaves by path, a merge of two documents, and a document without some of its leaves.
A path is a tuple of elements as FieldsV1 writes them: `f:name`, `k:{"name":"x"}` and `v:"x"`.
"""

from collections.abc import Set

import msgspec

from fairlead.cluster.apiserver.ownership.shapes import Shape, Sort
from fairlead.kube.documents import Document, Json

Path = tuple[str, ...]

ITEM: Json = {"": "item"}
"""What stands for an item of a list itself, beside the leaves inside it."""

KEY_DEFAULTS: Document = {"protocol": "TCP"}
"""The values of keys that may be left out of an item; upstream's schema has this one default."""


def leaves_of(shape: Shape, document: Document) -> dict[Path, Json]:
    """Return every leaf of a document."""
    found: dict[Path, Json] = {}
    _collect(shape, document, (), found)
    return found


def _collect(shape: Shape, value: Json, path: Path, found: dict[Path, Json]) -> None:
    if shape.sort is Sort.FIELDS and isinstance(value, dict) and value:
        for key, inner in value.items():
            _collect(shape.part(key), inner, (*path, f"f:{key}"), found)
    elif shape.sort is Sort.KEYED and isinstance(value, list) and value:
        for item in value:
            place = (*path, key_of(shape, item))
            found[place] = ITEM
            if isinstance(item, dict):
                for key, inner in item.items():
                    _collect(shape.part("").part(key), inner, (*place, f"f:{key}"), found)
    elif shape.sort is Sort.SET and isinstance(value, list) and value:
        for item in value:
            found[(*path, f"v:{_text(item)}")] = item
    else:
        found[path] = value


def key_of(shape: Shape, item: Json) -> str:
    """Return the path element of an item of a list with keys; raise ValueError where a key is missing."""
    if not isinstance(item, dict):
        raise ValueError(f"an item of a list with the keys {', '.join(shape.keys)} must be an object")
    named: Document = {}
    for key in sorted(shape.keys):
        value = item.get(key, KEY_DEFAULTS.get(key))
        if value is None and len(shape.keys) == 1:
            raise ValueError(f'associative list with keys has an element that omits key field "{key}"')
        if value is not None:
            named[key] = value
    return f"k:{_text(named)}"


def _text(value: Json) -> str:
    return msgspec.json.encode(value).decode()


def merge(shape: Shape, live: Json, applied: Json) -> Json:
    """Return `live` with what is `applied` laid over it; neither is changed."""
    if shape.sort is Sort.FIELDS and isinstance(live, dict) and isinstance(applied, dict):
        merged = dict(live)
        for key, value in applied.items():
            merged[key] = merge(shape.part(key), live[key], value) if key in live else value
        return merged
    if shape.sort is Sort.KEYED and isinstance(live, list) and isinstance(applied, list):
        return _merge_keyed(shape, live, applied)
    if shape.sort is Sort.SET and isinstance(live, list) and isinstance(applied, list):
        return [*(each for each in live if each not in applied), *applied]
    return applied


def _merge_keyed(shape: Shape, live: list[Json], applied: list[Json]) -> list[Json]:
    """Merge two lists by keys: items stay where they are, new ones follow the item before them in what is applied."""
    merged: dict[str, Json] = {key_of(shape, each): each for each in live}
    wanted = {key_of(shape, each): each for each in applied}
    if len(wanted) != len(applied):
        raise ValueError("a list with keys holds two items with the same keys")
    for key, item in wanted.items():
        merged[key] = merge(shape.part(""), merged[key], item) if key in merged else item
    places = [index for index, key in enumerate(merged) if key in wanted]
    order = list(merged)
    for index, key in zip(places, wanted, strict=True):
        order[index] = key
    return [merged[key] for key in order]


def without(shape: Shape, value: Json, gone: Set[Path], kept: Set[Path], path: Path = ()) -> Json:
    """Return a value without the leaves of `gone`; None where nothing is left of it. What `kept` names, or what lies
    above something it names, stays.
    """
    if shape.sort is Sort.FIELDS and isinstance(value, dict) and value:
        left: Document = {}
        for key, inner in value.items():
            rest = without(shape.part(key), inner, gone, kept, (*path, f"f:{key}"))
            if rest is not None or inner is None:
                left[key] = rest
        return left if left or _is_kept(path, kept) else None
    if shape.sort is Sort.KEYED and isinstance(value, list) and value:
        items = [(key_of(shape, item), item) for item in value]
        remaining = [
            without(shape.part(""), item, gone, kept, (*path, key))
            for key, item in items
            if (*path, key) not in gone or _is_kept((*path, key), kept)
        ]
        return [each for each in remaining if each is not None] or (None if not _is_kept(path, kept) else [])
    if shape.sort is Sort.SET and isinstance(value, list) and value:
        chosen = [each for each in value if (*path, f"v:{_text(each)}") not in gone - kept]
        return chosen or None
    return None if path in gone and path not in kept else value


def _is_kept(path: Path, kept: Set[Path]) -> bool:
    return any(each[: len(path)] == path for each in kept)
