"""Objects shown as rows of a Table, or as their metadata only.

In: stored objects, a kind's columns and the time. Out: documents of meta.k8s.io. Cells come from the kind; this
module knows only the frame around them (k8s.io/apiserver/pkg/endpoints/handlers/response.go).
"""

from collections.abc import Callable, Iterable

import msgspec

from fairlead.cluster.apiserver.kinds.spec import KindSpec
from fairlead.cluster.apiserver.negotiation import Acceptance, Form
from fairlead.cluster.apiserver.statuses import bad_request
from fairlead.cluster.apiserver.store import EventType, Stored
from fairlead.cluster.apiserver.watch import Shape
from fairlead.kube.documents import Document, Json

Clock = Callable[[], float]
"""Seconds since 1970."""

INCLUDES = ("None", "Metadata", "Object")


def column_definitions(kind: KindSpec) -> list[Json]:
    """Return the columns of a kind as a Table carries them."""
    return [
        {
            "name": column.name,
            "type": column.type,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        }
        for column in kind.columns
    ]


def metadata_only(document: Document, acceptance: Acceptance) -> Document:
    """Return the PartialObjectMetadata of an object."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": acceptance.api_version,
        "metadata": document.get("metadata", {}),
    }


def table_row(kind: KindSpec, document: Document, include: str, acceptance: Acceptance, now: float) -> Document:
    """Return one row. `include` is how much of the object goes along: None, Metadata (the default) or Object."""
    row: Document = {"cells": kind.row(document, now)}
    if include == "Object":
        row["object"] = document
    elif include != "None":
        row["object"] = metadata_only(document, acceptance)
    return row


def table(
    kind: KindSpec,
    documents: Iterable[Document],
    *,
    metadata: Document,
    include: str,
    acceptance: Acceptance,
    now: float,
    headers: bool = True,
) -> Document:
    """Return a Table of objects; `headers` False leaves the column definitions empty, as after the first of a watch."""
    rows: list[Json] = [table_row(kind, document, include, acceptance, now) for document in documents]
    return {
        "kind": "Table",
        "apiVersion": acceptance.api_version,
        "metadata": metadata,
        "columnDefinitions": column_definitions(kind) if headers else None,
        "rows": rows,
    }


def list_metadata(document: Document) -> Document:
    """Return what the metadata of a Table of one object says: its revision."""
    metadata = document.get("metadata")
    revision = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    return {"resourceVersion": revision} if revision else {}


def check_include(include: str) -> str:
    """Return includeObject as given, Metadata where absent; raise 400 for an unknown one."""
    if include and include not in INCLUDES:
        raise bad_request(f'unsupported includeObject value: "{include}"')
    return include or "Metadata"


def watch_shape(kind: KindSpec, acceptance: Acceptance, include: str, clock: Clock) -> Shape | None:
    """Return how a watch shows its objects: None for plain ones. Column definitions go with the first event only."""
    if acceptance.form is Form.OBJECT:
        if kind.stored_as == kind.resource.api_version:
            return None
        return lambda event, stored: kind.presented(stored.raw)
    if acceptance.form is Form.METADATA:

        def partial(event: EventType, stored: Stored) -> bytes:
            return msgspec.json.encode(metadata_only(stored.document(), acceptance))

        return partial
    first = True

    def rows(event: EventType, stored: Stored) -> bytes:
        nonlocal first
        document = stored.document()
        shown = table(
            kind,
            [document],
            metadata=list_metadata(document),
            include=include,
            acceptance=acceptance,
            now=clock(),
            headers=first,
        )
        first = False
        return msgspec.json.encode(shown)

    return rows
