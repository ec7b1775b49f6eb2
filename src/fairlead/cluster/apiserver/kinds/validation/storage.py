"""What is wrong with a claim, a volume, a class of volumes, a priority class or a disruption budget.

In: a document with defaults, and for an update its predecessor. Out: FieldErrors. Source: ValidatePersistentVolume* of
k8s.io/kubernetes/pkg/apis/core/validation/validation.go, pkg/apis/{storage,policy,scheduling}/validation/validation.go.
"""

import re

from fairlead.cluster.apiserver.kinds.errors import forbidden, invalid, required, unsupported
from fairlead.cluster.apiserver.kinds.validation import texts
from fairlead.cluster.apiserver.kinds.validation.fields import Found, immutable, one_of, selector
from fairlead.kube.documents import Document, Json, items_at, mapping_at, text_at
from fairlead.kube.quantities import parse_quantity

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_SOURCES = ("hostPath", "csi", "local", "nfs")
_BAD_QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_SYSTEM_PRIORITY, _HIGHEST_PRIORITY = "system-", 1_000_000_000


def claim_rules(claim: Document) -> Found:
    """Judge a claim."""
    yield from claim_spec_rules(mapping_at(claim, "spec"), "spec")


def claim_spec_rules(spec: Document, path: str) -> Found:
    """Judge the spec of a claim or of a claim template."""
    yield from _access_modes(spec, path)
    storage = mapping_at(spec, "resources", "requests").get("storage")
    if storage is None:
        yield required(f"{path}.resources[storage]")
    else:
        yield from _positive(f"{path}.resources.requests[storage]", storage)
    if spec.get("selector") is not None:
        yield from selector(f"{path}.selector", mapping_at(spec, "selector"))
    yield from one_of(f"{path}.volumeMode", text_at(spec, "volumeMode"), ("Block", "Filesystem"))


def claim_update_rules(new: Document, old: Document) -> Found:
    """Refuse to ask for another kind of storage once a volume is bound; more of it may be asked for."""
    changeable = ("resources", "volumeName") if not text_at(old, "spec", "volumeName") else ("resources",)
    kept = [
        {key: value for key, value in mapping_at(each, "spec").items() if key not in changeable} for each in (new, old)
    ]
    if kept[0] != kept[1]:
        yield forbidden(
            "spec",
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        )


def volume_rules(volume: Document) -> Found:
    """Judge a volume."""
    spec = mapping_at(volume, "spec")
    yield from _access_modes(spec, "spec")
    storage = mapping_at(spec, "capacity").get("storage")
    if storage is None:
        yield required("spec.capacity")
    else:
        yield from _positive("spec.capacity[storage]", storage)
    if not any(spec.get(name) is not None for name in _SOURCES):
        yield required("spec", "must specify a volume type")
    if spec.get("hostPath") is not None and not text_at(spec, "hostPath", "path"):
        yield required("spec.hostPath.path")
    policy = text_at(spec, "persistentVolumeReclaimPolicy")
    yield from one_of("spec.persistentVolumeReclaimPolicy", policy, ("Delete", "Recycle", "Retain"))


def storage_class_rules(storage_class: Document) -> Found:
    """Judge a class of volumes."""
    if not text_at(storage_class, "provisioner"):
        yield required("provisioner")
    yield from one_of("reclaimPolicy", text_at(storage_class, "reclaimPolicy"), ("Delete", "Retain"))
    mode = text_at(storage_class, "volumeBindingMode")
    yield from one_of("volumeBindingMode", mode, ("Immediate", "WaitForFirstConsumer"))


def storage_class_update_rules(new: Document, old: Document) -> Found:
    """Refuse to change how volumes are made."""
    for field in ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"):
        if new.get(field) != old.get(field):
            yield forbidden(field, f"updates to {field} are forbidden.")


def priority_class_rules(priority_class: Document) -> Found:
    """Judge a priority class."""
    name, value = text_at(priority_class, "metadata", "name"), priority_class.get("value")
    if name.startswith(_SYSTEM_PRIORITY) and name not in ("system-cluster-critical", "system-node-critical"):
        yield forbidden("metadata.name", "priority class names with 'system-' prefix are reserved for system use only")
    elif not name.startswith(_SYSTEM_PRIORITY) and isinstance(value, int) and value > _HIGHEST_PRIORITY:
        detail = f"maximum allowed value of a user defined priority is {_HIGHEST_PRIORITY}"
        yield forbidden("value", detail)
    policy = text_at(priority_class, "preemptionPolicy")
    if policy:
        yield from one_of("preemptionPolicy", policy, ("PreemptLowerPriority", "Never"))


def priority_class_update_rules(new: Document, old: Document) -> Found:
    """Refuse another value: pods hold copies of it."""
    yield from immutable("value", new.get("value"), old.get("value"))


def budget_rules(budget: Document) -> Found:
    """Judge a disruption budget."""
    spec = mapping_at(budget, "spec")
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if least is not None and most is not None:
        yield invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    for field, value in (("minAvailable", least), ("maxUnavailable", most)):
        yield from _share(f"spec.{field}", value)
    if spec.get("selector") is not None:
        yield from selector("spec.selector", mapping_at(spec, "selector"))


def _share(path: str, value: Json) -> Found:
    if isinstance(value, str):
        if not re.fullmatch(texts.PERCENT, value):
            yield invalid(path, value, texts.BAD_PERCENT)
        elif int(value[:-1]) > 100:
            yield invalid(path, value, "must not be greater than 100%")
    elif isinstance(value, int) and value < 0:
        yield invalid(path, value, texts.NOT_NEGATIVE)


def _access_modes(spec: Document, path: str) -> Found:
    modes = items_at(spec, "accessModes")
    if not modes:
        yield required(f"{path}.accessModes", "at least 1 access mode is required")
    for mode in modes:
        if mode not in ACCESS_MODES:
            yield unsupported(f"{path}.accessModes", mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        yield forbidden(f"{path}.accessModes", "may not use ReadWriteOncePod with other access modes")


def _positive(path: str, value: Json) -> Found:
    try:
        amount = parse_quantity(value if isinstance(value, str | int | float) else "")
    except ValueError:
        yield invalid(
            path, value, "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        )
    else:
        if amount <= 0:
            yield invalid(path, value, "must be greater than zero")
