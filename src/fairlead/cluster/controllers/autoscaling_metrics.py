"""One metric of an autoscaler: its readings come in, the replicas it asks for and what is shown of it go out. Pure.

Source: k8s.io/kubernetes/pkg/controller/podautoscaler/horizontal.go (computeStatusFor...). Values are in thousandths.
"""

from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from msgspec import Struct

from fairlead.cluster.controllers.autoscaling_counts import (
    Basis,
    Candidate,
    MetricError,
    Reading,
    Start,
    Tolerance,
    count_by_average,
    count_by_object_average,
    count_by_object_value,
    count_by_utilization,
    group_pods,
)
from fairlead.cluster.controllers.timestamps import parse_time
from fairlead.kube.autoscaling import MetricSpec, MetricTarget, ObjectMetricSource, ResourceMetricSource
from fairlead.kube.documents import Document, Json
from fairlead.kube.pods import Pod
from fairlead.kube.quantities import parse_quantity

REASONS = {
    "Resource": "FailedGetResourceMetric",
    "ContainerResource": "FailedGetContainerResourceMetric",
    "Pods": "FailedGetPodsMetric",
    "Object": "FailedGetObjectMetric",
    "External": "FailedGetExternalMetric",
}
"""Why scaling is not active, where a metric of a type cannot be had."""


class Size(Struct, frozen=True, kw_only=True):
    """The workload now: replicas as asked and as there are, its pods, and what is made allowance for."""

    replicas: int
    present: int
    pods: tuple[Pod, ...]
    tolerance: Tolerance
    start: Start
    now: float


class Proposal(Struct, frozen=True):
    """How many replicas a metric asks for, how it is called in messages, and its entry of currentMetrics."""

    replicas: int
    called: str
    status: Document


def propose_by_resource(metric: MetricSpec, readings: Mapping[str, Reading], size: Size) -> Proposal:
    """Judge a resource of pods, or of one container of them. Raises MetricError."""
    source = metric.container_resource if metric.type == "ContainerResource" else metric.resource
    assert source is not None
    target, basis = source.target, Basis.CPU if source.name == "cpu" else Basis.OTHER
    candidates = tuple(candidate_of(pod) for pod in size.pods)
    grouped = group_pods(candidates, readings, basis, size.start, size.now)
    used = [readings[name].value for name in sorted(grouped.ready)]
    called = f"{source.name} {'container ' if metric.type == 'ContainerResource' else ''}resource"
    if target.average_value is not None:
        wanted = _thousandths(target.average_value)
        count = count_by_average(grouped, readings, wanted, size.replicas, size.tolerance)
        return Proposal(count, called, _resource_status(metric, source, {"averageValue": _average(used)}))
    requests = requests_of(size.pods, source.name, source.container)
    percent = target.average_utilization or 0
    count = count_by_utilization(grouped, readings, requests, percent, size.replicas, size.tolerance)
    asked = sum((requests[name] for name in grouped.ready), Decimal(0))
    utilization = int(sum(used, Decimal(0)) * 100 / asked) if asked else 0
    current: Document = {"averageUtilization": utilization, "averageValue": _average(used)}
    called += " utilization (percentage of request)"
    return Proposal(count, called, _resource_status(metric, source, current))


def propose_by_pods(source: ObjectMetricSource, readings: Mapping[str, Reading], size: Size) -> Proposal:
    """Judge a custom metric of pods. Raises MetricError."""
    candidates = tuple(candidate_of(pod) for pod in size.pods)
    grouped = group_pods(candidates, readings, Basis.OTHER, size.start, size.now)
    wanted = _thousandths(source.target.average_value)
    count = count_by_average(grouped, readings, wanted, size.replicas, size.tolerance)
    used = [readings[name].value for name in sorted(grouped.ready)]
    status: Document = {
        "type": "Pods",
        "pods": {"metric": _identifier(source), "current": {"averageValue": _average(used)}},
    }
    return Proposal(count, f"pods metric {source.metric.name}", status)


def propose_by_object(source: ObjectMetricSource, value: Decimal, size: Size) -> Proposal:
    """Judge a custom metric of one object."""
    target = source.target
    if target.average_value is not None:
        count = count_by_object_average(value, _thousandths(target.average_value), size.present, size.tolerance)
        each = (value / size.present).to_integral_value(ROUND_CEILING) if size.present else value
        current: Document = {"averageValue": _milli(each)}
    else:
        ready = sum(pod.status.phase == "Running" and bool(candidate_of(pod).ready) for pod in size.pods)
        count = count_by_object_value(value, _thousandths(target.value), size.replicas, ready, size.tolerance)
        current = {"value": _milli(value)}
    described = source.described_object
    named: Document = {"kind": described.kind, "name": described.name}
    if described.api_version:
        named["apiVersion"] = described.api_version
    status: Document = {
        "type": "Object",
        "object": {"metric": _identifier(source), "current": current, "describedObject": named},
    }
    return Proposal(count, f"{described.kind} metric {source.metric.name}", status)


def candidate_of(pod: Pod) -> Candidate:
    """Return what counts of a pod."""
    ready = next((each for each in pod.status.conditions if each.type == "Ready"), None)
    return Candidate(
        name=pod.metadata.name,
        phase=pod.status.phase or "Pending",
        deleting=pod.metadata.deletion_timestamp is not None,
        ready=None if ready is None else ready.status == "True",
        ready_since=(parse_time(ready.last_transition_time) if ready is not None else None) or 0.0,
        started=parse_time(pod.status.start_time),
    )


def requests_of(pods: Sequence[Pod], resource: str, container: str) -> dict[str, Decimal]:
    """Return what each pod requests of a resource. Raises MetricError for a container that requests none."""
    found: dict[str, Decimal] = {}
    for pod in pods:
        sidecars = tuple(each for each in pod.spec.init_containers if each.restart_policy == "Always")
        every = (*pod.spec.containers, *sidecars)
        chosen = [each for each in every if not container or each.name == container]
        if not chosen:
            raise MetricError(f"failed to get pod requests: container {container} not found in Pod {pod.metadata.name}")
        total = Decimal(0)
        for each in chosen:
            text = each.resources.requests.get(resource)
            if text is None:
                told = f"missing request for {resource} in container {each.name} of Pod {pod.metadata.name}"
                raise MetricError(f"failed to get pod requests: {told}")
            total += parse_quantity(text) * 1000
        found[pod.metadata.name] = total
    return found


def _resource_status(metric: MetricSpec, source: ResourceMetricSource, current: Document) -> Document:
    own: Document = {"name": source.name, "current": current}
    if metric.type == "ContainerResource":
        return {"type": metric.type, "containerResource": {**own, "container": source.container}}
    return {"type": metric.type, "resource": own}


def _identifier(source: ObjectMetricSource) -> Document:
    found: Document = {"name": source.metric.name}
    selector = source.metric.selector
    if selector is not None:
        labels: dict[str, Json] = {**selector.match_labels}
        found["selector"] = {"matchLabels": labels}
    return found


def _thousandths(text: str | float | None) -> Decimal:
    return parse_quantity(0 if text is None else text) * 1000


def _average(used: Sequence[Decimal]) -> str:
    return _milli((sum(used, Decimal(0)) / len(used)).to_integral_value(ROUND_FLOOR))


def _milli(value: Decimal) -> str:
    """Thousandths as upstream writes a quantity: 12m, or 3."""
    whole = int(value)
    return str(whole // 1000) if whole % 1000 == 0 else f"{whole}m"


def target_text(target: MetricTarget) -> str:
    """What a metric is to be, in a few characters, for lines of logs."""
    if target.average_utilization is not None:
        return f"{target.average_utilization}%"
    return str(target.value if target.average_value is None else target.average_value)
