"""HorizontalPodAutoscaler of autoscaling/v1 as autoscaling/v2, and back.

Comes in: a document, or a patch of one. Goes out: the same in the other version. v1 knows one metric, the use of
processors; others go along in the annotation that upstream has for them. Source:
pkg/apis/autoscaling/v1/conversion.go.
"""

import msgspec

from fairlead.kube.documents import Document, Json, items_at, mapping_at, number_at, text_at

OTHERS = "autoscaling.alpha.kubernetes.io/metrics"
_SPEC, _STATUS = "targetCPUUtilizationPercentage", "currentCPUUtilizationPercentage"


def autoscaler_of_today(document: Document) -> Document:
    """The fields of an autoscaler of v1 as v2 spells them."""
    converted = dict(document)
    others = text_at(document, "metadata", "annotations", OTHERS)
    if isinstance(document.get("spec"), dict):
        spec = dict(mapping_at(document, "spec"))
        target = spec.pop(_SPEC, None)
        metrics: list[Json] = [*_decoded(others)]
        if target is not None:
            cpu: Document = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}}
            metrics.append({"type": "Resource", "resource": cpu})
        if metrics:
            spec["metrics"] = metrics
        converted["spec"] = spec
    if others:
        metadata = dict(mapping_at(document, "metadata"))
        kept = mapping_at(metadata, "annotations")
        metadata["annotations"] = {key: value for key, value in kept.items() if key != OTHERS}
        converted["metadata"] = metadata
    if isinstance(document.get("status"), dict):
        status = dict(mapping_at(document, "status"))
        status.pop(_STATUS, None)
        converted["status"] = status
    return converted


def autoscaler_of_v1(document: Document) -> Document:
    """The fields of an autoscaler of v2 as v1 spells them."""
    spec = dict(mapping_at(document, "spec"))
    metrics = [each for each in items_at(spec, "metrics") if isinstance(each, dict)]
    spec.pop("metrics", None)
    spec.pop("behavior", None)
    cpu = next((each for each in metrics if _is_cpu(each, "target")), None)
    others = [each for each in metrics if each is not cpu]
    converted: Document = {**document, "spec": spec}
    if cpu is not None:
        spec[_SPEC] = number_at(cpu, "resource", "target", "averageUtilization")
    if others:
        metadata = dict(mapping_at(document, "metadata"))
        text = msgspec.json.encode(others).decode()
        metadata["annotations"] = {**mapping_at(metadata, "annotations"), OTHERS: text}
        converted["metadata"] = metadata
    if isinstance(document.get("status"), dict):
        status = dict(mapping_at(document, "status"))
        found = [each for each in items_at(status, "currentMetrics") if isinstance(each, dict)]
        measured = next((each for each in found if _is_cpu(each, "current")), None)
        for field in ("currentMetrics", "conditions"):
            status.pop(field, None)
        if measured is not None:
            status[_STATUS] = number_at(measured, "resource", "current", "averageUtilization")
        converted["status"] = status
    return converted


def _is_cpu(metric: Document, side: str) -> bool:
    resource = mapping_at(metric, "resource")
    return text_at(resource, "name") == "cpu" and number_at(resource, side, "averageUtilization") is not None


def _decoded(text: str) -> list[Json]:
    try:
        found: Json = msgspec.json.decode(text) if text else []
    except msgspec.DecodeError:
        found = []
    return found if isinstance(found, list) else []
