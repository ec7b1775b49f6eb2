"""What controllers ask of a pod: is it active, ready, available, since when, and which goes first when one must go.

Pods come in, answers go out; the rules are upstream's (pkg/api/v1/pod, pkg/controller/controller_utils.go).
"""

from collections.abc import Iterable, Mapping

from fairlead.cluster.controllers.timestamps import parse_time
from fairlead.kube.core import Pod
from fairlead.kube.meta import Condition

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def pod_condition(pod: Pod, kind: str) -> Condition | None:
    """The condition of a type, or None."""
    for each in pod.status.conditions:
        if each.type == kind:
            return each
    return None


def is_finished(pod: Pod) -> bool:
    """Whether its containers have ended for good."""
    return pod.status.phase in ("Succeeded", "Failed")


def is_active(pod: Pod) -> bool:
    """Whether it counts as a replica: neither finished nor being deleted."""
    return pod.metadata.deletion_timestamp is None and not is_finished(pod)


def is_ready(pod: Pod) -> bool:
    """Whether its Ready condition is True."""
    found = pod_condition(pod, "Ready")
    return found is not None and found.status == "True"


def seconds_until_available(pod: Pod, min_ready_seconds: int, now: float) -> float | None:
    """0 when it has been ready long enough, the seconds that are missing, or None while it is not ready at all."""
    found = pod_condition(pod, "Ready")
    if found is None or found.status != "True":
        return None
    if min_ready_seconds <= 0:
        return 0.0
    since = parse_time(found.last_transition_time)
    return None if since is None else max(since + min_ready_seconds - now, 0.0)


def count_restarts(pod: Pod) -> int:
    """The most restarts of any of its containers."""
    return max((each.restart_count or 0 for each in pod.status.container_statuses), default=0)


def order_of_deletion(pods: Iterable[Pod], nearby: Mapping[str, int], now: float) -> list[Pod]:
    """Pods in the order to delete them when there are too many (ActivePodsWithRanks.Less).

    Not assigned, then Pending, not ready, of lower deletion cost, on a node with more of the same owner (`nearby`
    by node), ready for a shorter time, with more restarts, newer. Times count in powers of two, so that small
    differences do not.
    """

    def rank(pod: Pod) -> tuple[object, ...]:
        node = pod.spec.node_name or ""
        found = pod_condition(pod, "Ready")
        ready = found is not None and found.status == "True"
        since = parse_time(found.last_transition_time) if found is not None and ready else None
        return (
            bool(node),
            _PHASES.get(pod.status.phase or "", 1),
            ready,
            _deletion_cost(pod),
            -nearby.get(node, 0),
            0 if since is None else _magnitude(now - since),
            -count_restarts(pod),
            _magnitude(now - (parse_time(pod.metadata.creation_timestamp) or now)),
            pod.metadata.uid or "",
        )

    return sorted(pods, key=rank)


def _deletion_cost(pod: Pod) -> int:
    text = pod.metadata.annotations.get(DELETION_COST, "0")
    try:
        return int(text)
    except ValueError:
        return 0


def _magnitude(seconds: float) -> int:
    return int(max(seconds, 0)).bit_length()
