"""MetricValueLists of custom.metrics.k8s.io. Source: k8s.io/metrics/pkg/apis/custom_metrics, both versions. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

from msgspec import Struct

from fairlead.kube.documents import Document, Json


class Described(Struct, frozen=True, kw_only=True):
    """One value of one object."""

    kind: str
    api_version: str
    namespace: str
    name: str
    value: float


def metric_values(
    version: str, metric: str, values: Iterable[Described], *, at: float, window: float, selector: Document | None
) -> Document:
    """The list of values of one metric, in a version of the group; `selector` is the metricLabelSelector asked for."""
    time = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    items: list[Json] = [_value(version, metric, each, time, window, selector) for each in values]
    return {
        "kind": "MetricValueList",
        "apiVersion": f"custom.metrics.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _value(version: str, metric: str, one: Described, time: str, window: float, selector: Document | None) -> Document:
    described: Document = {
        "kind": one.kind,
        "namespace": one.namespace,
        "name": one.name,
        "apiVersion": one.api_version,
    }
    value: Document = {"describedObject": described}
    if version == "v1beta1":
        value["metricName"] = metric
        value["selector"] = selector
    else:
        value["metric"] = {"name": metric, "selector": selector}
    return {**value, "timestamp": time, "windowSeconds": round(window), "value": quantity_text(Decimal(one.value))}


def quantity_text(value: Decimal) -> str:
    """Return a value as a quantity, to the thousandth: 3, or 2500m."""
    thousandths = int((value * 1000).to_integral_value(ROUND_HALF_UP))
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"
