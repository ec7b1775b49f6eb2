"""Readings of metrics by way of the API: what is asked comes in, values by pod or of an object go out.

Reads metrics.k8s.io and custom.metrics.k8s.io as any autoscaler does. A metric that cannot be had is a MetricError with
upstream's words (pkg/controller/podautoscaler/metrics/client.go). Values are in thousandths, as upstream counts.
"""

from decimal import Decimal

import msgspec

from fairlead.cluster.controllers.autoscaling_counts import MetricError, Reading
from fairlead.cluster.controllers.timestamps import parse_time
from fairlead.drivers.kubeapi import ApiError, KubeClient
from fairlead.drivers.kubeapi.transport import ApiRequest
from fairlead.kube.autoscaling import CrossVersionObjectReference
from fairlead.kube.documents import Document, Json, as_document, items_at, number_at, text_at
from fairlead.kube.quantities import parse_quantity

_CUSTOM = "/apis/custom.metrics.k8s.io/v1beta2"
_PLURALS = {"Pod": "pods", "Service": "services", "Ingress": "ingresses.networking.k8s.io"}


async def read_resource(
    client: KubeClient, namespace: str, selector: str, resource: str, container: str = ""
) -> dict[str, Reading]:
    """Return what each pod uses of a resource, or one container of it. A pod without a value is left out."""
    path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods"
    try:
        items = items_at(await _ask(client, path, selector), "items")
    except ApiError as error:
        raise MetricError(
            f"unable to get metrics for resource {resource}: unable to fetch metrics from resource metrics API: "
            f"{error.message}"
        ) from error
    if not items:
        raise MetricError(
            f"unable to get metrics for resource {resource}: no metrics returned from resource metrics API"
        )
    found: dict[str, Reading] = {}
    for pod in items:
        used = _used(items_at(pod, "containers"), resource, container)
        if used is not None:
            window = float(text_at(pod, "window").removesuffix("s") or "0")
            at = parse_time(text_at(pod, "timestamp")) or 0.0
            found[text_at(pod, "metadata", "name")] = Reading(value=used * 1000, at=at, window=window)
    if container and not found:
        raise MetricError(
            f"failed to get container metrics: container {container} not present in metrics for pod "
            f"{namespace}/{text_at(items[0], 'metadata', 'name')}"
        )
    return found


def _used(containers: list[Json], resource: str, container: str) -> Decimal | None:
    if container:
        containers = [each for each in containers if text_at(each, "name") == container]
    texts = [text_at(each, "usage", resource) for each in containers]
    if not texts or not all(texts):
        return None
    return sum((parse_quantity(text) for text in texts), Decimal(0))


async def read_pods(client: KubeClient, namespace: str, selector: str, metric: str) -> dict[str, Reading]:
    """Return a custom metric of each pod."""
    path = f"{_CUSTOM}/namespaces/{namespace}/pods/*/{metric}"
    try:
        items = items_at(await _ask(client, path, selector), "items")
    except ApiError as error:
        raise MetricError(
            f"unable to get metric {metric}: unable to fetch metrics from custom metrics API: {error.message}"
        ) from error
    if not items:
        raise MetricError(f"unable to get metric {metric}: no metrics returned from custom metrics API")
    return {
        text_at(each, "describedObject", "name"): Reading(
            value=parse_quantity(text_at(each, "value")) * 1000,
            at=parse_time(text_at(each, "timestamp")) or 0.0,
            window=float(number_at(each, "windowSeconds") or 0),
        )
        for each in items
    }


async def read_object(
    client: KubeClient, namespace: str, described: CrossVersionObjectReference, metric: str
) -> Decimal:
    """Return a custom metric of one object."""
    named = f"{described.kind} {namespace}/{described.name}"
    plural = _PLURALS.get(described.kind)
    if plural is None:
        raise MetricError(
            f"unable to get metric {metric}: {named}: there are metrics of pods, Services and Ingresses here"
        )
    path = f"{_CUSTOM}/namespaces/{namespace}/{plural}/{described.name}/{metric}"
    try:
        items = items_at(await _ask(client, path, ""), "items")
    except ApiError as error:
        raise MetricError(
            f"unable to get metric {metric}: {named}: unable to fetch metrics from custom metrics API: {error.message}"
        ) from error
    return parse_quantity(text_at(items[0], "value")) * 1000


async def _ask(client: KubeClient, path: str, selector: str) -> Document:
    query = (("labelSelector", selector),) if selector else ()
    response = await client.request(ApiRequest("GET", path, query))
    return as_document(msgspec.json.decode(response.body, type=dict[str, object]))
