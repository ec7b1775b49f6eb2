"""Objects against a structural schema: unknown fields pruned, defaults filled in, values judged.

In: an OpenAPI v3 schema as a CustomResourceDefinition carries it, and a value. Out: the value changed in place, or
FieldErrors. Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema (pruning, defaulting) and validation; the
sentences are those of k8s.io/kube-openapi/pkg/validation.
"""

import copy
import re
from collections.abc import Iterator

from fairlead.cluster.apiserver.kinds.errors import (
    FieldError,
    duplicate,
    invalid,
    quoted,
    required,
    too_long,
    too_many,
    unsupported,
)
from fairlead.kube.documents import Document, Json, flag_at, items_at, mapping_at, number_at, text_at
from fairlead.kube.schema.checking import drop_unknown

PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"
INT_OR_STRING = "x-kubernetes-int-or-string"
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

_ENVELOPE = ("apiVersion", "kind", "metadata")

Found = Iterator[FieldError]


def prune(schema: Document, document: Document) -> list[str]:
    """Drop, in place, what the schema does not name; return `unknown field "spec.x"` for each."""
    found: list[str] = []
    _prune(schema, document, "", found, top=True)
    metadata = document.get("metadata")
    if isinstance(metadata, dict):
        dropped = drop_unknown(OBJECT_META, metadata)
        found += [each.replace('unknown field "', 'unknown field "metadata.', 1) for each in dropped]
    return found


def _prune(schema: Document, value: Json, path: str, found: list[str], *, top: bool = False) -> None:
    if isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for index, each in enumerate(value):
                _prune(items, each, f"{path}[{index}]", found)
        return
    if not isinstance(value, dict):
        return
    properties, additional = mapping_at(schema, "properties"), schema.get("additionalProperties")
    keeps = flag_at(schema, PRESERVE) or additional is True
    for key in list(value):
        place = f"{path}.{key}" if path else key
        if (top or flag_at(schema, EMBEDDED)) and key in _ENVELOPE:
            continue
        known = properties.get(key)
        if isinstance(known, dict):
            _prune(known, value[key], place, found)
        elif isinstance(additional, dict):
            _prune(additional, value[key], place, found)
        elif not keeps:
            found.append(f'unknown field "{place}"')
            del value[key]


def fill_defaults(schema: Document, value: Json) -> None:
    """Fill in, in place, the defaults of fields that are missing; nulls give way to a default unless nullable."""
    if isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for each in value:
                fill_defaults(items, each)
        return
    if not isinstance(value, dict):
        return
    properties = mapping_at(schema, "properties")
    for key, known in properties.items():
        if not isinstance(known, dict):
            continue
        absent = key not in value or (value[key] is None and not flag_at(known, "nullable"))
        if absent and "default" in known:
            value[key] = copy.deepcopy(known["default"])
        elif key in value and value[key] is None and not flag_at(known, "nullable"):
            del value[key]
        if key in value:
            fill_defaults(known, value[key])
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        for key in value:
            if key not in properties:
                fill_defaults(additional, value[key])


def judge(schema: Document, value: Json, path: str = "") -> Found:
    """Judge a value and everything inside it."""
    if value is None and flag_at(schema, "nullable"):
        return
    wrong = _wrong_type(schema, value)
    if wrong:
        yield invalid(path, _go_type(value), f'{path} in body must be of type {wrong}: "{_go_type(value)}"')
        return
    options = items_at(schema, "enum")
    if options and value not in options:
        yield unsupported(path, value, [each if isinstance(each, str) else str(each) for each in options])
    match value:
        case bool():
            pass
        case str():
            yield from _judge_text(schema, value, path)
        case int() | float():
            yield from _judge_number(schema, value, path)
        case list():
            yield from _judge_list(schema, value, path)
        case dict():
            yield from _judge_object(schema, value, path)
        case _:
            pass
    yield from _judge_choices(schema, value, path)


def _wrong_type(schema: Document, value: Json) -> str:
    if flag_at(schema, INT_OR_STRING):
        fine = isinstance(value, int | str) and not isinstance(value, bool)
        return "" if fine else "integer,string"
    match text_at(schema, "type"):
        case "object":
            fine = isinstance(value, dict)
        case "array":
            fine = isinstance(value, list)
        case "string":
            fine = isinstance(value, str)
        case "boolean":
            fine = isinstance(value, bool)
        case "integer":
            fine = (isinstance(value, int) and not isinstance(value, bool)) or (
                isinstance(value, float) and value.is_integer()
            )
        case "number":
            fine = isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            fine = True
    return "" if fine else text_at(schema, "type")


def _go_type(value: Json) -> str:
    if value is None:
        return "null"
    names = {bool: "boolean", str: "string", int: "integer", float: "number", list: "array", dict: "object"}
    return names[type(value)]


def _judge_text(schema: Document, value: str, path: str) -> Found:
    longest, shortest = number_at(schema, "maxLength"), number_at(schema, "minLength")
    if longest is not None and len(value) > longest:
        yield too_long(path, longest)
    if shortest is not None and len(value) < shortest:
        yield invalid(path, value, f"{path} in body should be at least {shortest} chars long")
    pattern = text_at(schema, "pattern")
    if pattern and not re.search(pattern, value):
        yield invalid(path, value, f"{path} in body should match '{pattern}'")


def _judge_number(schema: Document, value: float, path: str) -> Found:
    low, high, step = schema.get("minimum"), schema.get("maximum"), schema.get("multipleOf")
    if isinstance(low, int | float) and (value <= low if flag_at(schema, "exclusiveMinimum") else value < low):
        said = "greater than" if flag_at(schema, "exclusiveMinimum") else "greater than or equal to"
        yield invalid(path, value, f"{path} in body should be {said} {low:g}")
    if isinstance(high, int | float) and (value >= high if flag_at(schema, "exclusiveMaximum") else value > high):
        said = "less than" if flag_at(schema, "exclusiveMaximum") else "less than or equal to"
        yield invalid(path, value, f"{path} in body should be {said} {high:g}")
    if isinstance(step, int | float) and step and value % step:
        yield invalid(path, value, f"{path} in body should be a multiple of {step:g}")


def _judge_list(schema: Document, value: list[Json], path: str) -> Found:
    most, fewest = number_at(schema, "maxItems"), number_at(schema, "minItems")
    if most is not None and len(value) > most:
        yield too_many(path, len(value), most)
    if fewest is not None and len(value) < fewest:
        yield invalid(path, len(value), f"{path} in body should have at least {fewest} items")
    items = schema.get("items")
    keys = [str(each) for each in items_at(schema, "x-kubernetes-list-map-keys")]
    sort = text_at(schema, "x-kubernetes-list-type")
    seen: list[Json] = []
    for index, each in enumerate(value):
        if isinstance(items, dict):
            yield from judge(items, each, f"{path}[{index}]")
        if sort in ("set", "map"):
            own: Json = {key: mapping_at(each).get(key) for key in keys} if sort == "map" else each
            if own in seen:
                yield duplicate(f"{path}[{index}]", own)
            seen.append(own)


def _judge_object(schema: Document, value: Document, path: str) -> Found:
    inside = f"{path}." if path else ""
    for name in items_at(schema, "required"):
        if isinstance(name, str) and name not in value:
            yield required(f"{inside}{name}")
    most, fewest = number_at(schema, "maxProperties"), number_at(schema, "minProperties")
    if most is not None and len(value) > most:
        yield too_many(path, len(value), most)
    if fewest is not None and len(value) < fewest:
        yield invalid(path, len(value), f"{path} in body should have at least {fewest} properties")
    properties, additional = mapping_at(schema, "properties"), schema.get("additionalProperties")
    for key, inner in value.items():
        known = properties.get(key, additional)
        if isinstance(known, dict) and not (not path and key in _ENVELOPE):
            yield from judge(known, inner, f"{inside}{key}")


def _judge_choices(schema: Document, value: Json, path: str) -> Found:
    def fits(option: Json) -> bool:
        return isinstance(option, dict) and not any(judge(option, value, path))

    shown = quoted(value) if isinstance(value, str) else ""
    for each in items_at(schema, "allOf"):
        if isinstance(each, dict):
            yield from judge(each, value, path)
    some, one, never = items_at(schema, "anyOf"), items_at(schema, "oneOf"), schema.get("not")
    if some and not any(fits(each) for each in some):
        yield FieldError(path, "Invalid value", shown, f"{path} in body must validate at least one schema (anyOf)")
    if one and sum(fits(each) for each in one) != 1:
        yield FieldError(path, "Invalid value", shown, f"{path} in body must validate one and only one schema (oneOf)")
    if isinstance(never, dict) and fits(never):
        yield FieldError(path, "Invalid value", shown, f"{path} in body must not validate the schema (not)")
