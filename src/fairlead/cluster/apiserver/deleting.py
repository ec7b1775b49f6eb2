"""Delete: at once, with grace, or when the last finalizer is gone.

In: a call and its options. Out: the object that is going, or the Status of one that is gone; staged in the store.
Rules: k8s.io/apiserver/pkg/registry/rest/delete.go and generic/registry/store.go. It deletes no dependents: that is
the garbage collector's, by the finalizers `orphan` and `foregroundDeletion` which are set here.
"""

import msgspec
from msgspec import Struct

from fairlead.cluster.apiserver.allocating import RANGES
from fairlead.cluster.apiserver.calls import Call, decode_object, resource_key
from fairlead.cluster.apiserver.kinds.spec import KindSpec
from fairlead.cluster.apiserver.objectmeta import is_finished
from fairlead.cluster.apiserver.reading import get, select
from fairlead.cluster.apiserver.statuses import StatusError, bad_request, conflict, forbidden
from fairlead.cluster.apiserver.store import Stored
from fairlead.cluster.apiserver.tables import Clock
from fairlead.cluster.apiserver.writing import Writer, time_text, unstored
from fairlead.kube.documents import (
    Document,
    Json,
    flag_at,
    items_at,
    mapping_at,
    number_at,
    text_at,
    value_at,
)

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
IMMORTAL = ("default", "kube-system", "kube-public")
"""The namespaces that may not be deleted (the NamespaceLifecycle admission)."""

_TOLD_WHOLE = ("Pod", "Service", "ServiceAccount", "PersistentVolume", "PersistentVolumeClaim", "StorageClass")
_POLICIES = ("Background", "Foreground", "Orphan")


class DeleteOptions(Struct, frozen=True, kw_only=True):
    """What the caller wants of a deletion. `policy` is empty where not said; `grace_seconds` None where not said."""

    grace_seconds: int | None = None
    policy: str = ""
    uid: str = ""
    revision: str = ""
    dry_run: bool = False


class Deleted(Struct, frozen=True):
    """The outcome: the last state of the object, and whether it is gone or only going."""

    stored: Stored
    gone: bool


def parse_options(call: Call) -> DeleteOptions:
    """Read the options from the body, else from the query; raise 400 or 422 for bad ones."""
    body: Document = {}
    if call.body.strip():
        body = decode_object(call.body, call.headers.get("content-type", ""))
        if text_at(body, "kind") not in ("", "DeleteOptions"):
            raise bad_request(f"the body of a DELETE must be DeleteOptions, not {text_at(body, 'kind')}")
    return options_of(body, call)


def options_of(body: Document, call: Call) -> DeleteOptions:
    """Read the options from a DeleteOptions document; a query parameter counts where the document is silent."""
    policy = text_at(body, "propagationPolicy") or call.query.get("propagationPolicy", "")
    if policy and policy not in _POLICIES:
        known = ", ".join(f'"{each}"' for each in _POLICIES)
        raise StatusError(
            422,
            "Invalid",
            f'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "{policy}": '
            f"supported values: {known}",
        )
    orphans = value_at(body, "orphanDependents")
    if not policy and (orphans is not None or "orphanDependents" in call.query):
        policy = "Orphan" if flag_at(body, "orphanDependents") or call.flag("orphanDependents") else "Background"
    grace = number_at(body, "gracePeriodSeconds")
    return DeleteOptions(
        grace_seconds=call.number("gracePeriodSeconds") if grace is None else grace,
        policy=policy,
        uid=text_at(body, "preconditions", "uid"),
        revision=text_at(body, "preconditions", "resourceVersion"),
        dry_run=call.dry_run or "All" in items_at(body, "dryRun"),
    )


def delete(call: Call, writer: Writer, clock: Clock) -> Deleted:
    """Delete the object a call names."""
    return delete_stored(call.kind, get(call, writer.store), parse_options(call), writer, clock)


def delete_collection(call: Call, writer: Writer, clock: Clock) -> list[Stored]:
    """Delete everything a call selects and return it."""
    options = parse_options(call)
    # What is selected is durable; what another writer has staged since, a removal among it, comes first.
    present = (writer.store.get(resource_key(call.kind), stored.key) for stored in select(call, writer.store))
    return [delete_stored(call.kind, each, options, writer, clock).stored for each in present if each is not None]


def delete_stored(kind: KindSpec, stored: Stored, options: DeleteOptions, writer: Writer, clock: Clock) -> Deleted:
    """Delete one object, or mark it as going where grace or a finalizer keeps it."""
    if kind.resource.kind == "Namespace" and stored.key[1] in IMMORTAL:
        raise forbidden(kind.resource, stored.key[1], "this namespace may not be deleted")
    _check_preconditions(kind, stored, options)
    document = stored.document()
    metadata = mapping_at(document, "metadata")
    grace = max(0, kind.grace_seconds(document, options.grace_seconds))
    _set_policy(metadata, options.policy)
    already = text_at(metadata, "deletionTimestamp")
    if not already:
        metadata["deletionTimestamp"] = time_text(clock() + grace)
        metadata["deletionGracePeriodSeconds"] = grace
        generation = number_at(metadata, "generation")
        if generation:
            metadata["generation"] = generation + 1
    elif grace < (number_at(metadata, "deletionGracePeriodSeconds") or 0):
        metadata["deletionTimestamp"] = time_text(clock() + grace)
        metadata["deletionGracePeriodSeconds"] = grace
    if kind.resource.kind == "Namespace":
        document["status"] = {**mapping_at(document, "status"), "phase": "Terminating"}
    if is_finished(document):
        return Deleted(writer.remove(kind, stored, None, dry_run=options.dry_run), gone=True)
    if document == stored.document():
        return Deleted(stored, gone=False)
    if options.dry_run:
        return Deleted(unstored(stored.key, document), gone=False)
    marked = writer.store.put(resource_key(kind), stored.key, document)
    if resource_key(kind) == RANGES:
        writer.addresses.finish_ranges()
        if writer.store.get(RANGES, stored.key) is None:
            return Deleted(marked, gone=True)
    return Deleted(marked, gone=False)


def answers_whole(kind: KindSpec) -> bool:
    """Say whether the last state of an object that is gone answers its DELETE, instead of a Status.

    It does where upstream's stores have ReturnDeletedObject; generated clients decode the answer as such an object.
    """
    return kind.resource.kind in _TOLD_WHOLE


def gone_status(kind: KindSpec, stored: Stored) -> bytes:
    """Return the Status of an object that is gone."""
    resource = kind.resource
    details: dict[str, Json] = {"name": stored.key[1], "group": resource.group, "kind": resource.plural}
    details["uid"] = text_at(stored.document(), "metadata", "uid")
    status: Document = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }
    return msgspec.json.encode(status) + b"\n"


def _set_policy(metadata: Document, policy: str) -> None:
    """Set the finalizer of a policy and take away that of the other; an object that says nothing keeps its own."""
    if not policy:
        return
    kept = [each for each in items_at(metadata, "finalizers") if each not in (FOREGROUND, ORPHAN)]
    wanted = {"Foreground": [FOREGROUND], "Orphan": [ORPHAN], "Background": []}[policy]
    finalizers: list[Json] = [*kept, *wanted]
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)


def _check_preconditions(kind: KindSpec, stored: Stored, options: DeleteOptions) -> None:
    if options.uid:
        uid = text_at(stored.document(), "metadata", "uid")
        if uid != options.uid:
            why = f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {uid}"
            raise conflict(kind.resource, stored.key[1], why)
    if options.revision and options.revision != str(stored.revision):
        why = (
            f"Precondition failed: ResourceVersion in precondition: {options.revision}, "
            f"ResourceVersion in object meta: {stored.revision}"
        )
        raise conflict(kind.resource, stored.key[1], why)
