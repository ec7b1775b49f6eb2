"""What is wrong with one field, in the words of Kubernetes.

In: the path of a field, what it holds and what it should hold. Out: `FieldError`, whose text is upstream's to the
letter (k8s.io/apimachinery/pkg/util/validation/field/errors.go), since people search for those texts. It knows no
kind.
"""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from fairlead.kube.documents import Json

REQUIRED = "Required value"
INVALID = "Invalid value"
UNSUPPORTED = "Unsupported value"
DUPLICATE = "Duplicate value"
FORBIDDEN = "Forbidden"
NOT_FOUND = "Not found"
TOO_MANY = "Too many"
TOO_LONG = "Too long"
INTERNAL = "Internal error"

CAUSES = {
    REQUIRED: "FieldValueRequired",
    INVALID: "FieldValueInvalid",
    UNSUPPORTED: "FieldValueNotSupported",
    DUPLICATE: "FieldValueDuplicate",
    FORBIDDEN: "FieldValueForbidden",
    NOT_FOUND: "FieldValueNotFound",
    TOO_MANY: "FieldValueTooMany",
    TOO_LONG: "FieldValueTooLong",
    INTERNAL: "InternalError",
}
"""The reason a cause in a Status carries, by the type of the error."""


def quoted(text: str) -> str:
    """Return `text` between double quotes as Go's %q writes it, which for ordinary text is JSON's way too."""
    return msgspec.json.encode(text).decode()


def value_text(value: Json) -> str:
    """Return how upstream shows a bad value: strings quoted, numbers and booleans plain, the rest as JSON."""
    if isinstance(value, str):
        return quoted(value)
    return msgspec.json.encode(value).decode()


class FieldError(Struct, frozen=True):
    """One thing wrong with one field.

    `value` is the text of the bad value, already rendered ("" where none is shown).
    """

    field: str
    type: str
    value: str = ""
    detail: str = ""

    @property
    def body(self) -> str:
        """Return the text without the field, as the message of a cause in a Status."""
        parts = [self.type]
        if self.value:
            parts.append(self.value)
        if self.detail:
            parts.append(self.detail)
        return ": ".join(parts)

    @property
    def reason(self) -> str:
        """Return the reason of the cause in a Status, such as FieldValueInvalid."""
        return CAUSES[self.type]

    def __str__(self) -> str:
        return f"{self.field}: {self.body}"


def required(field: str, detail: str = "") -> FieldError:
    """Say that a field must be given."""
    return FieldError(field, REQUIRED, "", detail)


def invalid(field: str, value: Json, detail: str) -> FieldError:
    """Say that a field holds a value it may not."""
    return FieldError(field, INVALID, value_text(value), detail)


def unsupported(field: str, value: Json, supported: Iterable[str]) -> FieldError:
    """Say that a field holds none of the `supported` values, which are shown in the order given."""
    names = ", ".join(quoted(each) for each in supported)
    return FieldError(field, UNSUPPORTED, value_text(value), f"supported values: {names}")


def duplicate(field: str, value: Json) -> FieldError:
    """Say that a field repeats the value of an earlier one."""
    return FieldError(field, DUPLICATE, value_text(value))


def forbidden(field: str, detail: str) -> FieldError:
    """Say that a field may not be given here."""
    return FieldError(field, FORBIDDEN, "", detail)


def not_found(field: str, value: Json) -> FieldError:
    """Say that a field names something that is not there."""
    return FieldError(field, NOT_FOUND, value_text(value))


def too_many(field: str, count: int, limit: int) -> FieldError:
    """Say that a list is longer than `limit`."""
    noun = "item" if limit == 1 else "items"
    return FieldError(field, TOO_MANY, str(count), f"must have at most {limit} {noun}")


def too_long(field: str, limit: int) -> FieldError:
    """Say that a text is longer than `limit` bytes; the text itself is not shown."""
    noun = "byte" if limit == 1 else "bytes"
    return FieldError(field, TOO_LONG, "", f"may not be more than {limit} {noun}")


class AdmissionError(Exception):
    """Admission refuses an object for what other objects say; upstream answers 403 with this text."""
