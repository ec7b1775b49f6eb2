"""What the engine must know of one kind: names, columns, and the rules of its create, update and delete.

In: nothing; these are the shapes that the modules of this package fill and the engine reads. Out: `KindSpec` and the
values it speaks in. It knows no storage, no HTTP and no clock: the time and the listing of other objects come in as
arguments.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Struct

from fairlead.cluster.apiserver.kinds.errors import FieldError
from fairlead.kube.documents import Document, Json
from fairlead.kube.resources import Resource

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
"""The verbs of a stored kind, in the order discovery prints them."""

CREATE_ONLY = ("create",)
"""The verbs of a kind that is asked and answered, and never stored."""


class Column(Struct, frozen=True):
    """One column of a Table answer; `kubectl get` shows those of priority 0, `-o wide` all."""

    name: str
    type: str
    format: str = ""
    description: str = ""
    priority: int = 0


class Subresource(Struct, frozen=True, kw_only=True):
    """One entry `plural/name` of discovery: the type its bodies have, and the verbs it answers."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


ListDocuments = Callable[[Resource, str], Sequence[Document]]
"""Lists the stored objects of a resource in a namespace ("" for all, or for a cluster-wide resource)."""


def keep(document: Document) -> None:
    """Leave an object as it is: the rule of a kind that has none."""


def keep_both(new: Document, old: Document) -> None:
    """Leave an update as it is: the rule of a kind that has none."""


def no_errors(document: Document) -> list[FieldError]:
    """Find nothing wrong with an object."""
    return []


def no_update_errors(new: Document, old: Document) -> list[FieldError]:
    """Find nothing wrong with an update."""
    return []


def no_warnings(document: Document) -> list[str]:
    """Warn of nothing."""
    return []


def no_labels(document: Document) -> Mapping[str, str]:
    """Know no field label beside metadata.name and metadata.namespace."""
    return {}


def no_admission(document: Document, old: Document | None, listed: ListDocuments) -> None:
    """Change nothing for what other objects say."""


def no_grace(document: Document, requested: int | None) -> int:
    """Delete at once, whatever grace the caller asks for: only pods end gracefully."""
    return 0


class ScalePaths(Struct, frozen=True, kw_only=True):
    """Where the Scale of an object is found in it, as JSON paths; no selector where that is empty."""

    spec: str
    status: str
    selector: str


class Conversion(Struct, frozen=True, kw_only=True):
    """How a version of a kind differs from the one that is stored: the stored kind, and documents both ways."""

    stored: "KindSpec"
    shown: Callable[[Document], Document]
    received: Callable[[Document], Document]


class KindSpec(Struct, frozen=True, kw_only=True):
    """The whole of what one kind adds to the generic engine.

    The order of a create: `default`, `admit(doc, None, list)`, `prepare_create`, the allocators, `validate` (metadata
    included; name and namespace are already set). Of an update: `default`, `prepare_update(new, old)`, `admit(new,
    old, list)`, the allocators, `validate(new)` and `validate_update(new, old)`; of a write to /status:
    `prepare_status(new, old)` in place of `prepare_update`, then `validate_status(new, old)`. All of them change the
    first document in place or return what is wrong. `warnings` are for the Warning header of creates and updates.

    A kind that is `asked` is never stored: the answer to its POST is the object with its status filled in.
    `structure` is the OpenAPI schema of a kind that a CustomResourceDefinition made; `stored_version` the apiVersion
    its objects are stored in, where that may be another than that of the path.
    `has_generation`: the engine sets metadata.generation to 1 on create and adds 1 when anything but metadata and
    status differs. `field_labels` gives the labels that a fieldSelector may name beside metadata.name and
    metadata.namespace; a label that is not among `field_label_names` is an error.
    """

    resource: Resource
    singular: str
    schema: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    has_generation: bool = False
    has_status: bool = False
    allow_create_on_update: bool = False
    allow_unconditional_update: bool = True
    columns: tuple[Column, ...] = ()
    row: Callable[[Document, float], list[Json]]
    field_label_names: tuple[str, ...] = ()
    field_labels: Callable[[Document], Mapping[str, str]] = no_labels
    default: Callable[[Document], None] = keep
    admit: Callable[[Document, Document | None, ListDocuments], None] = no_admission
    prepare_create: Callable[[Document], None] = keep
    prepare_update: Callable[[Document, Document], None] = keep_both
    prepare_status: Callable[[Document, Document], None] = keep_both
    validate: Callable[[Document], list[FieldError]] = no_errors
    validate_create: Callable[[Document], list[FieldError]] = no_errors
    validate_update: Callable[[Document, Document], list[FieldError]] = no_update_errors
    validate_status: Callable[[Document, Document], list[FieldError]] = no_update_errors
    warnings: Callable[[Document], list[str]] = no_warnings
    grace_seconds: Callable[[Document, int | None], int] = no_grace
    asked: bool = False
    structure: Document | None = None
    stored_version: str = ""
    scale_paths: ScalePaths | None = None
    conversion: Conversion | None = None

    def received(self, document: Document) -> Document:
        """Return a document of this version as it is stored."""
        return document if self.conversion is None else self.conversion.received(document)

    @property
    def kept(self) -> "KindSpec":
        """The kind whose rules hold for what is stored."""
        return self if self.conversion is None else self.conversion.stored

    @property
    def stored_as(self) -> str:
        """The apiVersion that objects of the kind carry in the store."""
        return self.stored_version or self.resource.api_version

    def presented(self, raw: bytes) -> bytes:
        """Return a stored object as this version of the kind shows it; without a conversion only apiVersion differs."""
        if self.conversion is not None:
            return msgspec.json.encode(self.conversion.shown(msgspec.json.decode(raw)))
        shown = self.resource.api_version
        if self.stored_as == shown:
            return raw
        return raw.replace(f'"apiVersion":"{self.stored_as}"'.encode(), f'"apiVersion":"{shown}"'.encode(), 1)

    def subresource(self, name: str) -> Subresource | None:
        """Return the subresource of that name, or None."""
        return next((each for each in self.subresources if each.name == name), None)
