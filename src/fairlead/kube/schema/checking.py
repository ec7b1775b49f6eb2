"""Does a document have the shape of its type: no strange field, and every value of the right sort.

In: the name of a type and a document as it came off the wire. Out: texts for strict decoding, in the words of
upstream (and of Go's JSON decoder, which people know from Stack Overflow), and the document without what has no place
in it. It knows no rule about values: that is validation's business.
"""

import binascii
import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from fairlead.kube.documents import Document, Json
from fairlead.kube.schema.types import Field, SchemaType, schema_type

QUANTITY = re.compile(r"[+-]?[0-9.]+([eEinumkKMGTP]*[-+]?[0-9]*)")
QUANTITY_TEXT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"

INT_BITS = {"int32": 31, "int64": 63}
GO_TYPES = {"boolean": "bool", "bytes": "[]uint8", "number": "float64", "strings": "[]string"}
ENVELOPE = frozenset(("apiVersion", "kind"))


def unknown_fields(schema: str, document: Document) -> list[str]:
    """Return `unknown field "spec.foo"` for each field the type does not have, in the order of the document."""
    found: list[str] = []
    known = schema_type(schema)
    if known:
        _tidy(known, document, "", found, drop=False, top=True)
    return found


def drop_unknown(schema: str, document: Document) -> list[str]:
    """Remove, in place, unknown fields and nulls, as decoding to a typed object does.

    return what `unknown_fields` does.
    """
    found: list[str] = []
    known = schema_type(schema)
    if known:
        _tidy(known, document, "", found, drop=True, top=True)
    return found


def type_errors(schema: str, document: Document) -> list[str]:
    """Return one text for each value of the wrong JSON type; upstream shows the first only."""
    known = schema_type(schema)
    return list(_wrong(known, _short(schema), document, "")) if known else []


def _short(schema: str) -> str:
    return schema.rpartition(".")[2]


def _tidy(known: SchemaType, document: Document, path: str, found: list[str], *, drop: bool, top: bool = False) -> None:
    for key in list(document):
        value = document[key]
        field = known.fields.get(key)
        if field is None:
            if not (top and key in ENVELOPE):
                found.append(f'unknown field "{path}{key}"')
                if drop:
                    del document[key]
            continue
        if value is None:
            if drop:
                del document[key]
            continue
        inner = schema_type(field.type)
        if inner:
            _tidy_values(inner, field, value, f"{path}{key}", found, drop=drop)
        elif drop:
            document[key] = _as_decoded(field, value)


def _as_decoded(field: Field, value: Json) -> Json:
    """Return a plain value as it looks once decoded and encoded again: quantities are texts, nulls in maps empty."""
    if field.shape == "map" and isinstance(value, dict):
        empty: Json = [] if field.type == "strings" else ""
        return {key: empty if each is None else _as_quantity(field, each) for key, each in value.items()}
    return _as_quantity(field, value)


def _as_quantity(field: Field, value: Json) -> Json:
    if field.type != "quantity" or isinstance(value, bool) or not isinstance(value, int | float):
        return value
    number = Decimal(str(value))
    return str(int(number)) if number == int(number) else f"{int(number * 1000)}m"


def _tidy_values(inner: SchemaType, field: Field, value: Json, path: str, found: list[str], *, drop: bool) -> None:
    if field.shape == "list" and isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict):
                _tidy(inner, item, f"{path}[{index}].", found, drop=drop)
            elif item is None and drop:
                value[index] = {}
    elif field.shape == "map" and isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, dict):
                _tidy(inner, item, f"{path}.{key}.", found, drop=drop)
    elif isinstance(value, dict):
        _tidy(inner, value, f"{path}.", found, drop=drop)


def _json_type(value: Json) -> str:
    match value:
        case bool():
            return "bool"
        case int():
            return "number"
        case float():
            return f"number {value}"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _wrong(known: SchemaType, name: str, document: Document, path: str) -> Iterator[str]:
    for key, value in document.items():
        field = known.fields.get(key)
        if field is None or value is None:
            continue
        place = f"{name}.{path}{key}"
        if field.shape == "list":
            if isinstance(value, list):
                for item in value:
                    yield from _wrong_value(field, item, place, f"{path}{key}.")
            else:
                yield _mismatch(value, place, f"[]{_go_type(field)}")
        elif field.shape == "map":
            if isinstance(value, dict):
                for item in value.values():
                    yield from _wrong_value(field, item, place, f"{path}{key}.")
            else:
                yield _mismatch(value, place, f"map[string]{_go_type(field)}")
        else:
            yield from _wrong_value(field, value, place, f"{path}{key}.")


def _mismatch(value: Json, place: str, wanted: str) -> str:
    return f"json: cannot unmarshal {_json_type(value)} into Go struct field {place} of type {wanted}"


def _go_type(field: Field) -> str:
    if schema_type(field.type):
        return f"v1.{_short(field.type)}"
    return GO_TYPES.get(field.type, field.type)


def _wrong_value(field: Field, value: Json, place: str, path: str) -> Iterator[str]:
    if value is None:
        return
    inner = schema_type(field.type)
    if inner:
        if isinstance(value, dict):
            yield from _wrong(inner, _short(field.type), value, path)
        else:
            yield _mismatch(value, place, _go_type(field))
        return
    text = _wrong_scalar(field, value, place)
    if text:
        yield text


def _wrong_scalar(field: Field, value: Json, place: str) -> str:
    match field.type:
        case "string":
            return "" if isinstance(value, str) else _mismatch(value, place, "string")
        case "boolean":
            return "" if isinstance(value, bool) else _mismatch(value, place, "bool")
        case "int32" | "int64":
            return _wrong_int(field.type, value, place)
        case "number":
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return "" if is_number else _mismatch(value, place, "float64")
        case "bytes":
            return _wrong_bytes(value, place)
        case "time" | "microtime":
            return _wrong_time(value, place)
        case "quantity":
            return _wrong_quantity(value)
        case "int-or-string":
            whole = isinstance(value, int | str) and not isinstance(value, bool)
            return "" if whole else f"json: cannot unmarshal {_json_type(value)} into Go value of type int32"
        case "strings":
            return "" if isinstance(value, list) else _mismatch(value, place, "[]string")
        case _:
            return ""


def _wrong_int(type_name: str, value: Json, place: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        return _mismatch(value, place, type_name)
    bits = INT_BITS[type_name]
    if -(1 << bits) <= value < 1 << bits:
        return ""
    return f"json: cannot unmarshal number {value} into Go struct field {place} of type {type_name}"


def _wrong_bytes(value: Json, place: str) -> str:
    if not isinstance(value, str):
        return _mismatch(value, place, "[]uint8")
    try:
        binascii.a2b_base64(value.replace("\n", ""), strict_mode=True)
    except binascii.Error:
        good = re.match(r"(?:[A-Za-z0-9+/]{4})*", value)
        return f"illegal base64 data at input byte {good.end() if good else 0}"
    return ""


def _wrong_time(value: Json, place: str) -> str:
    if not isinstance(value, str):
        return _mismatch(value, place, "string")
    try:
        datetime.fromisoformat(value)
    except ValueError:
        layout = "2006-01-02T15:04:05Z07:00"
        return f'parsing time "\\"{value}\\"" as "\\"{layout}\\"": cannot parse "{value}" as "2006"'
    return ""


def _wrong_quantity(value: Json) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return ""
    return "" if isinstance(value, str) and QUANTITY.fullmatch(value) else QUANTITY_TEXT
