"""Answers requests for metrics: a path and a store come in, documents of what was measured go out.

Knows which objects a metric is of; what was measured it asks the collectors. Source: sigs.k8s.io/metrics-server/pkg/api
and sigs.k8s.io/custom-metrics-apiserver/pkg/registry.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from fairlead.cluster.apiserver.fieldselectors import compile_fields
from fairlead.cluster.apiserver.kinds.spec import KindSpec
from fairlead.cluster.apiserver.labelselectors import compile_labels
from fairlead.cluster.apiserver.negotiation import JSON, Form, parse_accept
from fairlead.cluster.apiserver.paths import Target
from fairlead.cluster.apiserver.statuses import StatusError, method_not_allowed, no_such_path, not_found
from fairlead.cluster.apiserver.store import Store, Stored
from fairlead.cluster.apiserver.tables import table
from fairlead.cluster.metrics import served
from fairlead.cluster.metrics.collector import Paired, pod_rates
from fairlead.cluster.metrics.custom import Described, metric_values
from fairlead.cluster.metrics.ingresses import IngressLook, IngressRates, ingress_rates
from fairlead.cluster.metrics.rates import PodRate, Rates
from fairlead.cluster.metrics.resources import node_metrics, pod_metrics
from fairlead.cluster.metrics.usage import Usage
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.kubeapi.transport import ApiRequest, ApiResponse
from fairlead.kube.documents import Document, Json, mapping_at

_PODS, _NODES, _SERVICES = ("", "pods"), ("", "nodes"), ("", "services")
_INGRESSES = ("networking.k8s.io", "ingresses")
_KINDS = {
    "pods": ("Pod", "v1", _PODS),
    "services": ("Service", "v1", _SERVICES),
    "ingresses.networking.k8s.io": ("Ingress", "networking.k8s.io/v1", _INGRESSES),
}
_OF_POD: dict[str, Callable[[PodRate], float | None]] = {
    served.REQUESTS: lambda rate: rate.requests,
    served.ERRORS: lambda rate: rate.errors,
    served.CPU: lambda rate: rate.cpu,
    served.MEMORY: lambda rate: float(rate.memory),
}


class MetricsAnswers:
    """Both groups, over one store."""

    def __init__(self, store: Store, kubelet: Path, resolution: float) -> None:
        self._store = store
        self._pods: Paired[Usage, Rates] = pod_rates(kubelet, resolution)
        self._ingresses: Paired[IngressLook, IngressRates] = ingress_rates(store, resolution)

    async def answer(self, request: ApiRequest, target: Target) -> ApiResponse:
        """Answer one request. Raises StatusError."""
        if request.method not in ("GET", "HEAD"):
            raise method_not_allowed(None, request.method)
        try:
            if target.group == served.RESOURCE_METRICS:
                return await self._of_resources(request, target)
            return await self._of_custom(request, target)
        except FairleadError as error:
            raise StatusError(503, "ServiceUnavailable", str(error)) from error

    # metrics.k8s.io

    async def _of_resources(self, request: ApiRequest, target: Target) -> ApiResponse:
        kinds = {"pods": served.POD_METRICS, "nodes": served.NODE_METRICS}
        kind = kinds.get(target.plural)
        if kind is None or target.version != "v1beta1" or target.subresource:
            raise no_such_path()
        query = dict(request.query)
        rates = await self._pods.get()
        make = self._pod_documents if kind is served.POD_METRICS else self._node_documents
        if target.name:
            found = next(iter(make(rates, target.namespace, _named(target.name))), None)
            if found is None:
                raise not_found(kind.resource, target.name)
            return _shown(kind, request, [found], one=True)
        return _shown(kind, request, make(rates, target.namespace, _selection(query)), one=False)

    def _pod_documents(self, rates: Rates, namespace: str, wanted: Callable[[Stored], bool]) -> list[Document]:
        known = {(each.namespace, each.name): each for each in rates.pods}
        return [
            pod_metrics(known[stored.key], rates, stored.labels)
            for stored in self._store.items(_PODS, namespace)
            if stored.key in known and wanted(stored)
        ]

    def _node_documents(self, rates: Rates, namespace: str, wanted: Callable[[Stored], bool]) -> list[Document]:
        del namespace
        return [
            node_metrics(stored.key[1], rates.pods, rates, stored.labels)
            for stored in self._store.items(_NODES)
            if wanted(stored)
        ]

    # custom.metrics.k8s.io

    async def _of_custom(self, request: ApiRequest, target: Target) -> ApiResponse:
        metric, plural = target.subresource, target.plural
        if target.version not in served.CUSTOM_VERSIONS or not target.namespace or not metric or target.rest:
            raise no_such_path()
        if metric not in served.METRICS.get(plural, ()):
            raise _no_metric(metric, plural, target.name)
        query = dict(request.query)
        kind, api_version, resource = _KINDS[plural]
        wanted = _selection(query) if target.name == "*" else _named(target.name)
        found = [stored for stored in self._store.items(resource, target.namespace) if wanted(stored)]
        if not found and target.name != "*":
            raise _no_metric(metric, plural, target.name)
        values: list[Described] = []
        at, window, value_of = await self._values(plural, metric)
        for stored in found:
            value = value_of(stored)
            if value is not None:
                values.append(
                    Described(
                        kind=kind,
                        api_version=api_version,
                        namespace=stored.key[0],
                        name=stored.key[1],
                        value=value,
                    )
                )
        if not values and target.name != "*":
            raise _no_metric(metric, plural, target.name)
        asked = _selector_document(query.get("metricLabelSelector", ""))
        return _json(metric_values(target.version, metric, values, at=at, window=window, selector=asked))

    async def _values(self, plural: str, metric: str) -> tuple[float, float, Callable[[Stored], float | None]]:
        """When was measured, over how long, and what gives the value of an object."""
        if plural == "ingresses.networking.k8s.io":
            seen = await self._ingresses.get()
            return seen.at, seen.window, lambda stored: seen.requests.get(stored.key, 0.0)
        rates = await self._pods.get()
        known = {(each.namespace, each.name): each for each in rates.pods}
        read = _OF_POD[metric]
        if plural == "pods":
            return rates.at, rates.window, lambda stored: read(known[stored.key]) if stored.key in known else None
        return rates.at, rates.window, lambda stored: self._of_service(stored, known, read)

    def _of_service(
        self, service: Stored, known: dict[tuple[str, str], PodRate], read: Callable[[PodRate], float | None]
    ) -> float | None:
        """The sum over the pods a Service selects; None for one without a selector, whose endpoints are not ours."""
        selector = mapping_at(service.document(), "spec", "selector")
        if not selector:
            return None
        pods = (
            known.get(stored.key)
            for stored in self._store.items(_PODS, service.key[0])
            if selector.items() <= stored.labels.items()
        )
        return sum(read(pod) or 0.0 for pod in pods if pod is not None)


def _named(name: str) -> Callable[[Stored], bool]:
    return lambda stored: stored.key[1] == name


def _selection(query: dict[str, str]) -> Callable[[Stored], bool]:
    labels = compile_labels(query.get("labelSelector", ""))
    fields = compile_fields(query.get("fieldSelector", ""), ())

    def matches(stored: Stored) -> bool:
        return (labels is None or labels(stored.labels)) and (fields is None or fields(stored.fields))

    return matches


def _selector_document(text: str) -> Document | None:
    if not text:
        return None
    pairs = (term.partition("=") for term in text.split(","))
    return {"matchLabels": {key: value.removeprefix("=") for key, _, value in pairs}}


def _no_metric(metric: str, plural: str, name: str) -> StatusError:
    """As custom-metrics-apiserver says it (pkg/provider/errors.go)."""
    told = f"the server could not find the metric {metric} for {plural}"
    return StatusError(404, "NotFound", told if name in ("", "*") else f"{told} {name}", {})


def _shown(kind: KindSpec, request: ApiRequest, documents: list[Document], *, one: bool) -> ApiResponse:
    headers = {name.lower(): value for name, value in request.headers.items()}
    acceptance = parse_accept(headers.get("accept", ""))
    if acceptance.form is Form.TABLE:
        return _json(table(kind, documents, metadata={}, include="Metadata", acceptance=acceptance, now=0.0))
    if one:
        return _json(documents[0])
    items: list[Json] = [*documents]
    listed: Document = {
        "kind": f"{kind.resource.kind}List",
        "apiVersion": kind.resource.api_version,
        "metadata": {},
        "items": items,
    }
    return _json(listed)


def _json(document: Document) -> ApiResponse:
    return ApiResponse(200, {"Content-Type": JSON, "Cache-Control": "no-cache, private"}, msgspec.json.encode(document))
