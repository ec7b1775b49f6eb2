"""The table of kinds: every resource that the embedded API server serves."""

from fairlead.cluster.apiserver.kinds.columns.plain import PLAIN, plain_row
from fairlead.cluster.apiserver.kinds.spec import KindSpec, Subresource
from fairlead.kube.resources import Resource

_READ_WRITE = ("get", "patch", "update")
_ANY = ("create", "delete", "get", "patch", "update")


def _status(kind: str) -> Subresource:
    return Subresource(name="status", kind=kind, verbs=_READ_WRITE)


_SCALE = Subresource(name="scale", kind="Scale", group="autoscaling", version="v1", verbs=_READ_WRITE)

NAMESPACE = KindSpec(
    resource=Resource(group="", version="v1", kind="Namespace", plural="namespaces", namespaced=False),
    singular="namespace",
    schema="io.k8s.api.core.v1.Namespace",
    short_names=("ns",),
    subresources=(Subresource(name="finalize", kind="Namespace", verbs=("update",)), _status("Namespace")),
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    has_status=True,
    columns=PLAIN,
    row=plain_row,
)

KINDS: tuple[KindSpec, ...] = (NAMESPACE,)
