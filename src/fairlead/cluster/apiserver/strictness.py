"""What is wrong with the shape of a body: unknown fields, doubled fields, values of the wrong type.

In: a decoded object, its bytes and how strict the caller wants it. Out: the object without what has no place in it,
and warnings; or 400 in upstream's words (k8s.io/apimachinery/pkg/runtime/serializer/json). Rules about values are
the kinds' business.
"""

import json
from collections.abc import Sequence

from fairlead.cluster.apiserver.kinds.spec import KindSpec
from fairlead.cluster.apiserver.statuses import StatusError, bad_request
from fairlead.kube.documents import Document
from fairlead.kube.schema.checking import drop_unknown, type_errors

MAX_WARNINGS = 20


def duplicate_fields(body: bytes) -> list[str]:
    """Return `duplicate field "spec.x"` for each key that stands twice in one object of the JSON text."""
    return [f'duplicate field "{path}"' for path in _doubled_paths(json.loads(body, object_pairs_hook=_Doubled), "")]


class _Doubled(dict[str, object]):
    """An object that remembers which of its own keys stood twice."""

    def __init__(self, items: list[tuple[str, object]]) -> None:
        super().__init__(items)
        keys = [key for key, _ in items]
        self.doubled = [key for key in self if keys.count(key) > 1] if len(keys) > len(self) else []


def _doubled_paths(value: object, path: str) -> list[str]:
    if isinstance(value, _Doubled):
        own = [f"{path}{key}" for key in value.doubled]
        return own + [each for key, inner in value.items() for each in _doubled_paths(inner, f"{path}{key}.")]
    if isinstance(value, list):
        place = path.removesuffix(".")
        items: list[object] = value  # pyright: ignore[reportUnknownVariableType]  # what json.loads returns
        return [each for index, inner in enumerate(items) for each in _doubled_paths(inner, f"{place}[{index}].")]
    return []


def tidy(kind: KindSpec, document: Document, body: bytes, validation: str) -> list[str]:
    """Drop unknown fields in place and return the warnings about them; raise 400 where strictness or types say so.

    `body` is the text the document was decoded from, empty where there is none (a patched object).
    """
    problems = _strange(kind, document)
    if body and validation != "Ignore":
        problems = duplicate_fields(body) + problems
    if problems and validation == "Strict":
        raise bad_request(cannot_be_handled(kind, f"strict decoding error: {', '.join(problems)}"))
    wrong = type_errors(kind.schema, document)
    if wrong:
        raise bad_request(cannot_be_handled(kind, wrong[0]))
    return problems[:MAX_WARNINGS] if validation == "Warn" else []


def tidy_patched(kind: KindSpec, document: Document, validation: str) -> list[str]:
    """Do what `tidy` does for the outcome of a patch, where strictness is answered with 422 on the patch."""
    problems = _strange(kind, document)
    if problems and validation == "Strict":
        raise _bad_patch(f"strict decoding error: {', '.join(problems)}")
    wrong = type_errors(kind.schema, document)
    if wrong:
        raise _bad_patch(cannot_be_handled(kind, wrong[0]))
    return problems[:MAX_WARNINGS] if validation == "Warn" else []


def _strange(kind: KindSpec, document: Document) -> list[str]:
    if kind.structure is None:
        return drop_unknown(kind.schema, document)
    from fairlead.cluster.apiserver.custom.structural import prune

    return prune(kind.structure, document)


def _bad_patch(why: str) -> StatusError:
    return StatusError(
        422,
        "Invalid",
        f' "" is invalid: patch: Invalid value: {why}',
        {"causes": [{"reason": "FieldValueInvalid", "message": f"Invalid value: {why}", "field": "patch"}]},
    )


def cannot_be_handled(kind: KindSpec, why: str) -> str:
    """Return upstream's sentence for a body that does not fit its kind."""
    resource = kind.resource
    return f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {why}'


def warning_headers(warnings: Sequence[str]) -> list[str]:
    """Return the values of the Warning headers (RFC 7234, 5.5) for some texts."""
    return [f'299 - "{_escaped(text)}"' for text in warnings]


def _escaped(text: str) -> str:
    return "".join(each if each >= " " else " " for each in text).replace("\\", "\\\\").replace('"', '\\"')
