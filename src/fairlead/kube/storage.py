"""Storage that outlives pods: claims, volumes and classes. Source: core/v1 and storage/v1 types.go."""

from fairlead.kube.base import Wire
from fairlead.kube.containers import HostPathVolumeSource, Quantity
from fairlead.kube.meta import KubeObject, LabelSelector, ObjectReference


class VolumeResourceRequirements(Wire, frozen=True):
    """How much is asked for: `storage` in bytes."""

    requests: dict[str, Quantity] = {}


class PersistentVolumeClaimSpec(Wire, frozen=True):
    """What is asked for. A class of None means the default class, an empty one volumes without a class."""

    access_modes: tuple[str, ...] = ()
    selector: LabelSelector | None = None
    resources: VolumeResourceRequirements = VolumeResourceRequirements()
    volume_name: str = ""
    storage_class_name: str | None = None
    volume_mode: str | None = None


class PersistentVolumeClaimStatus(Wire, frozen=True):
    """`phase` is Pending, Bound or Lost."""

    phase: str = ""


class PersistentVolumeClaim(KubeObject, frozen=True):
    """Asks for storage."""

    spec: PersistentVolumeClaimSpec = PersistentVolumeClaimSpec()
    status: PersistentVolumeClaimStatus = PersistentVolumeClaimStatus()


class CSIPersistentVolumeSource(Wire, frozen=True):
    """A volume of a driver, by the name the driver knows it by."""

    driver: str = ""
    volume_handle: str = ""


class LocalVolumeSource(Wire, frozen=True):
    """A folder of the node."""

    path: str = ""


class PersistentVolumeSpec(Wire, frozen=True):
    """What there is, and whose it is."""

    capacity: dict[str, Quantity] = {}
    access_modes: tuple[str, ...] = ()
    claim_ref: ObjectReference | None = None
    persistent_volume_reclaim_policy: str = ""
    storage_class_name: str = ""
    volume_mode: str | None = None
    host_path: HostPathVolumeSource | None = None
    local: LocalVolumeSource | None = None
    csi: CSIPersistentVolumeSource | None = None


class PersistentVolumeStatus(Wire, frozen=True):
    """`phase` is Available, Bound, Released or Failed."""

    phase: str = ""


class PersistentVolume(KubeObject, frozen=True):
    """A piece of storage."""

    spec: PersistentVolumeSpec = PersistentVolumeSpec()
    status: PersistentVolumeStatus = PersistentVolumeStatus()


class StorageClass(KubeObject, frozen=True):
    """A way to make volumes."""

    provisioner: str = ""
    reclaim_policy: str | None = None
    volume_binding_mode: str | None = None
