"""The columns of claims, volumes, classes of volumes, priority classes and disruption budgets.

Source: printPersistentVolume*, printStorageClass, printPriorityClass and printPodDisruptionBudget of
k8s.io/kubernetes/pkg/printers/internalversion/printers.go.
"""

from fairlead.cluster.apiserver.kinds.columns.plain import AGE, NAME, age_of, name_of
from fairlead.cluster.apiserver.kinds.spec import Column
from fairlead.kube.documents import Document, Json, flag_at, items_at, mapping_at, number_at, text_at

_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}

CLAIM = (
    NAME,
    Column("Status", "string", "", "Whether the claim has a volume."),
    Column("Volume", "string", "", "The volume it is bound to."),
    Column("Capacity", "string", "", "How much the volume holds."),
    Column("Access Modes", "string", "", "How the volume may be used."),
    Column("StorageClass", "string", "", "The class of the volume."),
    Column("VolumeAttributesClass", "string", "", "The class of the volume's attributes."),
    AGE,
    Column("VolumeMode", "string", "", "Whether it is a file system or a device.", 1),
)
VOLUME = (
    NAME,
    Column("Capacity", "string", "", "How much it holds."),
    Column("Access Modes", "string", "", "How it may be used."),
    Column("Reclaim Policy", "string", "", "What becomes of it when its claim goes."),
    Column("Status", "string", "", "Whether a claim has it."),
    Column("Claim", "string", "", "The claim that has it."),
    Column("StorageClass", "string", "", "Its class."),
    Column("VolumeAttributesClass", "string", "", "The class of its attributes."),
    Column("Reason", "string", "", "Why it is in its state."),
    AGE,
    Column("VolumeMode", "string", "", "Whether it is a file system or a device.", 1),
)
STORAGE_CLASS = (
    NAME,
    Column("Provisioner", "string", "", "Who makes its volumes."),
    Column("ReclaimPolicy", "string", "", "What becomes of volumes when their claims go."),
    Column("VolumeBindingMode", "string", "", "When volumes are made."),
    Column("AllowVolumeExpansion", "boolean", "", "Whether claims may ask for more later."),
    AGE,
)
PRIORITY_CLASS = (
    NAME,
    Column("Value", "integer", "", "The priority pods of the class get."),
    Column("Global-Default", "boolean", "", "Whether pods without a class get it."),
    AGE,
    Column("PreemptionPolicy", "string", "", "Whether its pods push others off a node."),
)
BUDGET = (
    NAME,
    Column("Min Available", "string", "", "How many pods must stay available."),
    Column("Max Unavailable", "string", "", "How many pods may be unavailable."),
    Column("Allowed Disruptions", "integer", "", "How many pods may be evicted now."),
    AGE,
)


def _modes(document: Document, *path: str) -> str:
    return ",".join(_MODES.get(str(each), str(each)) for each in items_at(document, *path))


def claim_row(claim: Document, now: float) -> list[Json]:
    """Return the cells of `CLAIM`."""
    bound = bool(text_at(claim, "spec", "volumeName"))
    phase = "Terminating" if text_at(claim, "metadata", "deletionTimestamp") else text_at(claim, "status", "phase")
    capacity = mapping_at(claim, "status", "capacity").get("storage")
    return [
        name_of(claim),
        phase,
        text_at(claim, "spec", "volumeName"),
        str(capacity) if bound and capacity is not None else "",
        _modes(claim, "status", "accessModes") if bound else "",
        text_at(claim, "spec", "storageClassName"),
        "<unset>",
        age_of(claim, now),
        text_at(claim, "spec", "volumeMode") or "<unset>",
    ]


def volume_row(volume: Document, now: float) -> list[Json]:
    """Return the cells of `VOLUME`."""
    claim = mapping_at(volume, "spec", "claimRef")
    phase = "Terminating" if text_at(volume, "metadata", "deletionTimestamp") else text_at(volume, "status", "phase")
    return [
        name_of(volume),
        str(mapping_at(volume, "spec", "capacity").get("storage", "")),
        _modes(volume, "spec", "accessModes"),
        text_at(volume, "spec", "persistentVolumeReclaimPolicy"),
        phase,
        f"{text_at(claim, 'namespace')}/{text_at(claim, 'name')}" if claim else "",
        text_at(volume, "spec", "storageClassName"),
        "<unset>",
        text_at(volume, "status", "reason"),
        age_of(volume, now),
        text_at(volume, "spec", "volumeMode") or "<unset>",
    ]


def storage_class_row(storage_class: Document, now: float) -> list[Json]:
    """Return the cells of `STORAGE_CLASS`; the default class is marked at its name."""
    notes = mapping_at(storage_class, "metadata", "annotations")
    mark = " (default)" if notes.get("storageclass.kubernetes.io/is-default-class") == "true" else ""
    return [
        name_of(storage_class) + mark,
        text_at(storage_class, "provisioner"),
        text_at(storage_class, "reclaimPolicy"),
        text_at(storage_class, "volumeBindingMode"),
        flag_at(storage_class, "allowVolumeExpansion"),
        age_of(storage_class, now),
    ]


def priority_class_row(priority_class: Document, now: float) -> list[Json]:
    """Return the cells of `PRIORITY_CLASS`."""
    return [
        name_of(priority_class),
        number_at(priority_class, "value") or 0,
        flag_at(priority_class, "globalDefault"),
        age_of(priority_class, now),
        text_at(priority_class, "preemptionPolicy"),
    ]


def budget_row(budget: Document, now: float) -> list[Json]:
    """Return the cells of `BUDGET`."""
    spec = mapping_at(budget, "spec")
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    return [
        name_of(budget),
        "N/A" if least is None else str(least),
        "N/A" if most is None else str(most),
        number_at(budget, "status", "disruptionsAllowed") or 0,
        age_of(budget, now),
    ]
