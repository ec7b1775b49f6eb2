"""HorizontalPodAutoscalers as autoscaling/v1 shows them: what it has no fields for travels in annotations.

In: a document of either version. Out: one of the other. Source: k8s.io/kubernetes/pkg/apis/autoscaling/v1/conversion.go
and annotations.go. Pure.
"""

from collections.abc import Callable

import msgspec

from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.kube.documents import Document, Json, mapping_at

_PREFIX = "autoscaling.alpha.kubernetes.io/"
METRICS, CURRENT, CONDITIONS, BEHAVIOR = (
    f"{_PREFIX}{name}" for name in ("metrics", "current-metrics", "conditions", "behavior")
)
_PERCENT, _NOW = "targetCPUUtilizationPercentage", "currentCPUUtilizationPercentage"
_SOURCES = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


def to_v1(document: Document) -> Document:
    """Return a stored autoscaler, which is of v2, as v1 has it."""
    spec, status = dict(mapping_at(document, "spec")), dict(mapping_at(document, "status"))
    annotations: Document = {**mapping_at(document, "metadata", "annotations")}
    metrics, behavior = children(spec, "metrics"), spec.pop("behavior", None)
    spec.pop("metrics", None)
    others = [each for each in metrics if _cpu_percent(each, "target") is None]
    for each in metrics:
        percent = _cpu_percent(each, "target")
        if percent is not None:
            spec[_PERCENT] = percent
            break
    if others:
        annotations[METRICS] = _text([_metric_to_v1(each) for each in others])
    if isinstance(behavior, dict):
        annotations[BEHAVIOR] = _text(_renamed(behavior, lambda name: name[:1].upper() + name[1:]))
    current, conditions = children(status, "currentMetrics"), status.pop("conditions", None)
    status.pop("currentMetrics", None)
    if current:
        annotations[CURRENT] = _text([_status_to_v1(each) for each in current])
        for each in current:
            percent = _cpu_percent(each, "current")
            if percent is not None:
                status[_NOW] = percent
                break
    if conditions:
        annotations[CONDITIONS] = _text(conditions)
    return _rebuilt(document, annotations, spec, status, "autoscaling/v1")


def to_v2(document: Document) -> Document:
    """Return an autoscaler somebody wrote as v1 as v2 has it. An annotation that cannot be read counts for nothing."""
    spec, status = dict(mapping_at(document, "spec")), dict(mapping_at(document, "status"))
    annotations: Document = {**mapping_at(document, "metadata", "annotations")}
    metrics: list[Json] = [_metric_to_v2(each) for each in _listed(annotations.pop(METRICS, None))]
    percent = spec.pop(_PERCENT, None)
    if percent is not None:
        target: Document = {"type": "Utilization", "averageUtilization": percent}
        metrics.append({"type": "Resource", "resource": {"name": "cpu", "target": target}})
    if metrics:
        spec["metrics"] = metrics
    behavior = _read(annotations.pop(BEHAVIOR, None))
    if isinstance(behavior, dict):
        spec["behavior"] = _renamed(behavior, lambda name: name[:1].lower() + name[1:])
    current: list[Json] = [_status_to_v2(each) for each in _listed(annotations.pop(CURRENT, None))]
    conditions: list[Json] = [*_listed(annotations.pop(CONDITIONS, None))]
    status.pop(_NOW, None)
    if current:
        status["currentMetrics"] = current
    if conditions:
        status["conditions"] = conditions
    return _rebuilt(document, annotations, spec, status, "autoscaling/v2")


def _rebuilt(document: Document, annotations: Document, spec: Document, status: Document, api_version: str) -> Document:
    metadata: Document = {**mapping_at(document, "metadata")}
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    found: Document = {**document, "apiVersion": api_version, "metadata": metadata}
    for key, value in (("spec", spec), ("status", status)):
        if key in document or value:
            found[key] = value
    return found


def _cpu_percent(metric: Document, part: str) -> Json:
    source = mapping_at(metric, "resource")
    return mapping_at(source, part).get("averageUtilization") if source.get("name") == "cpu" else None


# One metric of each kind, both ways. Pairs are the names in v1 and where v2 has them.

_TARGETS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "Resource": (
        ("name", ("name",)),
        ("targetAverageUtilization", ("target", "averageUtilization")),
        ("targetAverageValue", ("target", "averageValue")),
    ),
    "ContainerResource": (
        ("name", ("name",)),
        ("container", ("container",)),
        ("targetAverageUtilization", ("target", "averageUtilization")),
        ("targetAverageValue", ("target", "averageValue")),
    ),
    "Pods": (
        ("metricName", ("metric", "name")),
        ("selector", ("metric", "selector")),
        ("targetAverageValue", ("target", "averageValue")),
    ),
    "Object": (
        ("target", ("describedObject",)),
        ("metricName", ("metric", "name")),
        ("selector", ("metric", "selector")),
        ("targetValue", ("target", "value")),
        ("averageValue", ("target", "averageValue")),
    ),
    "External": (
        ("metricName", ("metric", "name")),
        ("metricSelector", ("metric", "selector")),
        ("targetValue", ("target", "value")),
        ("targetAverageValue", ("target", "averageValue")),
    ),
}
_KINDS_OF_TARGET = {"averageUtilization": "Utilization", "averageValue": "AverageValue", "value": "Value"}


def _statuses(kind: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    renamed = {"targetValue": "currentValue", "targetAverageValue": "currentAverageValue"}
    renamed["targetAverageUtilization"] = "currentAverageUtilization"
    return tuple(
        (renamed.get(name, name), tuple("current" if part == "target" else part for part in path))
        for name, path in _TARGETS[kind]
    )


def _metric_to_v1(metric: Document) -> Json:
    return _flattened(metric, lambda kind: _TARGETS[kind])


def _status_to_v1(metric: Document) -> Json:
    return _flattened(metric, _statuses)


_Pairs = Callable[[str], tuple[tuple[str, tuple[str, ...]], ...]]


def _flattened(metric: Document, pairs: _Pairs) -> Json:
    kind = str(metric.get("type", ""))
    if kind not in _SOURCES:
        return {"type": kind}
    source, flat = mapping_at(metric, _SOURCES[kind]), dict[str, Json]()
    for name, path in pairs(kind):
        value = mapping_at(source, *path[:-1]).get(path[-1])
        if value is not None:
            flat[name] = value
    return {"type": kind, _SOURCES[kind]: flat}


def _metric_to_v2(metric: Document) -> Json:
    found = _nested(metric, lambda kind: _TARGETS[kind])
    source = mapping_at(found, _SOURCES.get(str(found.get("type")), ""))
    target = mapping_at(source, "target")
    for field, kind in _KINDS_OF_TARGET.items():
        if field in target:
            target["type"] = kind
            break
    return found


def _status_to_v2(metric: Document) -> Json:
    return _nested(metric, _statuses)


def _nested(metric: Document, pairs: _Pairs) -> Document:
    kind = str(metric.get("type", ""))
    if kind not in _SOURCES:
        return {"type": kind}
    flat, source = mapping_at(metric, _SOURCES[kind]), dict[str, Json]()
    for name, path in pairs(kind):
        if name in flat:
            place = source
            for part in path[:-1]:
                inner = place.setdefault(part, {})
                assert isinstance(inner, dict)
                place = inner
            place[path[-1]] = flat[name]
    return {"type": kind, _SOURCES[kind]: source}


# Annotations


def _text(value: Json) -> str:
    return msgspec.json.encode(value).decode()


def _read(text: Json) -> Json:
    try:
        return msgspec.json.decode(text) if isinstance(text, str) else None
    except msgspec.DecodeError:
        return None


def _listed(text: Json) -> list[Document]:
    value = _read(text)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _renamed(value: Json, rename: Callable[[str], str]) -> Json:
    """The same with every key renamed: Go writes the fields of its own types, which have no JSON names, as they are."""
    if isinstance(value, dict):
        return {rename(key): _renamed(inner, rename) for key, inner in value.items()}
    return [_renamed(each, rename) for each in value] if isinstance(value, list) else value
