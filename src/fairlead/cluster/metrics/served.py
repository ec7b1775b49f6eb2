"""The groups of the API that are measured, not stored: their names for discovery, and who answers.

In: requests below /apis/metrics.k8s.io and /apis/custom.metrics.k8s.io. Out: answers. What answers is imported with the
first request: a cluster that nobody measures carries none of it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fairlead.cluster.apiserver.kinds.spec import Column, KindSpec
from fairlead.cluster.apiserver.paths import Target
from fairlead.drivers.kubeapi.transport import ApiRequest, ApiResponse
from fairlead.kube.documents import Document, Json
from fairlead.kube.resources import Resource

if TYPE_CHECKING:
    from fairlead.cluster.apiserver.store import Store
    from fairlead.cluster.metrics.answers import MetricsAnswers

RESOURCE_METRICS = "metrics.k8s.io"
CUSTOM_METRICS = "custom.metrics.k8s.io"
CUSTOM_VERSIONS = ("v1beta2", "v1beta1")

REQUESTS, ERRORS = "requests_per_second", "errors_per_second"
CPU, MEMORY = "cpu_usage_cores", "memory_usage_bytes"
METRICS: Mapping[str, tuple[str, ...]] = {
    "pods": (REQUESTS, ERRORS, CPU, MEMORY),
    "services": (REQUESTS, ERRORS),
    "ingresses.networking.k8s.io": (REQUESTS,),
}
"""The custom metrics there are, by what they are of."""

_COLUMNS = (
    Column("Name", "string", "name"),
    Column("Cpu", "string"),
    Column("Memory", "string"),
    Column("Window", "string"),
)


def _row(document: Document, now: float) -> list[Json]:
    from fairlead.cluster.metrics.resources import usage_row

    return usage_row(document)


def _measured(kind: str, plural: str, *, namespaced: bool) -> KindSpec:
    return KindSpec(
        resource=Resource(RESOURCE_METRICS, "v1beta1", kind, plural, namespaced),
        singular=plural[:-1],
        schema="",
        verbs=("get", "list"),
        columns=_COLUMNS,
        row=_row,
    )


POD_METRICS = _measured("PodMetrics", "pods", namespaced=True)
NODE_METRICS = _measured("NodeMetrics", "nodes", namespaced=False)


def _custom(version: str, plural: str, metric: str) -> KindSpec:
    return KindSpec(
        resource=Resource(CUSTOM_METRICS, version, "MetricValueList", f"{plural}/{metric}", True),
        singular="",
        schema="",
        verbs=("get",),
        row=_row,
    )


SERVED: tuple[KindSpec, ...] = (
    POD_METRICS,
    NODE_METRICS,
    *(
        _custom(version, plural, metric)
        for version in CUSTOM_VERSIONS
        for plural, metrics in METRICS.items()
        for metric in metrics
    ),
)
"""What discovery lists."""


class Metrics:
    """Answers for both groups. `kubelet` is the unix socket where the kubelet tells what pods use."""

    def __init__(self, store: "Store", kubelet: Path, resolution: float) -> None:
        self._store = store
        self._kubelet = kubelet
        self._resolution = resolution
        self._answers: MetricsAnswers | None = None

    async def answer(self, request: ApiRequest, target: Target) -> ApiResponse:
        """Answer one request. Raises StatusError."""
        if self._answers is None:
            from fairlead.cluster.metrics.answers import MetricsAnswers

            self._answers = MetricsAnswers(self._store, self._kubelet, self._resolution)
        return await self._answers.answer(request, target)
