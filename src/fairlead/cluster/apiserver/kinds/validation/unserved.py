"""What a pod asks for that this cluster does not carry out, though the API has it: said in warnings, never passed over.

In: a pod, a workload with a pod template, a claim or a volume, with defaults. Out: sentences for the Warning header.
What would be wrong to accept at all is refused by the other modules.
"""

from collections.abc import Callable, Iterable, Iterator

from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.kube.documents import Document, mapping_at, text_at, value_at

_LISTS = ("initContainers", "containers")
_OF_PODS = (
    "shareProcessNamespace",
    "hostPID",
    "hostIPC",
    "hostUsers",
    "resourceClaims",
    "resources",
    "os",
    "setHostnameAsFQDN",
)
_OF_CONTAINERS = ("volumeDevices", "resizePolicy", "restartPolicyRules")
_VOLUMES = frozenset(
    ("configMap", "secret", "emptyDir", "hostPath", "downwardAPI", "projected", "persistentVolumeClaim")
)
_OWN_DRIVER = "fairlead.dev/folder"
_PROJECTED = frozenset(("configMap", "secret", "downwardAPI", "serviceAccountToken"))


def pod_warnings(pod: Document) -> list[str]:
    """What of a pod has no effect."""
    return list(_spec_warnings(mapping_at(pod, "spec"), "spec"))


def claim_warnings(claim: Document) -> list[str]:
    """What of a claim has no effect: every volume is a folder, and an empty one."""
    spec = mapping_at(claim, "spec")
    told = list(_without_effect(_given(spec, ("dataSource", "dataSourceRef"), "spec")))
    if text_at(spec, "volumeMode") == "Block":
        told.append("spec.volumeMode: volumes of this cluster are folders, never block devices")
    return told


def volume_warnings(volume: Document) -> list[str]:
    """What of a volume has no effect: only folders of this machine are mounted."""
    spec = mapping_at(volume, "spec")
    driver = text_at(spec, "csi", "driver")
    given = [name for name in ("nfs", "csi") if spec.get(name) is not None and driver != _OWN_DRIVER]
    return [f"spec.{name}: is not served by this cluster; pods that claim it wait" for name in given]


def template_warnings(*path: str) -> Callable[[Document], list[str]]:
    """The same for the pod template at a path of a workload."""
    spot = ".".join((*path, "spec"))

    def warnings(document: Document) -> list[str]:
        return list(_spec_warnings(mapping_at(document, *path, "spec"), spot))

    return warnings


def _spec_warnings(spec: Document, path: str) -> Iterator[str]:
    yield from _without_effect(_given(spec, _OF_PODS, path))
    contexts = [*_given(spec, ("securityContext",), path)]
    fields: list[str] = []
    for name in _LISTS:
        for index, container in enumerate(children(spec, name)):
            spot = f"{path}.{name}[{index}]"
            contexts += _given(container, ("securityContext",), spot)
            fields += _given(container, _OF_CONTAINERS, spot)
    if contexts:
        yield f"{_joined(contexts)} without effect: every container runs as the user of this cluster, in its namespaces"
    yield from _without_effect(fields)
    for index, volume in enumerate(children(spec, "volumes")):
        yield from _volume_warnings(volume, f"{path}.volumes[{index}]")
    if text_at(spec, "priorityClassName"):
        yield (
            f"{path}.priorityClassName: pods of higher priority are placed first, "
            "but displace no others (no preemption in this cluster)"
        )
    scheduler = text_at(spec, "schedulerName")
    if scheduler not in ("", "default-scheduler"):
        yield f"{path}.schedulerName: {scheduler} is not part of this cluster; the pod waits until it binds it"


def _given(document: Document, names: Iterable[str], path: str) -> list[str]:
    return [f"{path}.{name}" for name in names if value_at(document, name) not in (None, False, {}, [], "")]


def _without_effect(fields: list[str]) -> Iterator[str]:
    if fields:
        yield f"{_joined(fields)} without effect in this cluster"


def _joined(fields: list[str]) -> str:
    most = 3
    shown = ", ".join(fields[:most]) + (f" and {len(fields) - most} more" if len(fields) > most else "")
    return f"{shown}: {'is' if len(fields) == 1 else 'are'}"


def _volume_warnings(volume: Document, path: str) -> Iterator[str]:
    for source in volume.keys() - _VOLUMES - {"name"}:
        if volume[source] is not None:
            yield f"{path}.{source}: is not served by this cluster; the pod finds an empty folder"
    yield from _without_effect(_given(mapping_at(volume, "emptyDir"), ("medium", "sizeLimit"), f"{path}.emptyDir"))
    for index, source in enumerate(children(mapping_at(volume, "projected"), "sources")):
        for name in source.keys() - _PROJECTED:
            yield f"{path}.projected.sources[{index}].{name}: is not served by this cluster and left out"
