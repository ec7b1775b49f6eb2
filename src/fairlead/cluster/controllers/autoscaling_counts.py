"""How many pods a metric asks for: readings of pods and a target come in, a number of replicas goes out.

Source: k8s.io/kubernetes/pkg/controller/podautoscaler/replica_calculator.go and metrics/utilization.go. Knows neither
where readings come from nor how fast a workload may be scaled.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from enum import Enum

from msgspec import Struct

NO_READINGS = "did not receive metrics for targeted pods (pods might be unready)"


class Tolerance(Struct, frozen=True, kw_only=True):
    """How far from 1 a ratio may lie, to either side, before anything is scaled."""

    up: float = 0.1
    down: float = 0.1

    def holds(self, ratio: float) -> bool:
        """Whether `ratio` is near enough to 1 to leave everything as it is."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


class Start(Struct, frozen=True, kw_only=True):
    """What is made allowance for in pods that start, in seconds; the defaults are kube-controller-manager's."""

    cpu_initialization: float = 300.0
    readiness_delay: float = 30.0


class Reading(Struct, frozen=True, kw_only=True):
    """What one pod used, when that was measured, and over how many seconds."""

    value: Decimal
    at: float
    window: float


class Candidate(Struct, frozen=True, kw_only=True):
    """What counts of one pod. `ready` is None where the pod has no such condition yet; times are epoch seconds."""

    name: str
    phase: str = "Running"
    deleting: bool = False
    ready: bool | None = True
    ready_since: float = 0.0
    started: float | None = 0.0


class Basis(Enum):
    """What is measured: only the CPU of a pod that starts says nothing of its load."""

    CPU = "cpu"
    OTHER = "other"


class Grouped(Struct, frozen=True, kw_only=True):
    """The pods by what their readings are worth."""

    ready: frozenset[str]
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]


class MetricError(Exception):
    """A metric that cannot be had, with the sentence for the condition."""


def group_pods(
    pods: Sequence[Candidate], readings: Mapping[str, Reading], basis: Basis, start: Start, now: float
) -> Grouped:
    """Tell the pods whose readings count from those that are not ready, have none, or are on their way out."""
    groups: dict[str, set[str]] = {"ready": set(), "unready": set(), "missing": set(), "ignored": set()}
    for pod in pods:
        reading = readings.get(pod.name)
        if pod.deleting or pod.phase == "Failed":
            group = "ignored"
        elif pod.phase == "Pending":
            group = "unready"
        elif reading is None:
            group = "missing"
        else:
            group = "unready" if basis is Basis.CPU and _starting(pod, reading, start, now) else "ready"
        groups[group].add(pod.name)
    return Grouped(**{name: frozenset(found) for name, found in groups.items()})


def _starting(pod: Candidate, reading: Reading, start: Start, now: float) -> bool:
    if pod.ready is None or pod.started is None:
        return True
    if pod.started + start.cpu_initialization > now:
        return not pod.ready or reading.at < pod.ready_since + reading.window
    return not pod.ready and pod.started + start.readiness_delay > pod.ready_since


def count_by_utilization(
    grouped: Grouped,
    readings: Mapping[str, Reading],
    requests: Mapping[str, Decimal],
    percent: int,
    current: int,
    tolerance: Tolerance,
) -> int:
    """Return the replicas at which pods would use `percent` of what they request. Raises MetricError.

    `requests` has every pod's request. Pods without a reading are taken to use all they request (or the target, where
    that is more) before scaling down, and nothing before scaling up.
    """

    def ratio(values: Mapping[str, Decimal]) -> float:
        wanted = sum((requests[name] for name in values), Decimal(0))
        if wanted <= 0:
            raise MetricError("no metrics returned matched known pods")
        return int(sum(values.values(), Decimal(0)) * 100 / wanted) / percent

    full = Decimal(max(100, percent)) / 100
    values = _counted(grouped, readings)
    assumed = {name: requests[name] * full for name in grouped.missing}
    return _count(grouped, values, assumed, ratio, current, tolerance)


def count_by_average(
    grouped: Grouped, readings: Mapping[str, Reading], target: Decimal, current: int, tolerance: Tolerance
) -> int:
    """Return the replicas at which pods would have `target` each on average. Raises MetricError.

    Pods without a reading are taken to be on target before scaling down, and to have nothing before scaling up.
    """

    def ratio(values: Mapping[str, Decimal]) -> float:
        return float(sum(values.values(), Decimal(0)) / len(values) / target)

    values = _counted(grouped, readings)
    return _count(grouped, values, dict.fromkeys(grouped.missing, target), ratio, current, tolerance)


def count_by_object_value(value: Decimal, target: Decimal, current: int, ready: int, tolerance: Tolerance) -> int:
    """Return the replicas for a value of one object, in proportion to the pods that are ready."""
    ratio = float(value / target)
    if current == 0:
        return math.ceil(ratio)
    return current if tolerance.holds(ratio) else math.ceil(ratio * ready)


def count_by_object_average(value: Decimal, target: Decimal, current: int, tolerance: Tolerance) -> int:
    """Return the replicas that share a value of one object so that each has `target`."""
    if current and tolerance.holds(float(value / (target * current))):
        return current
    return math.ceil(value / target)


def highest_count(counts: Sequence[int | MetricError], current: int) -> int:
    """Return the most that any metric asks for. Raises MetricError.

    A metric that fails forbids scaling down, as it might have asked for more; where all fail nothing is known.
    """
    valid = [each for each in counts if not isinstance(each, MetricError)]
    failed = [each for each in counts if isinstance(each, MetricError)]
    if failed and (not valid or max(valid) < current):
        told = f"invalid metrics ({len(failed)} invalid out of {len(counts)}), first error is: {failed[0]}"
        raise MetricError(told) from failed[0]
    return max(valid)


def _counted(grouped: Grouped, readings: Mapping[str, Reading]) -> dict[str, Decimal]:
    values = {name: readings[name].value for name in sorted(grouped.ready)}
    if not values:
        raise MetricError(NO_READINGS)
    return values


def _count(
    grouped: Grouped,
    values: dict[str, Decimal],
    assumed: Mapping[str, Decimal],
    ratio_of: Callable[[Mapping[str, Decimal]], float],
    current: int,
    tolerance: Tolerance,
) -> int:
    first = ratio_of(values)
    starting = first > 1.0 and bool(grouped.unready)
    if not starting and not assumed:
        return current if tolerance.holds(first) else math.ceil(first * len(values))
    whole = dict(values)
    if first < 1.0:
        whole.update(assumed)
    elif first > 1.0:
        whole.update(dict.fromkeys(assumed, Decimal(0)))
    if starting:
        whole.update(dict.fromkeys(grouped.unready, Decimal(0)))
    second = ratio_of(whole)
    turned = (first < 1.0 < second) or (second < 1.0 < first)
    if tolerance.holds(second) or turned:
        return current
    count = math.ceil(second * len(whole))
    contrary = (second < 1.0 and count > current) or (second > 1.0 and count < current)
    return current if contrary else count
