"""What is wrong with the volumes of a pod.

In: a pod spec with defaults. Out: FieldErrors. Source: ValidateVolumes of
k8s.io/kubernetes/pkg/apis/core/validation/validation.go.
"""

from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.errors import duplicate, forbidden, required
from fairlead.cluster.apiserver.kinds.validation import texts
from fairlead.cluster.apiserver.kinds.validation.containers import inner_path
from fairlead.cluster.apiserver.kinds.validation.fields import Found, judged
from fairlead.kube.documents import Document, mapping_at, text_at

NEEDED = {"configMap": "name", "secret": "secretName", "hostPath": "path", "persistentVolumeClaim": "claimName"}


def volume_names(spec: Document) -> frozenset[str]:
    """Return the names that mounts may use."""
    return frozenset(text_at(volume, "name") for volume in children(spec, "volumes"))


def volumes(spec: Document, path: str) -> Found:
    """Judge the volumes of a pod spec."""
    seen: set[str] = set()
    for index, volume in enumerate(children(spec, "volumes")):
        spot = f"{path}.volumes[{index}]"
        name = text_at(volume, "name")
        if not name:
            yield required(f"{spot}.name")
        else:
            yield from judged(f"{spot}.name", name, texts.dns_label)
            if name in seen:
                yield duplicate(f"{spot}.name", name)
        seen.add(name)
        yield from _source(spot, volume)


def _source(path: str, volume: Document) -> Found:
    given = [field for field, value in volume.items() if field != "name" and value is not None]
    for field in given[1:]:
        yield forbidden(f"{path}.{field}", "may not specify more than 1 volume type")
    if not given:
        yield required(path, "must specify a volume type")
        return
    field = given[0]
    source = mapping_at(volume, field)
    if field in NEEDED and not text_at(source, NEEDED[field]):
        yield required(f"{path}.{field}.{NEEDED[field]}")
    keyed = field in ("configMap", "secret")
    for index, item in enumerate(children(source, "items")):
        spot = f"{path}.{field}.items[{index}]"
        if keyed and not text_at(item, "key"):
            yield required(f"{spot}.key")
        if not (inner := text_at(item, "path")):
            yield required(f"{spot}.path")
        yield from inner_path(f"{spot}.path", inner)
