"""The ConfigMaps, Secrets and Services that pods refer to, kept up to date by watches.

Comes in: changes of the API. Goes out: objects by name, and a call for the namespace whose objects have changed.
"""

import base64
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from fairlead.drivers.kubeapi import Applied, Change, Deleted, KubeClient
from fairlead.kube.core import ConfigMap, Secret, Service
from fairlead.kube.meta import KubeObject

T = TypeVar("T", bound=KubeObject)
Key = tuple[str, str]


class References:
    """Objects by namespace and name."""

    def __init__(self, client: KubeClient, changed: Callable[[str], None]) -> None:
        self._client = client
        self._changed = changed
        self.config_maps: dict[Key, ConfigMap] = {}
        self.secrets: dict[Key, Secret] = {}
        self.services: dict[Key, Service] = {}

    async def follow_config_maps(self) -> None:
        """Watch for ever."""
        async for change in self._client.reflect(ConfigMap):
            self._take(self.config_maps, change)

    async def follow_secrets(self) -> None:
        """Watch for ever."""
        async for change in self._client.reflect(Secret):
            self._take(self.secrets, change)

    async def follow_services(self) -> None:
        """Watch for ever; environments are made at start, so nobody is told."""
        async for change in self._client.reflect(Service):
            apply_change(self.services, change)

    async def config_map(self, namespace: str, name: str) -> dict[str, bytes] | None:
        """The keys of a ConfigMap as bytes, or None if there is none. One not seen yet is asked for."""
        found = self.config_maps.get((namespace, name))
        if found is None:
            found = await self._client.get_or_none(ConfigMap, name, namespace)
            if found is None:
                return None
        data = {key: text.encode() for key, text in found.data.items()}
        return data | {key: base64.b64decode(text) for key, text in found.binary_data.items()}

    async def secret(self, namespace: str, name: str) -> dict[str, bytes] | None:
        """The keys of a Secret, decoded, or None if there is none."""
        found = self.secrets.get((namespace, name))
        if found is None:
            found = await self._client.get_or_none(Secret, name, namespace)
            if found is None:
                return None
        return {key: base64.b64decode(text) for key, text in found.data.items()}

    def _take(self, into: dict[Key, T], change: Change[T]) -> None:
        for namespace in apply_change(into, change):
            self._changed(namespace)


def apply_change(into: dict[Key, T], change: Change[T]) -> set[str]:
    """Follow one change; return the namespaces it is about."""
    if isinstance(change, Applied):
        meta = change.object.metadata
        into[(meta.namespace, meta.name)] = change.object
        return {meta.namespace}
    if isinstance(change, Deleted):
        meta = change.object.metadata
        with suppress(KeyError):
            del into[(meta.namespace, meta.name)]
        return {meta.namespace}
    into.clear()
    into.update({(item.metadata.namespace, item.metadata.name): item for item in change.items})
    return {item.metadata.namespace for item in change.items}
