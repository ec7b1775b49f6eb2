"""What is wrong with a HorizontalPodAutoscaler.

In: a document with defaults. Out: FieldErrors. Source: k8s.io/kubernetes/pkg/apis/autoscaling/validation/validation.go.
"""

from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.errors import forbidden, invalid, required
from fairlead.cluster.apiserver.kinds.validation.fields import Found, one_of
from fairlead.kube.documents import Document, mapping_at, number_at, text_at
from fairlead.kube.quantities import parse_quantity

_SOURCES = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_LONGEST_WINDOW, _LONGEST_PERIOD = 3600, 1800


def autoscaler_rules(autoscaler: Document) -> Found:
    """Judge a HorizontalPodAutoscaler."""
    spec = mapping_at(autoscaler, "spec")
    least, most = number_at(spec, "minReplicas"), number_at(spec, "maxReplicas") or 0
    if least is not None and least < 1:
        yield invalid("spec.minReplicas", least, "must be greater than or equal to 1")
    if most < 1:
        yield invalid("spec.maxReplicas", most, "must be greater than 0")
    if least is not None and most < least:
        yield invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    yield from _reference(mapping_at(spec, "scaleTargetRef"), "spec.scaleTargetRef")
    for number, metric in enumerate(children(spec, "metrics")):
        yield from _metric(metric, f"spec.metrics[{number}]")
    for direction in ("scaleUp", "scaleDown"):
        rules = mapping_at(spec, "behavior", direction)
        if rules:
            yield from _scaling_rules(rules, f"spec.behavior.{direction}")


def _reference(reference: Document, path: str) -> Found:
    for field in ("kind", "name"):
        if not text_at(reference, field):
            yield required(f"{path}.{field}")


def _metric(metric: Document, path: str) -> Found:
    kind = text_at(metric, "type")
    if not kind:
        yield required(f"{path}.type", "must specify a metric source type")
        return
    if kind not in _SOURCES:
        yield from one_of(f"{path}.type", kind, tuple(_SOURCES))
        return
    own = _SOURCES[kind]
    for field in _SOURCES.values():
        if field != own and metric.get(field) is not None:
            detail = "must populate the given metric source only"
            yield forbidden(f"{path}.{field}", detail)
    if not isinstance(metric.get(own), dict):
        yield required(f"{path}.{own}", "must populate information for the given metric source")
        return
    source, path = mapping_at(metric, own), f"{path}.{own}"
    if own in ("resource", "containerResource"):
        yield from _resource(source, path, contained=own == "containerResource")
    else:
        yield from _named(source, path, own)


def _resource(source: Document, path: str, *, contained: bool) -> Found:
    if not text_at(source, "name"):
        yield required(f"{path}.name", "must specify a resource name")
    if contained and not text_at(source, "container"):
        yield required(f"{path}.container", "must specify a container")
    target = mapping_at(source, "target")
    yield from _target(target, f"{path}.target")
    utilization, average = target.get("averageUtilization"), target.get("averageValue")
    if utilization is None and average is None:
        detail = "must set either a target raw value or a target utilization"
        yield required(f"{path}.target.averageUtilization", detail)
    if utilization is not None and average is not None:
        yield forbidden(f"{path}.target.averageValue", "may not set both a target raw value and a target utilization")


def _named(source: Document, path: str, own: str) -> Found:
    if own == "object":
        yield from _reference(mapping_at(source, "describedObject"), f"{path}.describedObject")
    if not text_at(source, "metric", "name"):
        yield required(f"{path}.metric.name", "must specify a metric name")
    target = mapping_at(source, "target")
    yield from _target(target, f"{path}.target")
    if own == "pods":
        if target.get("averageValue") is None:
            yield required(f"{path}.target.averageValue", "must specify a positive target averageValue")
    elif target.get("value") is None and target.get("averageValue") is None:
        detail = "must set either a target value for metric or a per-pod target"
        yield required(f"{path}.target.averageValue", detail)


def _target(target: Document, path: str) -> Found:
    kind = text_at(target, "type")
    if not kind:
        yield required(f"{path}.type", "must specify a metric target type")
    else:
        yield from one_of(f"{path}.type", kind, ("AverageValue", "Utilization", "Value"))
    for field in ("value", "averageValue"):
        amount = target.get(field)
        if isinstance(amount, str | int | float):
            try:
                positive = parse_quantity(amount) > 0
            except ValueError as error:
                yield invalid(f"{path}.{field}", amount, str(error))
            else:
                if not positive:
                    yield invalid(f"{path}.{field}", amount, "must be positive")
    percent = number_at(target, "averageUtilization")
    if percent is not None and percent < 1:
        yield invalid(f"{path}.averageUtilization", percent, "must be greater than 0")


def _scaling_rules(rules: Document, path: str) -> Found:
    window = number_at(rules, "stabilizationWindowSeconds")
    if window is not None and window < 0:
        yield invalid(f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero")
    if window is not None and window > _LONGEST_WINDOW:
        detail = f"must be less than or equal to {_LONGEST_WINDOW}"
        yield invalid(f"{path}.stabilizationWindowSeconds", window, detail)
    yield from one_of(f"{path}.selectPolicy", text_at(rules, "selectPolicy"), ("Disabled", "Max", "Min"))
    policies = children(rules, "policies")
    if not policies:
        yield required(f"{path}.policies", "must specify at least one Policy")
    for number, policy in enumerate(policies):
        spot = f"{path}.policies[{number}]"
        yield from one_of(f"{spot}.type", text_at(policy, "type"), ("Percent", "Pods"))
        value, period = number_at(policy, "value") or 0, number_at(policy, "periodSeconds") or 0
        if value <= 0:
            yield invalid(f"{spot}.value", value, "must be greater than zero")
        if period <= 0:
            yield invalid(f"{spot}.periodSeconds", period, "must be greater than zero")
        if period > _LONGEST_PERIOD:
            yield invalid(f"{spot}.periodSeconds", period, f"must be less than or equal to {_LONGEST_PERIOD}")
