"""A client of a Kubernetes API server, typed by the views of `kube`.

Comes in: kinds, names, documents. Goes out: views and documents, or ApiError. Refuses to know what objects mean.
Contract: reference of the Kubernetes API, and apimachinery's meta/v1 for options and Status.
"""

from collections.abc import AsyncGenerator, Callable
from enum import Enum
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from fairlead.drivers.kubeapi.reflector import Change, reflect, reflect_kept
from fairlead.drivers.kubeapi.transport import ApiError, ApiRequest, ApiResponse, Transport
from fairlead.drivers.kubeapi.views import decode_list, decode_view
from fairlead.kube.documents import Document, Json, as_document, mapping_at, number_at, text_at
from fairlead.kube.meta import KubeObject
from fairlead.kube.resources import Resource, resource_of

T = TypeVar("T", bound=KubeObject)
K = TypeVar("K")


class PatchType(Enum):
    """How a patch is to be read; the value is its media type."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"


class Listed(Struct, Generic[T], frozen=True):
    """The objects of a list and the revision at which they were so."""

    items: tuple[T, ...]
    resource_version: str


class KubeClient:
    """Reads and writes objects. Every method raises ApiError when the server refuses or does not answer."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    async def close(self) -> None:
        """Close the transport."""
        await self.transport.close()

    async def request(self, request: ApiRequest) -> ApiResponse:
        """Send `request` and return an answer below 400; others become ApiError."""
        response = await self.transport.send(request)
        if response.status >= 400:
            raise error_of(response.status, response.body)
        return response

    async def get(self, cls: type[T], name: str, namespace: str = "") -> T:
        """One object."""
        response = await self.request(ApiRequest("GET", resource_of(cls).path(namespace, name)))
        return decode_view(cls, response.body)

    async def get_or_none(self, cls: type[T], name: str, namespace: str = "") -> T | None:
        """One object, or None when there is none of that name."""
        try:
            return await self.get(cls, name, namespace)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def get_document(self, resource: Resource, name: str, namespace: str = "") -> Document:
        """One object with every field."""
        response = await self.request(ApiRequest("GET", resource.path(namespace, name)))
        return _document(response.body)

    async def list(self, cls: type[T], namespace: str = "", labels: str = "", fields: str = "") -> Listed[T]:
        """Every object of a kind, in one namespace or in all."""
        response = await self.request(ApiRequest("GET", resource_of(cls).path(namespace), selection(labels, fields)))
        items, version = decode_list(cls, response.body)
        return Listed(items, version)

    async def create(self, view: T, namespace: str = "") -> T:
        """Create an object from a view; apiVersion and kind are filled in."""
        resource = resource_of(type(view))
        document = _document(msgspec.json.encode(view))
        created = await self.create_document(resource, document, namespace or view.metadata.namespace)
        return msgspec.convert(created, type(view))

    async def create_document(self, resource: Resource, document: Document, namespace: str = "") -> Document:
        """Create an object and return it as stored."""
        body: Document = {**document, "apiVersion": resource.api_version, "kind": resource.kind}
        return await self._write("POST", resource.path(namespace), body)

    async def update_document(
        self, resource: Resource, document: Document, namespace: str = "", *, subresource: str = ""
    ) -> Document:
        """Replace an object, at the resourceVersion the document carries if it does."""
        name = text_at(document, "metadata", "name")
        return await self._write("PUT", resource.path(namespace, name, subresource), document)

    async def patch(
        self,
        cls: type[T],
        name: str,
        namespace: str,
        patch: Json,
        *,
        subresource: str = "",
        patch_type: PatchType = PatchType.MERGE,
    ) -> T:
        """Change part of an object and return it as stored."""
        resource = resource_of(cls)
        response = await self._patch(resource, name, namespace, patch, subresource, patch_type)
        return decode_view(cls, response.body)

    async def patch_document(
        self,
        resource: Resource,
        name: str,
        namespace: str,
        patch: Json,
        *,
        subresource: str = "",
        patch_type: PatchType = PatchType.MERGE,
    ) -> Document:
        """Change part of an object and return all of it."""
        return _document((await self._patch(resource, name, namespace, patch, subresource, patch_type)).body)

    async def delete(
        self,
        cls: type[KubeObject],
        name: str,
        namespace: str = "",
        *,
        grace_seconds: int | None = None,
        uid: str = "",
        propagation: str = "",
    ) -> None:
        """Delete an object; with `uid` only if it still is that one. `propagation`: Background, Foreground, Orphan."""
        options: Document = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if uid:
            options["preconditions"] = {"uid": uid}
        if propagation:
            options["propagationPolicy"] = propagation
        await self._send("DELETE", resource_of(cls).path(namespace, name), options)

    async def bind(self, pod_name: str, namespace: str, node: str) -> None:
        """Assign a pod to a node, as schedulers do."""
        body: Document = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod_name, "namespace": namespace},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self._send("POST", f"/api/v1/namespaces/{namespace}/pods/{pod_name}/binding", body)

    def reflect(
        self,
        cls: type[T],
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        told: Callable[[ApiError], None] | None = None,
    ) -> AsyncGenerator[Change[T], None]:
        """List, then watch, for ever: `Replaced` first and after every gap, then `Applied` and `Deleted`.

        Errors are waited out; `told` hears of each.
        """
        query = selection(labels, fields)
        if told is None:
            return reflect(self.transport, cls, namespace, query)
        return reflect(self.transport, cls, namespace, query, told=told)

    def reflect_kept(
        self,
        cls: type[T],
        keep: Callable[[T], K],
        *,
        labels: str = "",
        fields: str = "",
        told: Callable[[ApiError], None],
    ) -> AsyncGenerator[Change[K], None]:
        """As `reflect` in all namespaces, with what `keep` returns in place of each object."""
        return reflect_kept(self.transport, cls, keep, "", selection(labels, fields), told=told)

    async def _patch(
        self, resource: Resource, name: str, namespace: str, patch: Json, subresource: str, patch_type: PatchType
    ) -> ApiResponse:
        path = resource.path(namespace, name, subresource)
        headers = {"Content-Type": patch_type.value}
        return await self.request(ApiRequest("PATCH", path, (), headers, msgspec.json.encode(patch)))

    async def _write(self, method: str, path: str, document: Document) -> Document:
        return _document((await self._send(method, path, document)).body)

    async def _send(self, method: str, path: str, document: Document) -> ApiResponse:
        headers = {"Content-Type": "application/json"}
        return await self.request(ApiRequest(method, path, (), headers, msgspec.json.encode(document)))


def selection(labels: str, fields: str) -> tuple[tuple[str, str], ...]:
    """The query that restricts a list or watch by label and field selectors."""
    pairs = (("labelSelector", labels), ("fieldSelector", fields))
    return tuple(pair for pair in pairs if pair[1])


def error_of(status: int, body: bytes) -> ApiError:
    """The error in a Status object, or what can be said when the body is none."""
    try:
        document = _document(body)
    except msgspec.MsgspecError:
        return ApiError(status, "", f"the API server answered {status}: {body[:200].decode(errors='replace')}")
    code = number_at(document, "code") or status
    message = text_at(document, "message") or f"the API server answered {status}"
    return ApiError(code, text_at(document, "reason"), message, mapping_at(document, "details"))


def _document(body: bytes) -> Document:
    return as_document(msgspec.json.decode(body, type=dict[str, object]))
