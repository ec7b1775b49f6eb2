"""How a value is taken apart for ownership: struct, map, list by keys, set, or as a whole.

In: the type of a served kind, or the schema of a custom resource. Out: `Shape`, which names the part below each key.
The rules are those of structured-merge-diff: listType, listMapKey, mapType and structType; a value without a schema
is a map all the way down, with lists as wholes.
"""

from collections.abc import Callable
from enum import Enum

from msgspec import Struct

from fairlead.kube.documents import Document, flag_at, items_at, mapping_at, text_at
from fairlead.kube.schema.types import Field, schema_type


class Sort(Enum):
    """What a value is, for ownership."""

    WHOLE = "whole"
    FIELDS = "fields"
    KEYED = "keyed"
    SET = "set"


class Shape(Struct, frozen=True):
    """The sort of a value; `part` gives the shape below a field, or that of the items of a list (by "")."""

    sort: Sort
    part: Callable[[str], "Shape"]
    keys: tuple[str, ...] = ()


def _free_part(name: str) -> Shape:
    return FREE


def _whole_part(name: str) -> Shape:
    return WHOLE


WHOLE = Shape(Sort.WHOLE, _whole_part)
FREE = Shape(Sort.FIELDS, _free_part)
"""A value nothing is known of: objects are taken apart, everything else is a whole."""


def shape_of_type(name: str) -> Shape:
    """Return the shape of a served type by its name."""
    known = schema_type(name)
    if known is None:
        return FREE if name == "any" else WHOLE
    if known.atomic:
        return WHOLE
    return Shape(Sort.FIELDS, lambda key: _shape_of_field(known.fields.get(key)))


def _shape_of_field(field: Field | None) -> Shape:
    if field is None:
        return FREE
    if field.shape == "list":
        if field.list_type == "map":
            return Shape(Sort.KEYED, lambda _: shape_of_type(field.type), tuple(field.list_keys.split(",")))
        return Shape(Sort.SET, _whole_part) if field.list_type == "set" else WHOLE
    if field.shape == "map":
        return WHOLE if field.list_type == "atomic" else Shape(Sort.FIELDS, lambda _: shape_of_type(field.type))
    return shape_of_type(field.type)


def shape_of_schema(schema: Document) -> Shape:
    """Return the shape of a value by its OpenAPI schema (of a CustomResourceDefinition)."""
    match text_at(schema, "type"):
        case "object":
            if text_at(schema, "x-kubernetes-map-type") == "atomic":
                return WHOLE
            return Shape(Sort.FIELDS, lambda key: _shape_of_property(schema, key))
        case "array":
            items = mapping_at(schema, "items")
            match text_at(schema, "x-kubernetes-list-type"):
                case "map":
                    keys = tuple(str(each) for each in items_at(schema, "x-kubernetes-list-map-keys"))
                    return Shape(Sort.KEYED, lambda _: shape_of_schema(items), keys)
                case "set":
                    return Shape(Sort.SET, _whole_part)
                case _:
                    return WHOLE
        case "":
            return FREE if flag_at(schema, "x-kubernetes-preserve-unknown-fields") else WHOLE
        case _:
            return WHOLE


def _shape_of_property(schema: Document, key: str) -> Shape:
    known = mapping_at(schema, "properties").get(key)
    if isinstance(known, dict):
        return shape_of_schema(known)
    additional = schema.get("additionalProperties")
    return shape_of_schema(additional) if isinstance(additional, dict) else FREE
