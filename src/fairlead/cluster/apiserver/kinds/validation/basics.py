"""What is wrong with a ConfigMap, a Secret, a Node or a Lease.

In: a document with defaults, and for an update its predecessor. Out: FieldErrors. Source:
k8s.io/kubernetes/pkg/apis/core/validation/validation.go and pkg/apis/coordination/validation.
"""

from collections.abc import Sequence

import msgspec

from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.errors import duplicate, forbidden, invalid, required, too_long
from fairlead.cluster.apiserver.kinds.validation import texts
from fairlead.cluster.apiserver.kinds.validation.fields import Found, immutable, judged, one_of
from fairlead.kube.documents import Document, flag_at, mapping_at, number_at, text_at

DATA_BYTES = 1024 * 1024
FIXED = "field is immutable when `immutable` is set"
ACCOUNT_ANNOTATION = "kubernetes.io/service-account.name"
NEEDED_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def config_map_rules(config_map: Document) -> Found:
    """Judge the keys and the size of a config map."""
    data, binary = mapping_at(config_map, "data"), mapping_at(config_map, "binaryData")
    for key in data:
        yield from judged(f"data[{key}]", key, texts.config_key)
        if key in binary:
            yield invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    for key in binary:
        yield from judged(f"binaryData[{key}]", key, texts.config_key)
    size = sum(len(str(value).encode()) for value in data.values())
    if size + sum(len(str(value)) * 3 // 4 for value in binary.values()) > DATA_BYTES:
        yield too_long("", DATA_BYTES)


def _fixed_fields(new: Document, old: Document, fields: Sequence[str]) -> Found:
    if not flag_at(old, "immutable"):
        return
    if not flag_at(new, "immutable"):
        yield forbidden("immutable", FIXED)
    for field in fields:
        if mapping_at(new, field) != mapping_at(old, field):
            yield forbidden(field, FIXED)


def config_map_update_rules(new: Document, old: Document) -> Found:
    """Refuse changes to what was declared immutable."""
    yield from _fixed_fields(new, old, ("data", "binaryData"))


def secret_rules(secret: Document) -> Found:
    """Judge the keys of a secret, and that it has those its type needs."""
    data, kind = mapping_at(secret, "data"), text_at(secret, "type")
    for key in data:
        yield from judged(f"data[{key}]", key, texts.config_key)
    if sum(len(str(value)) * 3 // 4 for value in data.values()) > DATA_BYTES:
        yield too_long("data", DATA_BYTES)
    for key in NEEDED_KEYS.get(kind, ()):
        if key not in data:
            yield required(f"data[{key}]")
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & set(data):
        yield required("data[username]")
        yield required("data[password]")
    if kind == "kubernetes.io/service-account-token":
        annotations = mapping_at(secret, "metadata", "annotations")
        if not annotations.get(ACCOUNT_ANNOTATION):
            yield required(f"metadata.annotations[{ACCOUNT_ANNOTATION}]")


def secret_update_rules(new: Document, old: Document) -> Found:
    """Refuse another type, and changes to what was declared immutable."""
    yield from immutable("type", text_at(new, "type"), text_at(old, "type"))
    yield from _fixed_fields(new, old, ("data",))


def node_rules(node: Document) -> Found:
    """Judge the taints and ranges of a node."""
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(children(mapping_at(node, "spec"), "taints")):
        path = f"spec.taints[{index}]"
        yield from judged(f"{path}.key", text_at(taint, "key"), texts.qualified_name)
        yield from judged(f"{path}.value", text_at(taint, "value"), texts.label_value)
        if effect := text_at(taint, "effect"):
            yield from one_of(f"{path}.effect", effect, EFFECTS)
        else:
            yield required(f"{path}.effect")
        key = (text_at(taint, "key"), effect)
        if key in seen:
            yield duplicate(path, msgspec.to_builtins(taint))
        seen.add(key)


def node_update_rules(new: Document, old: Document) -> Found:
    """Refuse another range of pod addresses, once there is one."""
    before = text_at(old, "spec", "podCIDR")
    if before and text_at(new, "spec", "podCIDR") != before:
        yield forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')


def lease_rules(lease: Document) -> Found:
    """Judge the length and the count of a lease."""
    spec = mapping_at(lease, "spec")
    seconds = number_at(spec, "leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        yield invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    transitions = number_at(spec, "leaseTransitions")
    if transitions is not None and transitions < 0:
        yield invalid("spec.leaseTransitions", transitions, texts.NOT_NEGATIVE)
