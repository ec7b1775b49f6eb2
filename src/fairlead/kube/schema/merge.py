"""Strategic merge: a patch of part of an object, whose lists say how they are to be merged.

In: the name of a type, a document of it and a patch. Out: the patched document; neither argument is changed. The
rules are those of k8s.io/apimachinery/pkg/util/strategicpatch, as the server applies them: nulls delete, lists with a
merge key are merged by it, other lists are replaced, and the directives $patch, $retainKeys, $deleteFromPrimitiveList
and $setElementOrder are obeyed. It knows no kind: what is merged and how is read from the schema.
"""

from collections.abc import Sequence

from fairlead.kube.documents import Document, Json
from fairlead.kube.schema.types import Field, schema_type

PATCH = "$patch"
RETAIN_KEYS = "$retainKeys"
DELETE_PREFIX = "$deleteFromPrimitiveList/"
ORDER_PREFIX = "$setElementOrder/"

_UNKNOWN = Field(type="any")


class PatchError(ValueError):
    """A patch that contradicts itself or the schema; the text is for the person who sent it."""


def strategic_merge(schema: str, current: Document, patch: Document) -> Document:
    """Return `current`, an object of the type `schema`, with `patch` merged into it.

    Raises PatchError where a directive is unknown or an element lacks the merge key of its list.
    """
    return _merged_map(schema, current, patch)


def _field(schema: str, key: str) -> Field:
    known = schema_type(schema)
    return known.fields.get(key, _UNKNOWN) if known else _UNKNOWN


def _merged_map(schema: str, current: Document, patch: Document) -> Document:
    match patch.get(PATCH):
        case None:
            pass
        case "replace":
            return {key: value for key, value in patch.items() if key != PATCH}
        case "delete":
            return {}
        case other:
            raise PatchError(f"unknown patch type: {other} in map: {patch}")
    merged = _retained(current, patch)
    for key in patch:
        if key.startswith(ORDER_PREFIX):
            _merge_ordered(schema, key.removeprefix(ORDER_PREFIX), merged, patch)
    ordered = {key.removeprefix(ORDER_PREFIX) for key in patch if key.startswith(ORDER_PREFIX)}
    for key, value in patch.items():
        name = key.removeprefix(DELETE_PREFIX)
        if key in (PATCH, RETAIN_KEYS) or key.startswith(ORDER_PREFIX) or name in ordered:
            continue
        if key.startswith(DELETE_PREFIX):
            merged[name] = _without(merged.get(name), value)
            if not merged[name]:
                del merged[name]
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged_value(_field(schema, key), merged.get(key), value)
    return merged


def _retained(current: Document, patch: Document) -> Document:
    kept = patch.get(RETAIN_KEYS)
    if kept is None:
        return dict(current)
    if not isinstance(kept, list):
        raise PatchError(f"invalid {RETAIN_KEYS}: a list of field names is expected")
    strange = [key for key in patch if not key.startswith("$") and key not in kept and patch[key] is not None]
    if strange:
        raise PatchError(f"{RETAIN_KEYS} lacks {strange[0]!r}, which the patch sets")
    return {key: value for key, value in current.items() if key in kept}


def _merged_value(field: Field, current: Json, value: Json) -> Json:
    if isinstance(value, dict):
        if isinstance(current, dict) and field.strategy != "replace":
            return _merged_map("" if field.shape == "map" else field.type, current, value)
        return _as_new(field, value)
    if isinstance(value, list):
        if not field.merges:
            return value
        return _merged_list(field, current if isinstance(current, list) else [], value)
    return value


def _as_new(field: Field, value: Document) -> Document:
    """Return a map that is not there yet, without what only makes sense as a patch: nulls and directives."""
    return _merged_map("" if field.shape == "map" else field.type, {}, value)


def _merged_list(field: Field, current: Sequence[Json], patch: Sequence[Json]) -> list[Json]:
    """Merge one list with another; the order of the patch wins among what it names, the present order elsewhere."""
    if not _holds_maps(current, patch):
        both = [*current, *patch]
        merged = [item for index, item in enumerate(both) if item not in both[:index]]
        return _in_order(field, merged, patch, current)
    if any(isinstance(item, dict) and item.get(PATCH) == "replace" for item in patch):
        return [item for item in patch if not (isinstance(item, dict) and PATCH in item)]
    if not field.merge_key:
        raise PatchError(f"cannot merge lists without merge key for {field.type}")
    merged, rest = _without_deleted(field, current, patch)
    for item in rest:
        key = _key(field, item)
        at = next((index for index, old in enumerate(merged) if _same(field, old, key)), None)
        if at is None:
            merged.append(_as_new(field, item))
        else:
            old = merged[at]
            merged[at] = _merged_map(field.type, old if isinstance(old, dict) else {}, item)
    return _in_order(field, merged, rest, current)


def _holds_maps(current: Sequence[Json], patch: Sequence[Json]) -> bool:
    return any(isinstance(item, dict) for item in (*current, *patch))


def _without_deleted(field: Field, current: Sequence[Json], patch: Sequence[Json]) -> tuple[list[Json], list[Document]]:
    """Obey the `$patch: delete` elements of a patch; return what is left of the list, and of the patch."""
    kept = list(current)
    rest: list[Document] = []
    for item in patch:
        if not isinstance(item, dict):
            raise PatchError(f"the list of {field.type} holds {item!r}, which is no object")
        directive = item.get(PATCH)
        if directive is None:
            rest.append(item)
        elif directive == "delete":
            key = _key(field, item)
            kept = [old for old in kept if not _same(field, old, key)]
        else:
            raise PatchError(f"unknown patch type: {directive} in map: {item}")
    return kept, rest


def _key(field: Field, item: Document) -> Json:
    if field.merge_key not in item:
        raise PatchError(f"map: {item} does not contain declared merge key: {field.merge_key}")
    return item[field.merge_key]


def _same(field: Field, item: Json, key: Json) -> bool:
    return isinstance(item, dict) and item.get(field.merge_key) == key


def _without(current: Json, deleted: Json) -> list[Json]:
    gone = deleted if isinstance(deleted, list) else []
    return [item for item in current if item not in gone] if isinstance(current, list) else []


def _merge_ordered(schema: str, name: str, merged: Document, patch: Document) -> None:
    """Merge one list whose patch comes with $setElementOrder, and put it in that order."""
    field = _field(schema, name)
    before = merged.get(name)
    present = before if isinstance(before, list) else []
    gone = patch.get(DELETE_PREFIX + name)
    changed = patch.get(name)
    if name in patch and changed is None:
        merged.pop(name, None)
        return
    items: list[Json] = _without(present, gone)
    if isinstance(changed, list):
        items = _merged_list(field, items, changed)
    order = patch[ORDER_PREFIX + name]
    if isinstance(order, list):
        items = _in_order(field, items, order, present)
    if items or name in merged:
        merged[name] = items


def _identity(field: Field, item: Json) -> Json:
    return item.get(field.merge_key) if isinstance(item, dict) and field.merge_key else item


def _in_order(field: Field, items: Sequence[Json], order: Sequence[Json], before: Sequence[Json]) -> list[Json]:
    """Return `items` with those that `order` names in that order, and the others where they were relative to them.

    As normalizeElementOrder upstream: an item that is not named keeps its place before a named one only if both were
    in the list before and stood so.
    """
    wanted = [_identity(field, item) for item in order]
    present = [_identity(field, item) for item in before]
    named = sorted((i for i in items if _identity(field, i) in wanted), key=lambda i: wanted.index(_identity(field, i)))
    others = [item for item in items if _identity(field, item) not in wanted]
    others.sort(key=lambda item: _position(present, _identity(field, item)))
    result: list[Json] = []
    while named and others:
        left, right = _identity(field, others[0]), _identity(field, named[0])
        earlier = left in present and right in present and present.index(left) < present.index(right)
        result.append(others.pop(0) if earlier else named.pop(0))
    return [*result, *others, *named]


def _position(present: Sequence[Json], identity: Json) -> int:
    return present.index(identity) if identity in present else len(present)
