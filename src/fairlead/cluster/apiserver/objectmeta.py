"""What the engine itself says about kind, name and metadata of an object, whatever its kind.

In: documents and the path or the earlier object they must agree with. Out: the documents set right in place, or a
StatusError. Rules: k8s.io/apiserver/pkg/registry/rest/meta.go and apimachinery/pkg/api/validation/objectmeta.go.
"""

from fairlead.cluster.apiserver.calls import Call
from fairlead.cluster.apiserver.kinds.errors import FieldError, forbidden
from fairlead.cluster.apiserver.kinds.spec import KindSpec
from fairlead.cluster.apiserver.statuses import bad_request, conflict
from fairlead.cluster.apiserver.store import ObjectKey
from fairlead.kube.documents import Document, items_at, mapping_at, number_at, text_at

KEPT = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
"""What a client may not change once the server has set it."""

DROPPED = ("selfLink",)
"""What is never stored."""


def check_type(call: Call, document: Document) -> None:
    """Refuse a body that says it is of another kind or version than the path; fill in what it does not say."""
    for field, expected in (("apiVersion", call.api_version), ("kind", call.kind.resource.kind)):
        given = document.setdefault(field, expected)
        if given == expected:
            continue
        if field == "apiVersion":
            raise bad_request(
                f"the API version in the data ({given}) does not match the expected API version ({expected})"
            )
        raise bad_request(f"the object in the data is of kind {given}, and the path is that of a {expected}")


def in_order(kind: KindSpec, document: Document) -> Document:
    """Return the document with kind, apiVersion and metadata first, as upstream writes it; metadata is made up."""
    rest = {key: value for key, value in document.items() if key not in ("kind", "apiVersion", "metadata")}
    metadata = dict(mapping_at(document, "metadata"))
    return {"kind": kind.resource.kind, "apiVersion": kind.stored_as, "metadata": metadata, **rest}


def key_of(kind: KindSpec, metadata: Document) -> ObjectKey:
    """Return the key of an object by its metadata."""
    return (text_at(metadata, "namespace") if kind.resource.namespaced else "", text_at(metadata, "name"))


def is_finished(document: Document) -> bool:
    """Return whether an object under deletion has nothing left to wait for."""
    metadata = mapping_at(document, "metadata")
    return (
        bool(text_at(metadata, "deletionTimestamp"))
        and not items_at(metadata, "finalizers")
        and not number_at(metadata, "deletionGracePeriodSeconds")
        and not (document.get("kind") == "Namespace" and items_at(document, "spec", "finalizers"))
    )


def metadata_of(document: Document) -> Document:
    """Return the metadata of an object that has some."""
    metadata = document["metadata"]
    assert isinstance(metadata, dict)
    return metadata


def copy_field(new: Document, old: Document, field: str) -> None:
    """Give a field of `new` the state it has in `old`, absence included."""
    if field in old:
        new[field] = old[field]
    else:
        new.pop(field, None)


def settle_namespace(kind: KindSpec, metadata: Document, namespace: str) -> None:
    """Set the namespace of a new object to that of the path; raise 400 where it says otherwise."""
    given = text_at(metadata, "namespace")
    if not kind.resource.namespaced:
        metadata.pop("namespace", None)
        return
    if not namespace:
        raise bad_request("an empty namespace may not be set during creation")
    if given and given != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    metadata["namespace"] = namespace


def check_name(call: Call, document: Document) -> None:
    """Refuse an object whose name or namespace is not that of the path; fill in what it does not say."""
    metadata = document.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    name = metadata.setdefault("name", call.target.name)
    if name != call.target.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({call.target.name})")
    if not call.kind.resource.namespaced:
        return
    namespace = metadata.setdefault("namespace", call.target.namespace)
    if namespace != call.target.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def settle_metadata(kind: KindSpec, new: Document, old: Document) -> None:
    """Check revision and uid of an update, and keep what no client may change."""
    metadata, before = metadata_of(new), metadata_of(old)
    name = text_at(before, "name")
    revision = text_at(metadata, "resourceVersion")
    if revision and revision != before["resourceVersion"]:
        raise conflict(kind.resource, name)
    uid = text_at(metadata, "uid")
    if uid and uid != before.get("uid"):
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {before.get('uid')}"
        raise conflict(kind.resource, name, why)
    for field in (*KEPT, "resourceVersion"):
        copy_field(metadata, before, field)
    for field in DROPPED:
        metadata.pop(field, None)
    if not kind.resource.namespaced:
        metadata.pop("namespace", None)


def new_finalizers(new: Document, old: Document) -> list[FieldError]:
    """Return what is wrong where finalizers are added to an object that is being deleted."""
    if not text_at(old, "metadata", "deletionTimestamp"):
        return []
    before = items_at(old, "metadata", "finalizers")
    added = [each for each in items_at(new, "metadata", "finalizers") if each not in before]
    if not added:
        return []
    shown = ", ".join(f'"{each}"' for each in added)
    return [
        forbidden(
            "metadata.finalizers",
            f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{shown}}}",
        )
    ]


def substance(document: Document) -> Document:
    """Return what counts for the generation: everything but metadata and status."""
    return {key: value for key, value in document.items() if key not in ("metadata", "status")}
