"""What a write does to metadata.managedFields.

In: a kind, the object before and after, and its author. Out: the object with its managers, or for an apply the
object that comes of it. Our own components are no managers of objects that have none: what they make and report many
times a second (pods, leases, statuses) stays small. On objects that have managers they are tracked like anybody,
except for what they report in the status.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from fairlead.cluster.apiserver.kinds.spec import KindSpec
from fairlead.cluster.apiserver.objectmeta import metadata_of
from fairlead.cluster.apiserver.ownership.managers import (
    ConflictError,
    Managed,
    Manager,
    Owned,
    apply,
    decode_managed,
    encode_managed,
    owned_paths,
    update,
)
from fairlead.cluster.apiserver.ownership.shapes import Shape, shape_of_schema, shape_of_type
from fairlead.cluster.apiserver.statuses import StatusError, apply_conflict
from fairlead.cluster.apiserver.users import User
from fairlead.kube.documents import Document, Json, items_at, text_at

OWN = "fairlead"
BEFORE = "before-first-apply"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_LONGEST_NAME = 128


class Author(Struct, frozen=True):
    """Who sent a write, and under which name as a manager of fields; `subresource` is where it went."""

    user: User
    manager: str
    subresource: str = ""


def manager_name(query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """Return the fieldManager of a request, else the program of its User-Agent; raise 422 for a bad one."""
    given = query.get("fieldManager", "")
    if len(given) > _LONGEST_NAME or not given.isprintable():
        told = (
            "may not be longer than 128 bytes"
            if len(given) > _LONGEST_NAME
            else "should only contain printable characters"
        )
        raise StatusError(
            422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Invalid value: "{given}": {told}'
        )
    return given or headers.get("user-agent", "").partition("/")[0][:_LONGEST_NAME] or OWN


def shape_of(kind: KindSpec) -> Shape:
    """Return how objects of a kind are taken apart."""
    return shape_of_schema(kind.structure) if kind.structure is not None else shape_of_type(kind.schema)


def track(kind: KindSpec, old: Document | None, new: Document, author: Author, now: str) -> None:
    """Set the managers of `new` after a write that is no apply."""
    own = author.manager == OWN
    before = {} if old is None else old
    managed = _managed(before, new)
    if own and (not managed or author.subresource == "status"):
        return _keep(new, managed)
    manager = Manager(author.manager, "Update", kind.resource.api_version, author.subresource)
    return _keep(new, update(shape_of(kind), before, new, managed, manager, now))


def _managed(old: Document, new: Document) -> Managed:
    """Read the managers: those the author wrote down, if any can be read, else those that were there."""
    given = items_at(new, "metadata", "managedFields")
    if given == [{}]:
        return {}
    return decode_managed(given) or decode_managed(items_at(old, "metadata", "managedFields"))


def _keep(document: Document, managed: Managed) -> None:
    metadata = metadata_of(document)
    entries = encode_managed(managed)
    if entries:
        metadata["managedFields"] = entries
    else:
        metadata.pop("managedFields", None)


def applied(
    kind: KindSpec, live: Document | None, wanted: Document, author: Author, now: str, *, force: bool
) -> Document:
    """Return the object after a server-side apply, with its managers; raise 409 for conflicts, 422 for bad lists."""
    shape = shape_of(kind)
    part: Document = {
        key: value for key, value in wanted.items() if (key == "status") is (author.subresource == "status")
    }
    for field in ("apiVersion", "kind", "metadata"):
        part[field] = wanted[field]
    manager = Manager(author.manager, "Apply", kind.resource.api_version, author.subresource)
    before: Document = {} if live is None else live
    managed: Managed = decode_managed(items_at(before, "metadata", "managedFields"))
    if live is not None and not managed:
        created = text_at(live, "metadata", "creationTimestamp")
        first = Manager(BEFORE, "Update", kind.resource.api_version)
        managed = {first: Owned(owned_paths(shape, live), created)}
    try:
        try:
            document, found = apply(shape, before, part, managed, manager, now, force=force)
        except ConflictError:
            freed = _freed(kind, shape, before, managed, manager)
            document, found = apply(shape, before, part, freed, manager, now, force=force)
    except ConflictError as error:
        raise apply_conflict(str(error), error.causes) from error
    except ValueError as error:
        raise StatusError(400, "BadRequest", f"failed to create typed patch object: {error}") from error
    _keep(document, found)
    return document


def _freed(kind: KindSpec, shape: Shape, live: Document, managed: Managed, manager: Manager) -> Managed:
    """Return the managers without what kubectl applied on the client's side, which kubectl may take over.

    Source: k8s.io/apimachinery/pkg/util/managedfields/internal/lastappliedmanager.go.
    """
    text = text_at(live, "metadata", "annotations", LAST_APPLIED)
    if manager.name != "kubectl" or not text:
        return managed
    try:
        last: Json = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return managed
    if not isinstance(last, dict) or text_at(last, "apiVersion") != kind.resource.api_version:
        return managed
    paths = owned_paths(shape, last)
    return {each: Owned(owned.paths - paths, owned.time) for each, owned in managed.items()}
