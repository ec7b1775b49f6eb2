"""Get, list and watch.

In: a call and the store. Out: bodies of answers, or the plan of a watch. It changes nothing. Rules of
resourceVersion, continuation and selection: k8s.io/apiserver/pkg/storage and
https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

import random
from bisect import bisect_left
from collections.abc import Sequence

import msgspec

from fairlead.cluster.apiserver.calls import Call
from fairlead.cluster.apiserver.continuing import Continuation, decode_token, encode_token
from fairlead.cluster.apiserver.fieldselectors import compile_fields, exact_name
from fairlead.cluster.apiserver.labelselectors import compile_labels
from fairlead.cluster.apiserver.negotiation import Form, parse_accept
from fairlead.cluster.apiserver.statuses import (
    StatusError,
    bad_request,
    expired,
    not_found,
    too_large_revision,
)
from fairlead.cluster.apiserver.store import ExpiredError, Store, Stored
from fairlead.cluster.apiserver.tables import (
    Clock,
    check_include,
    list_metadata,
    metadata_only,
    table,
    watch_shape,
)
from fairlead.cluster.apiserver.watch import Matches, WatchPlan
from fairlead.kube.documents import Document, Json

_TOO_OLD_TOKEN = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)
_MATCHES = ("Exact", "NotOlderThan")


def show(call: Call, stored: Stored, clock: Clock) -> bytes:
    """Return one object in the form the client takes."""
    acceptance = parse_accept(call.headers.get("accept", ""))
    if acceptance.form is Form.OBJECT:
        return call.kind.presented(stored.raw) + b"\n"
    document = stored.document()
    if acceptance.form is Form.METADATA:
        return msgspec.json.encode(metadata_only(document, acceptance))
    include = check_include(call.query.get("includeObject", ""))
    shown = table(
        call.kind,
        [document],
        metadata=list_metadata(document),
        include=include,
        acceptance=acceptance,
        now=clock(),
    )
    return msgspec.json.encode(shown)


def get(call: Call, store: Store) -> Stored:
    """Return the object a call names; raise 404."""
    stored = store.get(call.resource, call.key)
    if stored is None:
        raise not_found(call.kind.resource, call.target.name)
    return stored


def selection(call: Call) -> Matches | None:
    """Return what the selectors of a call let through, None for everything; raise 400 for bad selectors."""
    labels = compile_labels(call.query.get("labelSelector", ""))
    fields = compile_fields(call.query.get("fieldSelector", ""), call.kind.field_label_names)
    if labels is None and fields is None:
        return None

    def matches(stored: Stored) -> bool:
        if labels is not None and not labels(stored.labels):
            return False
        return fields is None or fields(stored.fields)

    return matches


def select(call: Call, store: Store) -> list[Stored]:
    """Return the objects of a call's resource and namespace that its selectors let through, as they are now."""
    matches = selection(call)
    found = store.settled(call.resource, call.target.namespace)
    return found if matches is None else [stored for stored in found if matches(stored)]


def list_objects(call: Call, store: Store, clock: Clock) -> bytes:
    """Return the answer to a list in the form the client takes."""
    if call.flag("sendInitialEvents"):
        raise StatusError(
            422,
            "Invalid",
            'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: '
            "sendInitialEvents is forbidden for list",
        )
    include = check_include(call.query.get("includeObject", ""))
    acceptance = parse_accept(call.headers.get("accept", ""))
    page, metadata = _page(call, store)
    if acceptance.form is Form.OBJECT:
        return _listed(call, page, metadata)
    documents = [stored.document() for stored in page]
    if acceptance.form is Form.METADATA:
        items: list[Json] = [metadata_only(document, acceptance) for document in documents]
        answer: Document = {
            "kind": "PartialObjectMetadataList",
            "apiVersion": acceptance.api_version,
            "metadata": metadata,
            "items": items,
        }
        return msgspec.json.encode(answer)
    shown = table(call.kind, documents, metadata=metadata, include=include, acceptance=acceptance, now=clock())
    return msgspec.json.encode(shown)


def whole_list(call: Call, found: Sequence[Stored], revision: int) -> bytes:
    """Return objects as a list, as the answer to the deletion of a collection."""
    return _listed(call, found, {"resourceVersion": str(revision)})


def _listed(call: Call, page: Sequence[Stored], metadata: Document) -> bytes:
    head = {"kind": f"{call.kind.resource.kind}List", "apiVersion": call.api_version, "metadata": metadata}
    items = [stored.raw for stored in page]
    if call.kind.stored_version:
        items = [call.kind.presented(each) for each in items]
    return b'%s,"items":[%s]}\n' % (msgspec.json.encode(head)[:-1], b",".join(items))


def _page(call: Call, store: Store) -> tuple[Sequence[Stored], Document]:
    """Return one page of a list and the metadata that goes with it."""
    limit = call.number("limit") or 0
    token = call.query.get("continue", "")
    matches = selection(call)
    revision, found, start = _begin(call, store, token)
    if call.target.namespace:
        found = [stored for stored in found if stored.key[0] == call.target.namespace]
    first = bisect_left([stored.key for stored in found], start) if token else 0
    metadata: Document = {"resourceVersion": str(revision)}
    page: list[Stored] = []
    for index in range(first, len(found)):
        stored = found[index]
        if matches is not None and not matches(stored):
            continue
        if limit and len(page) == limit:
            metadata["continue"] = encode_token(Continuation(revision, stored.key))
            if matches is None:
                metadata["remainingItemCount"] = len(found) - index
            break
        page.append(stored)
    return page, metadata


def _begin(call: Call, store: Store, token: str) -> tuple[int, Sequence[Stored], tuple[str, str]]:
    """Return the revision of a list, all objects of that revision, and the key to begin at."""
    asked = _asked_revision(call, store)
    if token:
        if call.query.get("resourceVersion", "") not in ("", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        continuation = decode_token(token)
        if continuation.revision < 0:
            return store.committed, store.settled(call.resource), continuation.start
        try:
            return continuation.revision, store.snapshot(call.resource, continuation.revision), continuation.start
        except ExpiredError as error:
            inconsistent = encode_token(Continuation(-1, continuation.start))
            raise expired(_TOO_OLD_TOKEN, inconsistent) from error
    if asked is not None and call.query.get("resourceVersionMatch") == "Exact":
        try:
            return asked, store.snapshot(call.resource, asked), ("", "")
        except ExpiredError as error:
            raise expired(str(error)) from error
    name = exact_name(call.query.get("fieldSelector", ""))
    if name and (call.target.namespace or not call.kind.resource.namespaced) and not store.staged:
        stored = store.get(call.resource, (call.target.namespace, name))
        return store.committed, [stored] if stored else [], ("", "")
    return store.committed, store.settled(call.resource, call.target.namespace), ("", "")


def _asked_revision(call: Call, store: Store) -> int | None:
    """Return the resourceVersion of a call, None where absent; raise 504 for the future and 400 for nonsense."""
    match = call.query.get("resourceVersionMatch", "")
    text = call.query.get("resourceVersion", "")
    if match and (match not in _MATCHES or not text):
        raise bad_request(
            "resourceVersionMatch is forbidden unless resourceVersion is provided"
            if match in _MATCHES
            else f'resourceVersionMatch: Unsupported value: "{match}"'
        )
    if not text:
        return None
    if not text.isdecimal():
        raise bad_request(f'Invalid value: "{text}": resourceVersion must be a whole number')
    revision = int(text)
    if revision > store.committed:
        raise too_large_revision(revision, store.committed)
    return revision


def plan_watch(call: Call, store: Store, clock: Clock, dice: random.Random) -> WatchPlan:
    """Return the plan of the watch a call asks for; raise 400, 422 or 504 for what cannot be watched."""
    acceptance = parse_accept(call.headers.get("accept", ""))
    include = check_include(call.query.get("includeObject", ""))
    initial = _initial_events(call)
    since = _watch_revision(call, store, initial)
    timeout = call.number("timeoutSeconds") or dice.uniform(1800, 3600)
    selected = selection(call)

    def bookmark(revision: int, initial_end: bool) -> Document:
        metadata: Document = {"resourceVersion": str(revision)}
        if initial_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        if acceptance.form is Form.OBJECT:
            return {"kind": call.kind.resource.kind, "apiVersion": call.api_version, "metadata": metadata}
        if acceptance.form is Form.METADATA:
            return {"kind": "PartialObjectMetadata", "apiVersion": acceptance.api_version, "metadata": metadata}
        return {
            "kind": "Table",
            "apiVersion": acceptance.api_version,
            "metadata": metadata,
            "columnDefinitions": None,
            "rows": [],
        }

    return WatchPlan(
        resource=call.resource,
        namespace=call.target.namespace,
        matches=_of_name(call.target.name, selected) if call.target.name else selected,
        shape=watch_shape(call.kind, acceptance, include, clock),
        since=since,
        initial_end=initial,
        bookmarks=call.flag("allowWatchBookmarks"),
        bookmark=bookmark,
        timeout=float(timeout),
    )


def _of_name(name: str, selected: Matches | None) -> Matches:
    return lambda stored: stored.key[1] == name and (selected is None or selected(stored))


def _initial_events(call: Call) -> bool:
    if "sendInitialEvents" not in call.query:
        return False
    if call.query.get("resourceVersionMatch") != "NotOlderThan":
        raise StatusError(
            422,
            "Invalid",
            'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: '
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        )
    if not call.flag("sendInitialEvents"):
        return False
    if not call.flag("allowWatchBookmarks"):
        raise StatusError(
            422,
            "Invalid",
            'ListOptions.meta.k8s.io "" is invalid: allowWatchBookmarks: Forbidden: '
            "sendInitialEvents requires allowWatchBookmarks",
        )
    return True


def _watch_revision(call: Call, store: Store, initial: bool) -> int | None:
    text = call.query.get("resourceVersion", "")
    if text and not text.isdecimal():
        raise bad_request(f'Invalid value: "{text}": resourceVersion must be a whole number')
    revision = int(text or "0")
    if revision > store.committed:
        raise too_large_revision(revision, store.committed)
    if initial or (revision == 0 and call.query.get("sendInitialEvents") != "false"):
        return None
    return revision or store.committed
