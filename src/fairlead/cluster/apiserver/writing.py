"""Create, update and patch.

In: a call, the store, and the rules of its kind. Out: a `Written`, staged in the store (or only made, for a dry
run), or a StatusError. Everything here happens without waiting, so a read and the write that rests on it cannot be
parted. Order of the steps: k8s.io/apiserver/pkg/registry/generic/registry/store.go and rest/create.go,
rest/update.go.
"""

import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from fairlead.cluster.apiserver.allocating import Allocating
from fairlead.cluster.apiserver.calls import Call, decode_object, resource_key
from fairlead.cluster.apiserver.kinds.errors import AdmissionError, FieldError, invalid, required
from fairlead.cluster.apiserver.kinds.spec import KindSpec
from fairlead.cluster.apiserver.negotiation import (
    APPLY_PATCH,
    JSON_PATCH,
    MERGE_PATCH,
    PATCH_TYPES,
    STRATEGIC_MERGE_PATCH,
    YAML,
    body_type,
)
from fairlead.cluster.apiserver.objectmeta import (
    DROPPED,
    KEPT,
    check_name,
    check_type,
    copy_field,
    in_order,
    is_finished,
    key_of,
    metadata_of,
    new_finalizers,
    settle_metadata,
    settle_namespace,
    substance,
)
from fairlead.cluster.apiserver.ownership.tracking import Author, applied, manager_name, track
from fairlead.cluster.apiserver.patches import apply_patch
from fairlead.cluster.apiserver.reading import get
from fairlead.cluster.apiserver.recording import AddressRecords
from fairlead.cluster.apiserver.statuses import (
    StatusError,
    already_exists,
    bad_options,
    bad_request,
    conflict,
    no_unique_name,
    not_found,
    unsupported_media_type,
)
from fairlead.cluster.apiserver.statuses import forbidden as forbid
from fairlead.cluster.apiserver.statuses import invalid as refuse
from fairlead.cluster.apiserver.store import ObjectKey, Store, Stored
from fairlead.cluster.apiserver.strictness import tidy, tidy_patched
from fairlead.cluster.apiserver.tables import Clock
from fairlead.cluster.apiserver.users import User
from fairlead.kube.documents import Document, number_at, text_at
from fairlead.kube.resources import Resource
from fairlead.kube.schema.merge import strategic_merge

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_MAX_PREFIX = 58
_TRIES = 8
_NAMESPACES = ("", "namespaces")


Guard = Callable[[KindSpec, Document, Document | None, User], None]
"""Raises unless the user may write the first document in place of the second, None for a create."""


class Written(Struct, frozen=True, kw_only=True):
    """What a write made: the object, whether it is new, and what to warn its author of."""

    stored: Stored
    created: bool = False
    warnings: tuple[str, ...] = ()


class Writer:
    """The writes of all kinds to one store."""

    def __init__(
        self, store: Store, allocating: Allocating, guard: Guard, *, clock: Clock, dice: random.Random
    ) -> None:
        """`guard` is asked before a write that somebody sent, and raises where they may not make it."""
        self.store = store
        self.allocating = allocating
        self._guard = guard
        self._clock = clock
        self._dice = dice
        self.addresses = AddressRecords(
            store, allocating, lambda: {"uid": self._uid(), "creationTimestamp": self.now()}
        )

    def now(self) -> str:
        """Return the time as objects carry it: RFC 3339, whole seconds, UTC."""
        return time_text(self._clock())

    def listed(self, resource: Resource, namespace: str) -> list[Document]:
        """List documents for a kind's rules about other objects."""
        return [stored.document() for stored in self.store.items((resource.group, resource.plural), namespace)]

    # Create.

    def create(self, call: Call) -> Written:
        """Create the object in the body of a call."""
        document = decode_object(call.body, call.headers.get("content-type", ""))
        check_type(call, document)
        warnings = tidy(call.kind, document, call.body if _asked(call) else b"", call.field_validation)
        return self.create_document(
            call.kind.kept,
            call.kind.received(document),
            namespace=call.target.namespace,
            dry_run=call.dry_run,
            warnings=tuple(warnings),
            author=author_of(call),
        )

    def create_document(
        self,
        kind: KindSpec,
        document: Document,
        *,
        namespace: str,
        dry_run: bool = False,
        warnings: tuple[str, ...] = (),
        author: Author | None = None,
        applied: bool = False,
    ) -> Written:
        """Create an object whose shape is known to be right; one that is `applied` comes with its managers."""
        resource = kind.resource
        document = in_order(kind, document)
        metadata = metadata_of(document)
        settle_namespace(kind, metadata, namespace)
        for field in (*KEPT, *DROPPED, "resourceVersion"):
            metadata.pop(field, None)
        self._name(kind, metadata)
        self._check_namespace(kind, metadata)
        metadata["uid"] = self._uid()
        metadata["creationTimestamp"] = self.now()
        if kind.has_generation:
            metadata["generation"] = 1
        kind.default(document)
        key = key_of(kind, metadata)
        try:
            kind.admit(document, None, self.listed)
        except AdmissionError as error:
            raise forbid(resource, key[1], str(error)) from error
        kind.prepare_create(document)
        if self.store.get(resource_key(kind), key) is not None:
            raise already_exists(resource, key[1])
        errors = self.allocating.allocate(kind, document, None)
        errors = [*errors, *kind.validate(document), *kind.validate_create(document)]
        if errors:
            raise refuse(resource, key[1], errors)
        if author is not None:
            self._guard(kind, document, None, author.user)
            if not applied:
                track(kind, None, document, author, self.now())
        told = (*warnings, *kind.warnings(document))
        stored = self._keep(kind, key, document, dry_run=dry_run)
        return Written(stored=stored, created=True, warnings=told)

    def _name(self, kind: KindSpec, metadata: Document) -> None:
        if text_at(metadata, "name"):
            return
        prefix = text_at(metadata, "generateName")
        if not prefix:
            told = required("metadata.name", "name or generateName is required")
            raise refuse(kind.resource, "", [told])
        namespace = text_at(metadata, "namespace")
        name = prefix
        for _ in range(_TRIES):
            suffix = "".join(self._dice.choices(_SUFFIX_LETTERS, k=5))
            name = prefix[:_MAX_PREFIX] + suffix
            if self.store.get(resource_key(kind), (namespace, name)) is None:
                metadata["name"] = name
                return
        raise no_unique_name(kind.resource, name)

    def _check_namespace(self, kind: KindSpec, metadata: Document) -> None:
        """Refuse to create in a namespace that is not there or is going (the NamespaceLifecycle admission)."""
        if not kind.resource.namespaced:
            return
        name = text_at(metadata, "namespace")
        stored = self.store.get(_NAMESPACES, ("", name))
        if stored is None:
            raise StatusError(404, "NotFound", f'namespaces "{name}" not found', {"name": name, "kind": "namespaces"})
        if stored.fields.get("status.phase") == "Terminating":
            why = f"unable to create new content in namespace {name} because it is being terminated"
            cause: Document = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {name} is being terminated",
                "field": "metadata.namespace",
            }
            raise forbid(kind.resource, text_at(metadata, "name"), why, [cause])

    def _keep(self, kind: KindSpec, key: ObjectKey, document: Document, *, dry_run: bool) -> Stored:
        if dry_run:
            return unstored(key, document)
        before = self.store.get(resource_key(kind), key)
        stored = self.store.put(resource_key(kind), key, document)
        self.addresses.follow(resource_key(kind), stored, before)
        return stored

    # Update.

    def update(self, call: Call) -> Written:
        """Replace the object a call names by the one in its body; create it where the kind allows that."""
        document = decode_object(call.body, call.headers.get("content-type", ""))
        check_type(call, document)
        check_name(call, document)
        document = _seen(call, document)
        warnings = tidy(call.kind, document, call.body if _asked(call) else b"", call.field_validation)
        document = call.kind.received(document)
        existing = self.store.get(call.resource, call.key)
        if existing is None:
            if not call.kind.allow_create_on_update or call.target.subresource:
                raise not_found(call.kind.resource, call.target.name)
            return self.create_document(
                call.kind.kept,
                document,
                namespace=call.target.namespace,
                dry_run=call.dry_run,
                warnings=tuple(warnings),
                author=author_of(call),
            )
        if not text_at(document, "metadata", "resourceVersion") and not call.kind.allow_unconditional_update:
            told = invalid("metadata.resourceVersion", 0, "must be specified for an update")
            raise refuse(call.kind.resource, call.target.name, [told])
        return self.replace(
            call.kind.kept,
            existing,
            document,
            status=call.target.subresource == "status",
            dry_run=call.dry_run,
            warnings=tuple(warnings),
            author=author_of(call),
        )

    def replace(
        self,
        kind: KindSpec,
        existing: Stored,
        document: Document,
        *,
        status: bool = False,
        dry_run: bool = False,
        warnings: tuple[str, ...] = (),
        author: Author | None = None,
        applied: bool = False,
    ) -> Written:
        """Put `document` in the place of `existing`, by the rules of an update or of a status update.

        A document that is `applied` comes with its managers; without an author they stay as they are.
        """
        old = existing.document()
        new = in_order(kind, document)
        settle_metadata(kind, new, old)
        errors = self._prepare_status(kind, new, old) if status else self._prepare(kind, new, old)
        errors = [*new_finalizers(new, old), *errors]
        if errors:
            raise refuse(kind.resource, existing.key[1], errors)
        if author is not None:
            self._guard(kind, new, old, author.user)
        if kind.has_generation and substance(new) != substance(old):
            metadata_of(new)["generation"] = (number_at(old, "metadata", "generation") or 0) + 1
        told = warnings if status else (*warnings, *kind.warnings(new))
        if author is None:
            copy_field(metadata_of(new), metadata_of(old), "managedFields")
        elif not applied:
            track(kind, old, new, author, self.now())
        if new == old:
            return Written(stored=existing, warnings=told)
        return Written(stored=self.settle(kind, existing, new, dry_run=dry_run), warnings=told)

    def settle(self, kind: KindSpec, existing: Stored, document: Document, *, dry_run: bool = False) -> Stored:
        """Store the new state of an object, or remove it where that state has nothing left to wait for."""
        if is_finished(document):
            return self.remove(kind, existing, document, dry_run=dry_run)
        return self._keep(kind, existing.key, document, dry_run=dry_run)

    def _prepare(self, kind: KindSpec, new: Document, old: Document) -> list[FieldError]:
        if kind.has_status:
            copy_field(new, old, "status")
        kind.default(new)
        kind.prepare_update(new, old)
        kind.admit(new, old, self.listed)
        errors = self.allocating.allocate(kind, new, old)
        return [*errors, *kind.validate(new), *kind.validate_update(new, old)]

    def _prepare_status(self, kind: KindSpec, new: Document, old: Document) -> list[FieldError]:
        for field in [*old, *new]:
            if field not in ("metadata", "status", "kind", "apiVersion"):
                copy_field(new, old, field)
        kind.prepare_status(new, old)
        return kind.validate_status(new, old)

    # Patch.

    def patch(self, call: Call) -> Written:
        """Patch the object a call names."""
        media = patch_media(call)
        if media == APPLY_PATCH:
            return self._apply(call)
        if "force" in call.query:
            raise bad_options("force: Forbidden: may not be specified for non-apply patch")
        existing = get(call, self.store)
        if media == STRATEGIC_MERGE_PATCH and call.kind.structure is not None:
            raise unsupported_media_type(media, (JSON_PATCH, MERGE_PATCH, APPLY_PATCH))
        current = existing.document()
        if call.kind.conversion is not None:
            current = call.kind.conversion.shown(current)
        current["apiVersion"] = call.api_version
        patched = apply_patch(current, call.body, media, self.merger(call.kind))
        check_type(call, patched)
        check_name(call, patched)
        patched = _seen(call, patched)
        warnings = tidy_patched(call.kind, patched, call.field_validation)
        return self.replace(
            call.kind.kept,
            existing,
            call.kind.received(patched),
            status=call.target.subresource == "status",
            dry_run=call.dry_run,
            warnings=tuple(warnings),
            author=author_of(call),
        )

    def _apply(self, call: Call) -> Written:
        """Apply the object in the body on the server; it is created where it is not there (KEP-555)."""
        if "fieldManager" not in call.query:
            raise bad_options("fieldManager: Required value: is required for apply patch")
        document = decode_object(call.body, YAML)
        check_type(call, document)
        check_name(call, document)
        metadata = metadata_of(document)
        if metadata.pop("managedFields", None):
            raise bad_request("metadata.managedFields must be nil")
        warnings = tidy(call.kind, document, b"", call.field_validation)
        kind, document = call.kind.kept, call.kind.received(document)
        existing = self.store.get(call.resource, call.key)
        if existing is None and text_at(document, "metadata", "uid"):
            raise conflict(call.kind.resource, call.target.name, "uid mismatch: the provided object specified uid")
        live = None if existing is None else existing.document()
        author = author_of(call)
        wanted = applied(kind, live, document, author, self.now(), force=call.flag("force"))
        if existing is None:
            if call.target.subresource:
                raise not_found(call.kind.resource, call.target.name)
            return self.create_document(
                kind,
                wanted,
                namespace=call.target.namespace,
                dry_run=call.dry_run,
                warnings=tuple(warnings),
                author=author,
                applied=True,
            )
        return self.replace(
            kind,
            existing,
            wanted,
            status=call.target.subresource == "status",
            dry_run=call.dry_run,
            warnings=tuple(warnings),
            author=author,
            applied=True,
        )

    def merger(self, kind: KindSpec) -> Callable[[Document, Document], Document]:
        """Return the strategic merge by a kind's schema."""
        return lambda current, patch: strategic_merge(kind.schema, current, patch)

    # Removal, of what an update or a delete has finished.

    def remove(self, kind: KindSpec, existing: Stored, document: Document | None, *, dry_run: bool = False) -> Stored:
        """Take an object out of the store; `document` is its last state where that differs from the stored one."""
        if dry_run:
            return unstored(existing.key, existing.document() if document is None else document)
        gone = self.store.delete(resource_key(kind), existing.key, document)
        self.addresses.follow(resource_key(kind), None, existing)
        return gone

    def _uid(self) -> str:
        return str(uuid.UUID(int=self._dice.getrandbits(128), version=4))


def time_text(seconds: float) -> str:
    """Return seconds since 1970 as RFC 3339 text in whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unstored(key: ObjectKey, document: Document) -> Stored:
    """Return an object as an answer shows it that is not kept: the outcome of a dry run."""
    return Stored(key=key, revision=0, raw=msgspec.json.encode(document), labels={}, fields={})


def author_of(call: Call) -> Author:
    """Return who sent a write, as a manager of fields."""
    return Author(call.caller, manager_name(call.query, call.headers), call.target.subresource)


def patch_media(call: Call) -> str:
    """Return the type of a patch; raise 415 for one that is not served."""
    media = call.headers.get("content-type", "").partition(";")[0].strip()
    if not media:
        raise unsupported_media_type("", PATCH_TYPES)
    return body_type(media, PATCH_TYPES)


def _asked(call: Call) -> bool:
    """Doubled fields cost a second look at the text, taken only where the caller speaks of strictness."""
    return "fieldValidation" in call.query


def _seen(call: Call, document: Document) -> Document:
    """Return the part of a body that its path looks at: a write to /status is not checked where it changes nothing."""
    if call.target.subresource != "status":
        return document
    return {field: document[field] for field in ("kind", "apiVersion", "metadata", "status") if field in document}
