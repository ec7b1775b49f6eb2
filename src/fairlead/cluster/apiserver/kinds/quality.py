"""The quality of service of a pod: what its containers ask for decides who is ended first on a full node.

Source: GetPodQOS of k8s.io/kubernetes/pkg/apis/core/v1/helper/qos.
"""

from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.kube.documents import Document, Json, mapping_at

COUNTED = ("cpu", "memory")


def _amounts(container: Document, side: str) -> dict[str, Json]:
    given = mapping_at(container, "resources", side)
    return {name: given[name] for name in COUNTED if given.get(name) not in (None, "0", 0)}


def quality_of_service(spec: Document) -> str:
    """Return Guaranteed, Burstable or BestEffort."""
    containers = [*children(spec, "initContainers"), *children(spec, "containers")]
    pairs = [(_amounts(each, "requests"), _amounts(each, "limits")) for each in containers]
    if not any(requests or limits for requests, limits in pairs):
        return "BestEffort"
    if all(len(limits) == len(COUNTED) and requests == limits for requests, limits in pairs):
        return "Guaranteed"
    return "Burstable"
