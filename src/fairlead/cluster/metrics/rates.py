"""Rates out of counters: two looks at all pods come in, what each used and served per second goes out. Pure.

A container that was not there at the first look, or began anew in between, has no rate yet: metrics-server leaves such
pods out as well (sigs.k8s.io/metrics-server/pkg/storage/pod.go).
"""

from msgspec import Struct

from fairlead.cluster.metrics.usage import PodUsage, Usage


class ContainerRate(Struct, frozen=True):
    """CPU in cores, memory in bytes."""

    name: str
    cpu: float
    memory: int


class PodRate(Struct, frozen=True, kw_only=True):
    """What one pod used, and the requests and errors per second, None where they are not known."""

    namespace: str
    name: str
    uid: str
    node: str
    containers: tuple[ContainerRate, ...]
    requests: float | None
    errors: float | None

    @property
    def cpu(self) -> float:
        """Cores of all its containers."""
        return sum(each.cpu for each in self.containers)

    @property
    def memory(self) -> int:
        """Bytes of all its containers."""
        return sum(each.memory for each in self.containers)


class Rates(Struct, frozen=True):
    """All pods between two looks: until when, and over how many seconds."""

    at: float
    window: float
    pods: tuple[PodRate, ...]


def rates_between(before: Usage, after: Usage) -> Rates:
    """Return what happened between two looks, by pod."""
    window = max(after.at - before.at, 1e-3)
    known = {pod.uid: pod for pod in before.pods}
    pods = (_pod_rate(known[pod.uid], pod, window) for pod in after.pods if pod.uid in known)
    return Rates(after.at, window, tuple(pod for pod in pods if pod is not None))


def _pod_rate(before: PodUsage, after: PodUsage, window: float) -> PodRate | None:
    former = {(each.name, each.run): each for each in before.containers}
    containers: list[ContainerRate] = []
    for each in after.containers:
        first = former.get((each.name, each.run))
        if first is None:
            return None
        containers.append(ContainerRate(each.name, max(0.0, each.cpu - first.cpu) / window, each.memory))
    if not containers:
        return None
    return PodRate(
        namespace=after.namespace,
        name=after.name,
        uid=after.uid,
        node=after.node,
        containers=tuple(containers),
        requests=_rate(before.requests, after.requests, window),
        errors=_rate(before.errors, after.errors, window),
    )


def _rate(before: int | None, after: int | None, window: float) -> float | None:
    return None if before is None or after is None else max(0, after - before) / window
