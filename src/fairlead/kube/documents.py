"""API objects as JSON documents: every field their author wrote, with accessors that never fail on a wrong shape.

Comes in: decoded JSON. Goes out: the part asked for, or an empty value of the type asked for.
"""

from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
    Document: TypeAlias = "dict[str, Json]"
else:  # so that `Document | None` is a type at run time, and decoders can be made for it
    Json, Document = object, dict


def value_at(document: Json, *path: str) -> Json:
    """The value at `path`, or None where a step is missing or no object."""
    value = document
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def mapping_at(document: Json, *path: str) -> Document:
    """The object at `path`; a new empty one where there is none."""
    value = value_at(document, *path)
    return value if isinstance(value, dict) else {}


def items_at(document: Json, *path: str) -> list[Json]:
    """The list at `path`; a new empty one where there is none."""
    value = value_at(document, *path)
    return value if isinstance(value, list) else []


def text_at(document: Json, *path: str) -> str:
    """The string at `path`, or the empty string."""
    value = value_at(document, *path)
    return value if isinstance(value, str) else ""


def number_at(document: Json, *path: str) -> int | None:
    """The integer at `path`, or None; true and false are no numbers."""
    value = value_at(document, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def flag_at(document: Json, *path: str) -> bool:
    """Whether the value at `path` is true."""
    return value_at(document, *path) is True


def strings_at(document: Json, *path: str) -> dict[str, str]:
    """The object at `path` reduced to its string values: labels, annotations, selectors."""
    return {key: value for key, value in mapping_at(document, *path).items() if isinstance(value, str)}


def as_document(value: object) -> Document:
    """`value`, which the codec has just decoded from a JSON object, under its name."""
    return cast("Document", value)
