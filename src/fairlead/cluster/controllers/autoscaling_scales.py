"""The Scale of whatever an autoscaler names: a reference comes in, replicas and a selector go out.

Finds the resource of a kind by discovery, so that custom resources with a scale subresource work like workloads.
"""

import msgspec
from msgspec import Struct

from fairlead.drivers.kubeapi import ApiError, KubeClient, PatchType
from fairlead.drivers.kubeapi.transport import ApiRequest
from fairlead.kube.autoscaling import CrossVersionObjectReference
from fairlead.kube.documents import Document, as_document, items_at, number_at, text_at
from fairlead.kube.resources import Resource


class Scale(Struct, frozen=True, kw_only=True):
    """Replicas as asked and as there are, and the selector of the pods, empty where there is none."""

    resource: Resource
    name: str
    replicas: int
    present: int
    selector: str


class Scales:
    """Reads and writes Scales, and remembers where kinds live."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._resources: dict[tuple[str, str], Resource] = {}

    async def get(self, namespace: str, reference: CrossVersionObjectReference) -> Scale:
        """Return the Scale of what a reference names. Raises ApiError."""
        resource = await self._find(reference)
        response = await self._client.request(ApiRequest("GET", resource.path(namespace, reference.name, "scale")))
        return _scale(resource, _decoded(response.body))

    async def set(self, namespace: str, scale: Scale, replicas: int) -> None:
        """Ask for so many replicas. Raises ApiError."""
        await self._client.patch_document(
            scale.resource,
            scale.name,
            namespace,
            {"spec": {"replicas": replicas}},
            subresource="scale",
            patch_type=PatchType.MERGE,
        )

    async def _find(self, reference: CrossVersionObjectReference) -> Resource:
        key = (reference.api_version, reference.kind)
        known = self._resources.get(key)
        if known is not None:
            return known
        group, _, version = reference.api_version.rpartition("/")
        path = f"/apis/{reference.api_version}" if group else f"/api/{version or 'v1'}"
        response = await self._client.request(ApiRequest("GET", path))
        resources = items_at(_decoded(response.body), "resources")
        scaled = {
            text_at(each, "name").removesuffix("/scale") for each in resources if _is_scale(text_at(each, "name"))
        }
        for each in resources:
            plural = text_at(each, "name")
            if text_at(each, "kind") == reference.kind and plural in scaled:
                namespaced = isinstance(each, dict) and each.get("namespaced") is True
                found = self._resources[key] = Resource(group, version or "v1", reference.kind, plural, namespaced)
                return found
        named = f'{reference.kind} in version "{reference.api_version}"'
        raise ApiError(404, "NotFound", f"no matches for kind {named} that has a scale subresource")


def _is_scale(name: str) -> bool:
    return name.endswith("/scale")


def _scale(resource: Resource, document: Document) -> Scale:
    return Scale(
        resource=resource,
        name=text_at(document, "metadata", "name"),
        replicas=number_at(document, "spec", "replicas") or 0,
        present=number_at(document, "status", "replicas") or 0,
        selector=text_at(document, "status", "selector"),
    )


def _decoded(body: bytes) -> Document:
    return as_document(msgspec.json.decode(body, type=dict[str, object]))
