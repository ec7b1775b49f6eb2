"""PodMetrics and NodeMetrics out of rates. Source: k8s.io/metrics/pkg/apis/metrics/v1beta1/types.go. Pure."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.metrics.rates import PodRate, Rates
from fairlead.kube.documents import Document, Json, mapping_at, text_at
from fairlead.kube.quantities import parse_quantity

API_VERSION = "metrics.k8s.io/v1beta1"


def pod_metrics(rate: PodRate, rates: Rates, labels: Mapping[str, str]) -> Document:
    """The PodMetrics of one pod."""
    metadata: Document = {
        "name": rate.name,
        "namespace": rate.namespace,
        "creationTimestamp": _time(rates.at),
    }
    if labels:
        metadata["labels"] = dict(labels)
    containers: list[Json] = [{"name": each.name, "usage": _usage(each.cpu, each.memory)} for each in rate.containers]
    return {
        "kind": "PodMetrics",
        "apiVersion": API_VERSION,
        "metadata": metadata,
        "timestamp": _time(rates.at),
        "window": _window(rates.window),
        "containers": containers,
    }


def node_metrics(node: str, pods: Iterable[PodRate], rates: Rates, labels: Mapping[str, str]) -> Document:
    """The NodeMetrics of one node: what its pods use together."""
    own = [pod for pod in pods if pod.node == node]
    metadata: Document = {"name": node, "creationTimestamp": _time(rates.at)}
    if labels:
        metadata["labels"] = dict(labels)
    return {
        "kind": "NodeMetrics",
        "apiVersion": API_VERSION,
        "metadata": metadata,
        "timestamp": _time(rates.at),
        "window": _window(rates.window),
        "usage": _usage(sum(pod.cpu for pod in own), sum(pod.memory for pod in own)),
    }


def usage_row(document: Document) -> list[Json]:
    """The cells of PodMetrics or NodeMetrics in a Table."""
    usages = [mapping_at(each, "usage") for each in children(document, "containers")] or [mapping_at(document, "usage")]
    cpu = sum(parse_quantity(text_at(each, "cpu") or "0") for each in usages)
    memory = sum(parse_quantity(text_at(each, "memory") or "0") for each in usages)
    name = text_at(document, "metadata", "name")
    return [name, f"{int(cpu * 10**9)}n", f"{int(memory) // 1024}Ki", text_at(document, "window")]


def _usage(cpu: float, memory: int) -> Document:
    return {"cpu": f"{round(cpu * 1e9)}n", "memory": f"{memory // 1024}Ki"}


def _time(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _window(seconds: float) -> str:
    """Seconds as Go prints a Duration, to the millisecond."""
    return f"{round(seconds, 3):g}s"
