"""The subresources that carry objects: scale, binding, eviction and finalize.

In: a call with a subresource. Out: the body of its answer, with the change to the parent staged in the store.
`status` is an ordinary write and lives in `writing`; streaming subresources (log, proxy) are served outside the
engine.
"""

import msgspec

from fairlead.cluster.apiserver.calls import Call, decode_object
from fairlead.cluster.apiserver.custom.jsonpaths import find, set_number
from fairlead.cluster.apiserver.deleting import delete_stored, options_of
from fairlead.cluster.apiserver.evictions import note_eviction
from fairlead.cluster.apiserver.kinds.errors import invalid, required
from fairlead.cluster.apiserver.kinds.spec import KindSpec, ScalePaths
from fairlead.cluster.apiserver.patches import apply_patch, merge
from fairlead.cluster.apiserver.reading import get
from fairlead.cluster.apiserver.statuses import bad_request, conflict
from fairlead.cluster.apiserver.statuses import invalid as refuse
from fairlead.cluster.apiserver.store import Stored
from fairlead.cluster.apiserver.tables import Clock
from fairlead.cluster.apiserver.writing import Writer, author_of, patch_media
from fairlead.kube.documents import Document, Json, items_at, mapping_at, number_at, text_at
from fairlead.kube.resources import Resource

_SCALE = Resource(group="autoscaling", version="v1", kind="Scale", plural="scales", namespaced=True)
_BINDING = Resource(group="", version="v1", kind="Binding", plural="bindings", namespaced=True)
_CREATED: Document = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def selector_text(selector: Document) -> str:
    """Return a LabelSelector as text, terms sorted as upstream sorts them (labels.Selector.String)."""
    terms = [f"{key}={value}" for key, value in mapping_at(selector, "matchLabels").items()]
    for item in items_at(selector, "matchExpressions"):
        key, values = text_at(item, "key"), sorted(str(each) for each in items_at(item, "values"))
        listed = f"({','.join(values)})"
        forms = {"In": f"{key} in {listed}", "NotIn": f"{key} notin {listed}", "Exists": key, "DoesNotExist": f"!{key}"}
        terms.append(forms.get(text_at(item, "operator"), key))
    return ",".join(sorted(terms))


_PATHS = ScalePaths(spec=".spec.replicas", status=".status.replicas", selector="")


def scale_of(kind: KindSpec, stored: Stored) -> Document:
    """Return the autoscaling/v1 Scale of a workload, or of a custom resource that says where to find it."""
    document = stored.document()
    metadata = mapping_at(document, "metadata")
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    paths = kind.scale_paths or _PATHS
    wanted, present = find(paths.spec, document), find(paths.status, document)
    status: Document = {"replicas": present if isinstance(present, int) else 0}
    if kind.scale_paths is None:
        text = selector_text(mapping_at(document, "spec", "selector"))
    else:
        text = find(paths.selector, document) if paths.selector else ""
    if text:
        status["selector"] = text
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: metadata[field] for field in kept if field in metadata},
        "spec": {"replicas": wanted if isinstance(wanted, int) else 0},
        "status": status,
    }


def scale(call: Call, writer: Writer) -> bytes:
    """Get, replace or patch the Scale of a workload."""
    stored = get(call, writer.store)
    if call.method == "GET":
        return _encoded(scale_of(call.kind, stored))
    if call.method == "PATCH":
        wanted = apply_patch(scale_of(call.kind, stored), call.body, patch_media(call), _merged)
    else:
        wanted = decode_object(call.body, call.headers.get("content-type", ""))
    name = call.target.name
    revision = text_at(wanted, "metadata", "resourceVersion")
    if revision and revision != str(stored.revision):
        raise conflict(call.kind.resource, name)
    replicas = number_at(wanted, "spec", "replicas") or 0
    if replicas < 0:
        told = invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise refuse(_SCALE, name, [told])
    document = stored.document()
    set_number((call.kind.scale_paths or _PATHS).spec, document, replicas)
    written = writer.replace(call.kind, stored, document, dry_run=call.dry_run, author=author_of(call))
    return _encoded(scale_of(call.kind, written.stored))


def _merged(current: Document, patch: Document) -> Document:
    merged = merge(current, patch)
    assert isinstance(merged, dict)
    return merged


def bind(call: Call, writer: Writer) -> bytes:
    """Give a pod its node: the scheduler's word (pkg/registry/core/pod/storage, assignPod)."""
    body = decode_object(call.body, call.headers.get("content-type", ""))
    name = call.target.name
    node = text_at(body, "target", "name")
    if not node:
        raise refuse(_BINDING, name, [required("target.name")])
    stored = get(call, writer.store)
    document = stored.document()
    metadata, spec = mapping_at(document, "metadata"), mapping_at(document, "spec")
    uid = text_at(body, "metadata", "uid")
    if uid and uid != metadata.get("uid"):
        raise conflict(call.kind.resource, name, f"Precondition failed: UID in precondition: {uid}")
    if text_at(metadata, "deletionTimestamp"):
        raise conflict(_BINDING, name, f"pod {name} is being deleted, cannot be assigned to a host")
    if text_at(spec, "nodeName"):
        raise conflict(_BINDING, name, f'pod {name} is already assigned to node "{spec["nodeName"]}"')
    if items_at(spec, "schedulingGates"):
        raise conflict(_BINDING, name, f"pod {name} has non-empty .spec.schedulingGates")
    spec["nodeName"] = node
    _add_annotations(metadata, mapping_at(body, "metadata", "annotations"))
    _set_scheduled(document, writer.now())
    if not call.dry_run:
        writer.store.put(call.resource, stored.key, document)
    return _encoded(_CREATED)


def _add_annotations(metadata: Document, annotations: Document) -> None:
    if annotations:
        metadata["annotations"] = {**mapping_at(metadata, "annotations"), **annotations}


def _set_scheduled(document: Document, now: str) -> None:
    status = dict(mapping_at(document, "status"))
    others = [each for each in items_at(status, "conditions") if text_at(each, "type") != "PodScheduled"]
    scheduled: Document = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": now,
    }
    conditions: list[Json] = [*others, scheduled]
    status["conditions"] = conditions
    document["status"] = status


def evict(call: Call, writer: Writer, clock: Clock) -> bytes:
    """Delete a pod by way of an Eviction, if its disruption budget allows it now."""
    body = decode_object(call.body, call.headers.get("content-type", ""))
    if text_at(body, "metadata", "name") not in ("", call.target.name):
        raise bad_request("name in URL does not match name in Eviction object")
    stored = get(call, writer.store)
    note_eviction(stored.document(), writer, dry_run=call.dry_run)
    delete_stored(call.kind, stored, options_of(mapping_at(body, "deleteOptions"), call), writer, clock)
    return _encoded(_CREATED)


def finalize(call: Call, writer: Writer) -> bytes:
    """Replace a namespace's spec.finalizers; the namespace goes when none is left and it is being deleted."""
    body = decode_object(call.body, call.headers.get("content-type", ""))
    stored = get(call, writer.store)
    revision = text_at(body, "metadata", "resourceVersion")
    if revision and revision != str(stored.revision):
        raise conflict(call.kind.resource, call.target.name)
    document = stored.document()
    document["spec"] = {**mapping_at(document, "spec"), "finalizers": items_at(body, "spec", "finalizers")}
    return writer.settle(call.kind, stored, document, dry_run=call.dry_run).raw + b"\n"


def _encoded(document: Document) -> bytes:
    return msgspec.json.encode(document) + b"\n"
