"""The end of a namespace: one being deleted comes in; its contents are deleted, pods before all else, then it is
let go.

Upstream's namespace controller in its ordered form (KEP-5080): pods first, so that none runs on without the
policies around it.
"""

import msgspec

from fairlead.cluster.controllers.loops import Loop
from fairlead.cluster.controllers.queue import WorkQueue
from fairlead.cluster.controllers.world import World
from fairlead.drivers.kubeapi import ApiError, ApiRequest, KubeClient
from fairlead.kube.core import Namespace, Pod
from fairlead.kube.documents import Document, items_at, mapping_at, text_at
from fairlead.kube.resources import Resource, resource_of

FINALIZER = "kubernetes"
LOOK_AGAIN = 1.0
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class NamespaceLoop:
    """Empties and removes namespaces that are being deleted."""

    def __init__(self, world: World, client: KubeClient) -> None:
        self._world = world
        self._client = client
        self.loop = Loop("namespace", WorkQueue[str](), self.reconcile)
        world.namespaces.listen(self._on_namespace)
        world.pods.listen(self._on_pod)

    def _on_namespace(self, old: Namespace | None, new: Namespace | None) -> None:
        if new is not None and new.metadata.deletion_timestamp is not None:
            self.loop.queue.add(new.metadata.name)

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        if new is None and old is not None:
            namespace = self._world.namespaces.get("", old.metadata.namespace)
            if namespace is not None and namespace.metadata.deletion_timestamp is not None:
                self.loop.queue.add(namespace.metadata.name)

    async def reconcile(self, name: str) -> float | None:
        """Take one namespace a step further."""
        namespace = self._world.namespaces.get("", name)
        if namespace is None or namespace.metadata.deletion_timestamp is None:
            return None
        pods = resource_of(Pod)
        others = [each for each in await self._served() if each != pods]
        for resources in ((pods,), others):
            left = [await self._empty(resource, name) for resource in resources]
            if any(left):
                return LOOK_AGAIN
        await self._finalize(name)
        return None

    async def _served(self) -> list[Resource]:
        """Ask the server which kinds lie in namespaces: those that users define are among them."""
        found: list[Resource] = []
        for path in ("/api", "/apis"):
            answer = await self._client.request(ApiRequest("GET", path, (), {"Accept": _DISCOVERY}))
            for group in items_at(msgspec.json.decode(answer.body), "items"):
                preferred = next(iter(items_at(group, "versions")), None)
                name, version = text_at(group, "metadata", "name"), text_at(preferred, "version")
                for each in items_at(preferred, "resources"):
                    if text_at(each, "scope") == "Namespaced" and "deletecollection" in items_at(each, "verbs"):
                        kind = text_at(each, "responseKind", "kind")
                        found.append(Resource(name, version, kind, text_at(each, "resource"), True))
        return found

    async def _empty(self, resource: Resource, namespace: str) -> bool:
        """Delete all objects of a kind; return whether any is still there, such as a pod that ends gracefully."""
        path = resource.path(namespace)
        if not await self._any(path):
            return False
        options: Document = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        body = msgspec.json.encode(options)
        await self._client.request(ApiRequest("DELETE", path, (), {"Content-Type": "application/json"}, body))
        return await self._any(path)

    async def _any(self, path: str) -> bool:
        try:
            response = await self._client.request(ApiRequest("GET", path, (("limit", "1"),)))
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return bool(items_at(msgspec.json.decode(response.body), "items"))

    async def _finalize(self, name: str) -> None:
        resource = resource_of(Namespace)
        try:
            document = await self._client.get_document(resource, name)
            spec = mapping_at(document, "spec")
            left = [each for each in items_at(spec, "finalizers") if each != FINALIZER]
            changed: Document = {**document, "spec": {**spec, "finalizers": left}}
            await self._client.update_document(resource, changed, subresource="finalize")
        except ApiError as error:
            if error.status != 404:
                raise
