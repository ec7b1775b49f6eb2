"""Defaults of claims, volumes and classes, and what their admission adds.

Source: SetDefaults_* of k8s.io/kubernetes/pkg/apis/core/v1/defaults.go and storage/v1/defaults.go; the admission
plugins DefaultStorageClass and StorageObjectInUseProtection.
"""

from collections.abc import Sequence

from fairlead.cluster.apiserver.kinds.editing import child, fill
from fairlead.kube.documents import Document, Json, items_at, mapping_at, text_at

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
CLAIM_FINALIZER, VOLUME_FINALIZER = "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"


def default_claim(claim: Document) -> None:
    """Fill in a claim."""
    fill(child(claim, "spec"), "volumeMode", "Filesystem")


def admit_claim(claim: Document, classes: Sequence[Document]) -> None:
    """Give a new claim the newest default class unless it names one, and keep it while pods use it."""
    spec = child(claim, "spec")
    if spec.get("storageClassName") is None:
        default = [each for each in classes if mapping_at(each, "metadata", "annotations").get(DEFAULT_CLASS) == "true"]
        if default:
            newest = max(default, key=lambda each: text_at(each, "metadata", "creationTimestamp"))
            spec["storageClassName"] = text_at(newest, "metadata", "name")
    _protect(claim, CLAIM_FINALIZER)


def prepare_claim(claim: Document) -> None:
    """Begin without a volume found."""
    claim["status"] = {"phase": "Pending"}


def default_volume(volume: Document) -> None:
    """Fill in a volume."""
    spec = child(volume, "spec")
    fill(spec, "persistentVolumeReclaimPolicy", "Retain")
    fill(spec, "volumeMode", "Filesystem")
    if mapping_at(spec, "hostPath"):
        child(spec, "hostPath").setdefault("type", "")


def admit_volume(volume: Document) -> None:
    """Keep a new volume while it is bound."""
    _protect(volume, VOLUME_FINALIZER)


def prepare_volume(volume: Document) -> None:
    """Begin as available."""
    volume["status"] = {"phase": "Pending"}


def default_storage_class(storage_class: Document) -> None:
    """Fill in a class: volumes go with their claims, and are bound at once."""
    fill(storage_class, "reclaimPolicy", "Delete")
    fill(storage_class, "volumeBindingMode", "Immediate")


def default_priority_class(priority_class: Document) -> None:
    """Fill in a priority class."""
    fill(priority_class, "preemptionPolicy", "PreemptLowerPriority")


def _protect(document: Document, finalizer: str) -> None:
    metadata = child(document, "metadata")
    held: list[Json] = [*items_at(metadata, "finalizers")]
    if finalizer not in held:
        metadata["finalizers"] = [*held, finalizer]
