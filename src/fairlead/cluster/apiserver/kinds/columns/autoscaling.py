"""The columns of HorizontalPodAutoscalers.

Source: printHorizontalPodAutoscaler and formatHPAMetrics of k8s.io/kubernetes/pkg/printers/internalversion/printers.go.
"""

from fairlead.cluster.apiserver.kinds.columns.plain import AGE, NAME, age_of, name_of
from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.spec import Column
from fairlead.kube.documents import Document, Json, mapping_at, number_at, text_at

AUTOSCALER = (
    NAME,
    Column("Reference", "string", "", "What is scaled."),
    Column("Targets", "string", "", "What was measured last, and what it is to be."),
    Column("MinPods", "string", "", "The fewest replicas."),
    Column("MaxPods", "string", "", "The most replicas."),
    Column("Replicas", "string", "", "How many replicas there were last."),
    AGE,
)
_SHOWN = 2
_UNKNOWN, _UNSET, _NO_METRICS = "<unknown>", "<unset>", "<none>"
_SOURCES = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}


def autoscaler_row(autoscaler: Document, now: float) -> list[Json]:
    """Return the cells of `AUTOSCALER`."""
    spec, status = mapping_at(autoscaler, "spec"), mapping_at(autoscaler, "status")
    least = number_at(spec, "minReplicas")
    return [
        name_of(autoscaler),
        f"{text_at(spec, 'scaleTargetRef', 'kind')}/{text_at(spec, 'scaleTargetRef', 'name')}",
        _targets(children(spec, "metrics"), children(status, "currentMetrics")),
        _UNSET if least is None else str(least),
        str(number_at(spec, "maxReplicas") or 0),
        str(number_at(status, "currentReplicas") or 0),
        age_of(autoscaler, now),
    ]


def _targets(metrics: list[Document], currents: list[Document]) -> str:
    if not metrics:
        return _NO_METRICS
    told: list[str] = []
    for number, metric in enumerate(metrics[:_SHOWN]):
        told.append(_target(metric, currents[number] if number < len(currents) else {}))
    more = len(metrics) - _SHOWN
    return ", ".join(told) + (f" + {more} more..." if more > 0 else "")


def _target(metric: Document, current: Document) -> str:
    source = _SOURCES.get(text_at(metric, "type"), "")
    wanted, seen = mapping_at(metric, source, "target"), mapping_at(current, source, "current")
    name = f"{text_at(metric, source, 'name')}: " if source in ("resource", "containerResource") else ""
    if source in ("resource", "containerResource") and wanted.get("averageValue") is None:
        percent, used = number_at(wanted, "averageUtilization"), number_at(seen, "averageUtilization")
        return f"{name}{_UNKNOWN if used is None else f'{used}%'}/{'<auto>' if percent is None else f'{percent}%'}"
    if wanted.get("averageValue") is not None:
        average = " (avg)" if source in ("object", "external") else ""
        return f"{name}{seen.get('averageValue') or _UNKNOWN}/{wanted['averageValue']}{average}"
    return f"{name}{seen.get('value') or _UNKNOWN}/{wanted.get('value')}"
