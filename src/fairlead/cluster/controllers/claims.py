"""Claims of storage: one with the volumes and classes there are comes in; the volume to make or bind, the states of
both, and what goes with a deleted claim go out.

Semantics of upstream's pkg/controller/volume/persistentvolume and pvcprotection. Volumes of the class's own are folders
on this machine, made when a pod first uses them.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from fairlead.cluster.controllers.actions import About, Action, Create, Delete, Patch, Tell
from fairlead.kube.core import Pod
from fairlead.kube.documents import Document, Json
from fairlead.kube.quantities import parse_quantity
from fairlead.kube.selectors import selector_matcher
from fairlead.kube.storage import PersistentVolume, PersistentVolumeClaim, StorageClass

PROVISIONER = "fairlead.dev/folder"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
CLAIM_FINALIZER, VOLUME_FINALIZER = "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"
COMPONENT = "persistentvolume-controller"


class ClaimView(Struct, frozen=True, kw_only=True):
    """A claim, all volumes and classes, and whether a pod uses the claim."""

    claim: PersistentVolumeClaim
    volumes: Sequence[PersistentVolume]
    classes: Sequence[StorageClass]
    used: bool


def users_of(claim: PersistentVolumeClaim, pods: Iterable[Pod]) -> list[Pod]:
    """The pods of the claim's namespace that mount it."""
    meta = claim.metadata
    return [
        pod
        for pod in pods
        if pod.metadata.namespace == meta.namespace
        and any(
            v.persistent_volume_claim and v.persistent_volume_claim.claim_name == meta.name for v in pod.spec.volumes
        )
    ]


def reconcile_claim(view: ClaimView) -> tuple[Action, ...]:
    """The next step for a claim."""
    claim = view.claim
    if claim.metadata.deletion_timestamp is not None:
        held = CLAIM_FINALIZER in claim.metadata.finalizers and not view.used
        return (_unprotected(PersistentVolumeClaim, claim, CLAIM_FINALIZER),) if held else ()
    if claim.spec.volume_name:
        volume = next((each for each in view.volumes if each.metadata.name == claim.spec.volume_name), None)
        return _bind(claim, volume)
    mine = next((each for each in view.volumes if _belongs(each, claim)), None)
    volume = mine or _find(view)
    if volume is not None:
        return _bind(claim, volume)
    return _provision(view)


def reconcile_volume(volume: PersistentVolume, claims: Sequence[PersistentVolumeClaim]) -> tuple[Action, ...]:
    """The next step for a volume: its state, and its end with its claim."""
    meta, reference = volume.metadata, volume.spec.claim_ref
    owner = next((claim for claim in claims if _belongs(volume, claim)), None)
    if meta.deletion_timestamp is not None:
        held = VOLUME_FINALIZER in meta.finalizers and owner is None
        return (_unprotected(PersistentVolume, volume, VOLUME_FINALIZER),) if held else ()
    if reference is None or not reference.uid:
        return _phase(volume, "Available")
    if owner is not None:
        return _phase(volume, "Bound")
    if volume.spec.persistent_volume_reclaim_policy == "Delete":
        return (Delete(kind=PersistentVolume, namespace="", name=meta.name, uid=meta.uid),)
    return _phase(volume, "Released")


def _belongs(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    reference = volume.spec.claim_ref
    return reference is not None and reference.uid == claim.metadata.uid


def _find(view: ClaimView) -> PersistentVolume | None:
    """The smallest free volume that is enough (pkg/volume/util, FindMatchingVolume)."""
    spec = view.claim.spec
    matches = selector_matcher(spec.selector) if spec.selector else None
    wanted = parse_quantity(spec.resources.requests.get("storage", "0"))
    found = [
        each
        for each in view.volumes
        if (each.spec.claim_ref is None or _reserved(each, view.claim))
        and each.metadata.deletion_timestamp is None
        and each.spec.storage_class_name == (spec.storage_class_name or "")
        and set(spec.access_modes) <= set(each.spec.access_modes)
        and parse_quantity(each.spec.capacity.get("storage", "0")) >= wanted
        and (matches is None or matches(each.metadata.labels))
    ]
    return min(found, key=lambda each: parse_quantity(each.spec.capacity["storage"]), default=None)


def _reserved(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    reference = volume.spec.claim_ref
    meta = claim.metadata
    return (
        reference is not None
        and not reference.uid
        and (reference.namespace, reference.name)
        == (
            meta.namespace,
            meta.name,
        )
    )


def _provision(view: ClaimView) -> tuple[Action, ...]:
    claim, name = view.claim, view.claim.spec.storage_class_name
    if not name:
        told = "no persistent volumes available for this claim and no storage class is set"
        return (_tell(claim, "FailedBinding", told, warning=False),)
    found = next((each for each in view.classes if each.metadata.name == name), None)
    if found is None:
        return (_tell(claim, "ProvisioningFailed", f'storageclass.storage.k8s.io "{name}" not found', warning=True),)
    if found.provisioner != PROVISIONER:
        told = (
            "Waiting for a volume to be created either by the external provisioner "
            f"'{found.provisioner}' or manually by the system administrator"
        )
        return (_tell(claim, "ExternalProvisioning", told, warning=False),)
    meta = claim.metadata
    volume = f"pvc-{meta.uid}"
    document: Document = {
        "metadata": {"name": volume, "annotations": {PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "capacity": {"storage": str(claim.spec.resources.requests.get("storage", "0"))},
            "accessModes": [*claim.spec.access_modes],
            "claimRef": _reference(claim),
            "persistentVolumeReclaimPolicy": found.reclaim_policy or "Delete",
            "storageClassName": name,
            "volumeMode": claim.spec.volume_mode or "Filesystem",
            "csi": {"driver": PROVISIONER, "volumeHandle": volume},
        },
    }
    told = f"Successfully provisioned volume {volume}"
    return (
        Create(kind=PersistentVolume, document=document),
        _tell(claim, "ProvisioningSucceeded", told, warning=False),
    )


def _bind(claim: PersistentVolumeClaim, volume: PersistentVolume | None) -> tuple[Action, ...]:
    """Let claim and volume name each other, and show it."""
    meta = claim.metadata
    if volume is None:
        if claim.status.phase != "Bound":
            return ()
        lost: Document = {"status": {"phase": "Lost"}}
        told = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        return (_status(claim, lost), _tell(claim, "ClaimLost", told, warning=True))
    reference = volume.spec.claim_ref
    if reference is not None and reference.uid and reference.uid != meta.uid:
        return (
            _tell(
                claim,
                "FailedBinding",
                f'volume "{volume.metadata.name}" already bound to a different claim.',
                warning=True,
            ),
        )
    actions: list[Action] = []
    if reference is None or not reference.uid:
        patch: Document = {"spec": {"claimRef": _reference(claim)}}
        actions.append(Patch(kind=PersistentVolume, namespace="", name=volume.metadata.name, patch=patch))
    if claim.spec.volume_name != volume.metadata.name:
        change: Document = {
            "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
            "spec": {"volumeName": volume.metadata.name},
        }
        actions.append(Patch(kind=PersistentVolumeClaim, namespace=meta.namespace, name=meta.name, patch=change))
    if claim.status.phase != "Bound":
        status: Document = {
            "phase": "Bound",
            "accessModes": [*volume.spec.access_modes],
            "capacity": {key: str(value) for key, value in volume.spec.capacity.items()},
        }
        actions.append(_status(claim, {"status": status}))
    return tuple(actions)


def _reference(claim: PersistentVolumeClaim) -> Document:
    meta = claim.metadata
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": meta.namespace,
        "name": meta.name,
        "uid": meta.uid,
    }


def _status(claim: PersistentVolumeClaim, patch: Document) -> Patch:
    meta = claim.metadata
    return Patch(
        kind=PersistentVolumeClaim, namespace=meta.namespace, name=meta.name, patch=patch, subresource="status"
    )


def _phase(volume: PersistentVolume, phase: str) -> tuple[Action, ...]:
    if volume.status.phase == phase:
        return ()
    patch: Document = {"status": {"phase": phase}}
    return (Patch(kind=PersistentVolume, namespace="", name=volume.metadata.name, patch=patch, subresource="status"),)


def _unprotected(
    kind: type[PersistentVolumeClaim] | type[PersistentVolume],
    item: PersistentVolumeClaim | PersistentVolume,
    finalizer: str,
) -> Patch:
    meta = item.metadata
    kept: list[Json] = [each for each in meta.finalizers if each != finalizer]
    patch: Document = {"metadata": {"uid": meta.uid, "finalizers": kept}}
    return Patch(kind=kind, namespace=meta.namespace, name=meta.name, patch=patch)


def _tell(claim: PersistentVolumeClaim, reason: str, message: str, *, warning: bool) -> Tell:
    meta = claim.metadata
    about = About(
        api_version="v1", kind="PersistentVolumeClaim", namespace=meta.namespace, name=meta.name, uid=meta.uid
    )
    return Tell(about=about, reason=reason, message=message, warning=warning, component=COMPONENT)
