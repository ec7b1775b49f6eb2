"""What the controller follows at the API server, and how each change reaches the routes.

Comes in: a client. Goes out: calls of `Routes`, and news. Nothing is built before everything was listed once.
"""

import asyncio
from collections.abc import AsyncIterable, Callable
from typing import Any, TypeVar

from fairlead.agents.ingress.named import NamedObjects
from fairlead.agents.lines import log
from fairlead.compile.route_options import Key
from fairlead.compile.routes import Routes
from fairlead.drivers.kubeapi import ApiError, Applied, Change, Deleted, KubeClient, Replaced
from fairlead.kube.core import ConfigMap, Secret, Service
from fairlead.kube.discovery import EndpointSliceOutline
from fairlead.kube.meta import KubeObject
from fairlead.kube.networking import Ingress, IngressClass
from fairlead.model import Origin

T = TypeVar("T", bound=KubeObject)


class IngressObjects:
    """Follows everything. `changed` hears of Ingresses that changed, `news` is called after each change."""

    def __init__(
        self,
        client: KubeClient,
        routes: Routes,
        config_map: Key,
        changed: Callable[[Key], None],
        news: Callable[[], None],
    ) -> None:
        self._client = client
        self._routes = routes
        self._config_map = config_map
        self._changed = changed
        self._news = news
        self._synced: set[str] = set()
        self.ingresses: dict[Key, Ingress] = {}
        self.services: dict[Key, Service] = {}
        self.secrets = NamedObjects(client, Secret, routes.set_secret, routes.delete_secret, news)
        self.config_maps = NamedObjects(client, ConfigMap, self._set_config_map, self._delete_config_map, news)

    @property
    def synced(self) -> bool:
        """Whether everything was listed, and everything named was read."""
        return len(self._synced) == 4 and self.secrets.settled and self.config_maps.settled

    def uid_of(self, about: Origin) -> str:
        """The uid of an Ingress that we know, or nothing."""
        found = self.ingresses.get((about.namespace, about.name)) if about.kind == "Ingress" else None
        return found.metadata.uid if found is not None else ""

    async def run(self) -> None:
        """Follow for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.secrets.run())
            tasks.create_task(self.config_maps.run())
            for cls, keyed, put, drop in (
                (Ingress, self.ingresses, self._set_ingress, self._delete_ingress),
                (Service, self.services, self._routes.set_service, self._routes.delete_service),
                (IngressClass, {}, self._routes.set_class, self._delete_class),
                (EndpointSliceOutline, {}, self._routes.set_slice, self._routes.delete_slice),
            ):
                tasks.create_task(self._follow(cls, keyed, put, drop))

    async def _follow(
        self, cls: type[Any], known: dict[Key, Any], put: Callable[[Any], None], drop: Callable[[Key], None]
    ) -> None:
        def told(error: ApiError) -> None:
            log(event="waiting", what=cls.__name__, error=str(error))

        changes: AsyncIterable[Change[Any]] = self._client.reflect(cls, told=told)
        async for change in changes:
            match change:
                case Replaced(items):
                    fresh = {_key(item): item for item in items}
                    for key in known.keys() - fresh.keys():
                        del known[key]
                        drop(key)
                    for key, item in fresh.items():
                        if known.get(key) != item:
                            known[key] = item
                            put(item)
                    self._synced.add(cls.__name__)
                case Applied(item):
                    known[_key(item)] = item
                    put(item)
                case Deleted(item):
                    known.pop(_key(item), None)
                    drop(_key(item))
            self._news()

    def _set_ingress(self, ingress: Ingress) -> None:
        key = _key(ingress)
        self._changed(key)
        self._routes.set_ingress(ingress)

    def _delete_ingress(self, key: Key) -> None:
        self._changed(key)
        self._routes.delete_ingress(key)

    def _delete_class(self, key: Key) -> None:
        self._routes.delete_class(key[1])

    def _set_config_map(self, found: ConfigMap) -> None:
        if _key(found) == self._config_map:
            self._routes.set_settings(found.data, Origin("ConfigMap", *self._config_map))
        self._routes.set_config_map(found)

    def _delete_config_map(self, key: Key) -> None:
        if key == self._config_map:
            self._routes.set_settings({}, Origin("ConfigMap", *self._config_map))
        self._routes.delete_config_map(key)


def _key(item: KubeObject) -> Key:
    return item.metadata.namespace, item.metadata.name
