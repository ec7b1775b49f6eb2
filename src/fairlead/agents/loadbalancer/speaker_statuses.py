"""MetalLB's status objects, as one speaker writes them: what it announces comes in, objects of the API go out.

ServiceL2Status says which node answers for a Service, ServiceBGPStatus to which peers a node announces it, and
ConfigurationState what a speaker thinks of the configuration. Source: MetalLB 0.16's api/v1beta1.
"""

import asyncio
from collections.abc import Callable, Mapping
from hashlib import sha256

from fairlead.agents.events import format_time
from fairlead.agents.lines import log
from fairlead.drivers.kubeapi import ApiError, KubeClient
from fairlead.kube.documents import Document
from fairlead.kube.metallb import ConfigurationState, ServiceBGPStatus, ServiceL2Status
from fairlead.kube.resources import resource_of
from fairlead.model.loadbalancers import ServiceKey

StatusKind = type[ServiceL2Status] | type[ServiceBGPStatus] | type[ConfigurationState]


class Statuses:
    """What one speaker has to say, written one after the other."""

    def __init__(self, client: KubeClient, node: str, namespace: str, clock: Callable[[], float]) -> None:
        self._client, self._node, self._namespace, self._clock = client, node, namespace, clock
        self._to_write: asyncio.Queue[tuple[StatusKind, str, Document, Document | None]] = asyncio.Queue()
        self._peers: Mapping[ServiceKey, tuple[str, ...]] = {}
        self._wrong: str | None = None

    def show_link(self, key: ServiceKey, interfaces: tuple[str, ...] | None) -> None:
        """Say that this node answers for a Service on interfaces, none for all; None: that nobody does."""
        status: Document = {**self._service(key), "interfaces": [{"name": each} for each in interfaces or ()]}
        self._put(ServiceL2Status, f"l2-{_digest(str(key))}", status if interfaces is not None else None)

    def show_routes(self, peers: Mapping[ServiceKey, tuple[str, ...]]) -> None:
        """Say to which peers this node announces each Service."""
        for key in {*peers, *self._peers}:
            if peers.get(key) != self._peers.get(key):
                found = peers.get(key)
                status: Document = {**self._service(key), "peers": list(found or ())}
                name = f"bgp-{_digest(f'{key} {self._node}')}"
                self._put(ServiceBGPStatus, name, status if found is not None else None)
        self._peers = dict(peers)

    def show_configuration(self, wrong: str) -> None:
        """Say what is wrong with the configuration, nothing where all of it is carried out."""
        if wrong == self._wrong:
            return
        self._wrong = wrong
        condition: Document = {
            "type": "configReconcilerValid",
            "status": "False" if wrong else "True",
            "reason": "ConfigError" if wrong else "SyncStateSuccess",
            "message": wrong,
            "lastTransitionTime": format_time(self._clock()),
        }
        status: Document = {"validConfig": not wrong, "lastError": wrong, "conditions": [condition]}
        spec: Document = {"type": "Speaker", "nodeName": self._node}
        self._to_write.put_nowait((ConfigurationState, f"speaker-{self._node}", spec, status))

    async def run(self) -> None:
        """Write for ever. What the API server refuses is said in the log, and given up."""
        while True:
            kind, name, spec, status = await self._to_write.get()
            try:
                await self._write(kind, name, spec, status)
            except ApiError as error:
                log(event="unwritten", status=name, error=str(error))

    async def _write(self, kind: StatusKind, name: str, spec: Document, status: Document | None) -> None:
        resource, namespace = resource_of(kind), self._namespace
        try:
            if status is None:
                await self._client.delete(kind, name, namespace)
            else:
                await self._client.create_document(resource, {"metadata": {"name": name}, "spec": spec}, namespace)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
        if status is not None:
            await self._client.patch_document(resource, name, namespace, {"status": status}, subresource="status")

    def _service(self, key: ServiceKey) -> Document:
        return {"node": self._node, "serviceName": key.name, "serviceNamespace": key.namespace}

    def _put(self, kind: StatusKind, name: str, status: Document | None) -> None:
        self._to_write.put_nowait((kind, name, {}, status))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:12]
