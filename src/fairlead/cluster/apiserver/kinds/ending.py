"""How long a pod may take to end.

In: a stored pod and the grace a caller asked for. Out: seconds. Source: podStrategy.CheckGracefulDelete of
k8s.io/kubernetes/pkg/registry/core/pod/strategy.go.
"""

from fairlead.kube.documents import Document, number_at, text_at

DEFAULT_SECONDS = 30


def pod_grace_seconds(pod: Document, requested: int | None) -> int:
    """Return the seconds between now and the end of the pod; 0 for one that runs nowhere or has ended."""
    if not text_at(pod, "spec", "nodeName") or text_at(pod, "status", "phase") in ("Succeeded", "Failed"):
        return 0
    seconds = requested
    if seconds is None:
        own = number_at(pod, "spec", "terminationGracePeriodSeconds")
        seconds = DEFAULT_SECONDS if own is None else own
    return 1 if seconds < 0 else seconds
