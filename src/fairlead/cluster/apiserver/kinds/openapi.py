"""The OpenAPI v3 documents that kubectl reads before it applies, edits, patches and explains.

In: the table of kinds and the schema data. Out: JSON bytes, an index and one document per group and version, each
built when first asked for and kept. What kubectl needs of them: operations with their kind, the query parameter
fieldValidation and the content types of PATCH, and schemas with merge keys. It knows nothing of how requests are
answered.
"""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache

import msgspec

from fairlead.cluster.apiserver.kinds.spec import KindSpec, Subresource
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.cluster.apiserver.versions import OTHER_KINDS
from fairlead.kube.documents import Document, Json
from fairlead.kube.schema.types import Field, SchemaType, schema_type

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
DELETE_OPTIONS = f"{META}.DeleteOptions"
STATUS = f"{META}.Status"
ALWAYS_THERE = (DELETE_OPTIONS, STATUS, f"{META}.ListMeta", f"{META}.WatchEvent")

PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
CUSTOM_PATCH_TYPES = tuple(each for each in PATCH_TYPES if "strategic" not in each)
PLAIN: dict[str, Document] = {
    "string": {"type": "string"},
    "strings": {"type": "array", "items": {"type": "string", "default": ""}},
    "boolean": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "number": {"type": "number", "format": "double"},
    "bytes": {"type": "string", "format": "byte"},
    "any": {"type": "object"},
}
NAMED: dict[str, tuple[str, Document]] = {
    "time": (f"{META}.Time", {"type": "string", "format": "date-time"}),
    "microtime": (f"{META}.MicroTime", {"type": "string", "format": "date-time"}),
    "quantity": (
        "io.k8s.apimachinery.pkg.api.resource.Quantity",
        {"description": "An amount such as 100m, 1.5 or 64Mi.", "oneOf": [{"type": "string"}, {"type": "number"}]},
    ),
    "int-or-string": (
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        {
            "description": "A number or a text.",
            "format": "int-or-string",
            "oneOf": [{"type": "integer"}, {"type": "string"}],
        },
    ),
}
METHODS = {"get": "get", "create": "post", "update": "put", "patch": "patch", "delete": "delete"}


def group_path(group: str, version: str) -> str:
    """Return the name of a group's version in the index, and below the server's root: api/v1, apis/apps/v1."""
    return f"apis/{group}/{version}" if group else f"api/{version}"


@cache
def openapi_paths() -> tuple[str, ...]:
    """Return the names of all documents, such as apis/apps/v1, the core group first."""
    names = {group_path(kind.resource.group, kind.resource.version) for kind in (*KINDS, *OTHER_KINDS)}
    return tuple(sorted(names))


@cache
def openapi_v3(group_version: str) -> bytes | None:
    """Return the document of one group and version (`api/v1`, `apis/apps/v1`), None if nothing is served there."""
    if group_version not in openapi_paths():
        return None
    return _document(
        [
            kind
            for kind in (*KINDS, *OTHER_KINDS)
            if group_path(kind.resource.group, kind.resource.version) == group_version
        ]
    )


def custom_documents(kinds: Iterable[KindSpec]) -> dict[str, bytes]:
    """Return the documents of kinds that users define, by group and version."""
    served: dict[str, list[KindSpec]] = {}
    for kind in kinds:
        served.setdefault(group_path(kind.resource.group, kind.resource.version), []).append(kind)
    return {path: _document(each) for path, each in served.items()}


def _document(served: list[KindSpec]) -> bytes:
    return msgspec.json.encode(
        {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": "unversioned"},
            "paths": _paths(served),
            "components": {"schemas": _schemas(served)},
        }
    )


@lru_cache(maxsize=64)
def digest_of(document: bytes) -> str:
    """Return the hash by which a document's URL names its content."""
    return hashlib.sha512(document).hexdigest().upper()


@cache
def openapi_hash(group_version: str) -> str:
    """Return the hash of the document of a group and version."""
    return hashlib.sha512(openapi_v3(group_version) or b"").hexdigest().upper()


def openapi_index(custom: Mapping[str, bytes]) -> bytes:
    """Return the answer to GET /openapi/v3: where each document is, with its hash."""
    hashes = {path: openapi_hash(path) for path in openapi_paths()}
    hashes |= {path: digest_of(document) for path, document in custom.items()}
    return msgspec.json.encode(
        {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={hashes[path]}"} for path in sorted(hashes)}}
    )


def _kind_document(group: str, version: str, kind: str) -> Document:
    return {"group": group, "kind": kind, "version": version}


def _reference(name: str) -> Document:
    return {"$ref": f"#/components/schemas/{name}"}


def _query(name: str, type_name: str, description: str) -> Json:
    schema: Document = {"type": type_name, "uniqueItems": True}
    return {"name": name, "in": "query", "description": description, "schema": schema}


DRY_RUN = _query("dryRun", "string", "`All` carries the request out without storing anything.")
FIELD_MANAGER = _query("fieldManager", "string", "The name under which changed fields are noted.")
FIELD_VALIDATION = _query("fieldValidation", "string", "What becomes of unknown fields: Ignore, Warn or Strict.")
FORCE = _query("force", "boolean", "Whether an apply takes fields away from others.")
LIST_QUERY: list[Json] = [
    _query("allowWatchBookmarks", "boolean", "Whether a watch may report how far it has come."),
    _query("continue", "string", "Where to go on with a list that came in parts."),
    _query("fieldSelector", "string", "Only objects with these fields."),
    _query("labelSelector", "string", "Only objects with these labels."),
    _query("limit", "integer", "How many objects to return at most."),
    _query("resourceVersion", "string", "The version to list at or watch from."),
    _query("resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan."),
    _query("sendInitialEvents", "boolean", "Whether a watch begins with what is there."),
    _query("timeoutSeconds", "integer", "How long the call may take."),
    _query("watch", "boolean", "Whether to report changes in place of a list."),
]
WRITE_QUERY: list[Json] = [DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION]
QUERIES: dict[str, list[Json]] = {
    "get": [],
    "post": WRITE_QUERY,
    "put": WRITE_QUERY,
    "patch": [*WRITE_QUERY, FORCE],
    "delete": [DRY_RUN],
}


def _operation(kind: Document, schema: str, method: str, action: str, extra: list[Json]) -> Document:
    operation: Document = {
        "operationId": f"{action}{kind['kind']}",
        "parameters": [*QUERIES[method], *extra],
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": _reference(schema)}}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind,
    }
    if method == "patch":
        patch: Document = {"schema": {"type": "object"}}
        taken = PATCH_TYPES if schema_type(schema) else CUSTOM_PATCH_TYPES
        operation["requestBody"] = {"required": True, "content": dict.fromkeys(taken, patch)}
    elif method in ("post", "put"):
        operation["requestBody"] = {"required": True, "content": {"*/*": {"schema": _reference(schema)}}}
    elif method == "delete":
        operation["requestBody"] = {"content": {"*/*": {"schema": _reference(DELETE_OPTIONS)}}}
    return operation


def _parameters(path: str) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "description": told, "schema": {"type": "string"}}
        for name, told in (("name", "The name of the object."), ("namespace", "Its namespace."))
        if f"{{{name}}}" in path
    ]


def _paths(served: Iterable[KindSpec]) -> Document:
    paths: Document = {}
    for spec in served:
        resource = spec.resource
        root = "/" + group_path(resource.group, resource.version)
        within = f"{root}/namespaces/{{namespace}}" if resource.namespaced else root
        if resource.namespaced and "list" in spec.verbs:
            paths[f"{root}/{resource.plural}"] = _collection(spec, ("list",))
        paths[f"{within}/{resource.plural}"] = _collection(spec, spec.verbs) | _shared(within)
        if "get" not in spec.verbs:
            continue
        path = f"{within}/{resource.plural}/{{name}}"
        kind = _kind_document(resource.group, resource.version, resource.kind)
        paths[path] = _operations(kind, spec.schema, spec.verbs, ("get", "update", "patch", "delete")) | _shared(path)
        for each in spec.subresources:
            if schema := _subresource_schema(spec, each):
                kind = _kind_document(each.group or resource.group, each.version or resource.version, each.kind)
                below = _operations(kind, schema, each.verbs, ("get", "update", "patch", "create"))
                paths[f"{path}/{each.name}"] = below | _shared(path)
    return paths


def _shared(path: str) -> Document:
    return {"parameters": _parameters(path)}


def _operations(kind: Document, schema: str, verbs: tuple[str, ...], wanted: tuple[str, ...]) -> Document:
    operations: Document = {}
    for verb in wanted:
        if verb in verbs:
            method = METHODS[verb]
            operations[method] = _operation(kind, schema, method, method, [])
    return operations


def _collection(spec: KindSpec, verbs: tuple[str, ...]) -> Document:
    resource = spec.resource
    kind = _kind_document(resource.group, resource.version, resource.kind)
    operations: Document = {}
    if "list" in verbs:
        operations["get"] = _operation(kind, f"{spec.schema}List", "get", "list", LIST_QUERY)
    if "create" in verbs:
        operations["post"] = _operation(kind, spec.schema, "post", "post", [])
    if "deletecollection" in verbs:
        operations["delete"] = _operation(kind, STATUS, "delete", "deletecollection", LIST_QUERY)
    return operations


SUBRESOURCE_SCHEMAS = {
    "Scale": "io.k8s.api.autoscaling.v1.Scale",
    "Binding": "io.k8s.api.core.v1.Binding",
    "Eviction": "io.k8s.api.policy.v1.Eviction",
    "TokenRequest": "io.k8s.api.authentication.v1.TokenRequest",
}


def _subresource_schema(spec: KindSpec, each: Subresource) -> str:
    """Return the type of a subresource's bodies, "" for one that carries no object (log, proxy, exec)."""
    if each.name in ("log", "proxy", "exec", "attach", "portforward"):
        return ""
    return spec.schema if each.kind == spec.resource.kind else SUBRESOURCE_SCHEMAS.get(each.kind, "")


def _schemas(served: Iterable[KindSpec]) -> Document:
    waiting: list[str] = list(ALWAYS_THERE)
    schemas: Document = {}
    for spec in served:
        if spec.structure is not None:
            schemas[spec.schema] = _custom_schema(spec, spec.structure)
            waiting.append(f"{META}.ObjectMeta")
        waiting.append(spec.schema)
        waiting.extend(filter(None, (_subresource_schema(spec, each) for each in spec.subresources)))
        if "list" in spec.verbs:
            schemas[f"{spec.schema}List"] = _list_schema(spec)
    while waiting:
        name = waiting.pop()
        known = schema_type(name)
        if known is None or name in schemas:
            continue
        schemas[name] = _type_document(known)
        for field in known.fields.values():
            if named := NAMED.get(field.type):
                schemas[named[0]] = named[1]
            waiting.append(field.type)
    return dict(sorted(schemas.items()))


def _custom_schema(spec: KindSpec, structure: Document) -> Document:
    resource, properties = spec.resource, structure.get("properties")
    text: Document = {"type": "string"}
    return {
        **structure,
        "properties": {
            "apiVersion": text,
            "kind": text,
            **(properties if isinstance(properties, dict) else {}),
            "metadata": {"allOf": [_reference(f"{META}.ObjectMeta")]},
        },
        "x-kubernetes-group-version-kind": [_kind_document(resource.group, resource.version, resource.kind)],
    }


def _list_schema(spec: KindSpec) -> Document:
    resource = spec.resource
    text: Document = {"type": "string"}
    items: Document = {"type": "array", "items": {"allOf": [_reference(spec.schema)], "default": {}}}
    listed: Document = {"allOf": [_reference(f"{META}.ListMeta")], "default": {}}
    return {
        "description": f"A list of objects of kind {resource.kind}.",
        "type": "object",
        "required": ["items"],
        "properties": {"apiVersion": text, "items": items, "kind": text, "metadata": listed},
        "x-kubernetes-group-version-kind": [_kind_document(resource.group, resource.version, f"{resource.kind}List")],
    }


def _type_document(known: SchemaType) -> Document:
    document: Document = {"type": "object"}
    if known.text:
        document["description"] = known.text
    document["properties"] = {name: _field_document(field) for name, field in known.fields.items()}
    if required := [name for name, field in known.fields.items() if field.required]:
        document["required"] = list(required)
    if known.kind:
        document["x-kubernetes-group-version-kind"] = [_kind_document(*known.kind)]
    if known.atomic:
        document["x-kubernetes-map-type"] = "atomic"
    return document


def _value_document(type_name: str) -> Document:
    if type_name in PLAIN:
        return dict(PLAIN[type_name])
    name = NAMED[type_name][0] if type_name in NAMED else type_name
    return {"allOf": [_reference(name)]}


def _field_document(field: Field) -> Document:
    value = _value_document(field.type)
    document: Document = value
    if field.shape == "list":
        document = {"type": "array", "items": value}
    elif field.shape == "map":
        document = {"type": "object", "additionalProperties": value}
    if field.text:
        document["description"] = field.text
    if field.list_type:
        document["x-kubernetes-map-type" if field.shape == "map" else "x-kubernetes-list-type"] = field.list_type
    if field.list_keys:
        document["x-kubernetes-list-map-keys"] = list(field.list_keys.split(","))
    if field.merge_key:
        document["x-kubernetes-patch-merge-key"] = field.merge_key
    if field.strategy:
        document["x-kubernetes-patch-strategy"] = field.strategy
    return document
