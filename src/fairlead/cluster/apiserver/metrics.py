"""The server's metrics, under the names kube-apiserver uses.

In: an engine. Out: the text format of Prometheus. Labels are bounded by the table of kinds. Loaded only when asked for.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from fairlead.cluster.apiserver.store import ResourceKey

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Measured(Protocol):
    """What is read from an engine."""

    def counts(self) -> Mapping[ResourceKey, int]:
        """Return the number of objects by resource."""
        ...

    @property
    def served(self) -> Mapping[tuple[str, str, int], int]:
        """The number of requests by method, plural name and status."""
        ...


class _Collector:
    def __init__(self, measured: Measured) -> None:
        self._measured = measured

    def collect(self) -> Iterable[Metric]:
        requests = CounterMetricFamily("apiserver_request", "Requests answered.", labels=["verb", "resource", "code"])
        for (method, plural, status), count in self._measured.served.items():
            requests.add_metric([method, plural, str(status)], count)
        objects = GaugeMetricFamily("apiserver_storage_objects", "Objects stored.", labels=["resource"])
        for (group, plural), count in self._measured.counts().items():
            objects.add_metric([f"{plural}.{group}" if group else plural], count)
        return requests, objects


def render_metrics(measured: Measured) -> bytes:
    """Return the metrics of an engine."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(measured))
    return generate_latest(registry)
