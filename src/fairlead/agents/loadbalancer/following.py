"""What the load-balancer agent follows: Services that want an address, pools, advertisements, nodes, namespaces.

Comes in: changes. Goes out: objects by key, and to whoever listens the keys that changed. Refuses to know what any of
it means. A kind that the API server does not have, as without MetalLB's definitions, is one without objects.
"""

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from fairlead.agents.lines import log
from fairlead.compile.loadbalancers import FROM_POOL, PREFIX
from fairlead.drivers.kubeapi import ApiError, Applied, Change, Deleted, KubeClient, Replaced
from fairlead.kube.core import Namespace, Node, Service
from fairlead.kube.meta import KubeObject
from fairlead.kube.metallb import BGPAdvertisement, IPAddressPool, L2Advertisement
from fairlead.model.loadbalancers import ServiceKey

Key = TypeVar("Key", bound=Hashable)
T = TypeVar("T", bound=KubeObject)
K = TypeVar("K")

Heard = Callable[[frozenset[Key]], None]
"""Is told which keys changed; those that are not there any more are gone."""


class KeptService(Struct, frozen=True):
    """What is kept of a Service: nothing but its name where it neither wants nor has an address."""

    key: ServiceKey
    service: Service | None


def keep_service(service: Service) -> KeptService:
    """Keep a Service of type LoadBalancer, and one that was until just now."""
    meta = service.metadata
    wanted = service.spec.type == "LoadBalancer" or (PREFIX + FROM_POOL) in meta.annotations
    return KeptService(ServiceKey(meta.namespace, meta.name), service if wanted else None)


def _keep(view: T) -> T:
    return view


class Followed(Generic[Key, K]):
    """The objects of one kind as last heard of."""

    def __init__(self, key_of: Callable[[K], Key], holds: Callable[[K], bool] = lambda _: True) -> None:
        self.objects: dict[Key, K] = {}
        self.synced = asyncio.Event()
        self._key_of = key_of
        self._holds = holds
        self._listeners: list[Heard[Key]] = []

    def listen(self, heard: Heard[Key]) -> None:
        """Tell of every change from now on."""
        self._listeners.append(heard)

    def take(self, change: Change[K]) -> None:
        """Take a change in, and tell of it."""
        match change:
            case Replaced(items):
                present = {self._key_of(each): each for each in items if self._holds(each)}
                touched = frozenset(
                    key for key in self.objects.keys() | present.keys() if self.objects.get(key) != present.get(key)
                )
                self.objects = present
                self.synced.set()
            case Applied(kept):
                key = self._key_of(kept)
                if not self._holds(kept):
                    touched = frozenset((key,)) if self.objects.pop(key, None) is not None else frozenset[Key]()
                elif self.objects.get(key) == kept:
                    touched = frozenset[Key]()
                else:
                    self.objects[key] = kept
                    touched = frozenset((key,))
            case Deleted(kept):
                key = self._key_of(kept)
                touched = frozenset((key,)) if self.objects.pop(key, None) is not None else frozenset[Key]()
        if touched:
            for heard in self._listeners:
                heard(touched)

    def without(self) -> None:
        """Take note that the API server has no such kind."""
        self.take(Replaced(()))


class World:
    """Everything the agent follows; `namespace` is where MetalLB's resources are."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.services: Followed[ServiceKey, KeptService] = Followed(
            lambda kept: kept.key, lambda kept: kept.service is not None
        )
        self.pools: Followed[str, IPAddressPool] = Followed(lambda pool: pool.metadata.name, self._is_here)
        self.l2: Followed[str, L2Advertisement] = Followed(lambda each: each.metadata.name, self._is_here)
        self.bgp: Followed[str, BGPAdvertisement] = Followed(lambda each: each.metadata.name, self._is_here)
        self.nodes: Followed[str, Node] = Followed(lambda node: node.metadata.name)
        self.namespaces: Followed[str, Namespace] = Followed(lambda each: each.metadata.name)

    def _is_here(self, each: KubeObject) -> bool:
        return each.metadata.namespace == self.namespace

    def follow(self, client: KubeClient, tasks: asyncio.TaskGroup) -> None:
        """Start to follow everything."""
        tasks.create_task(follow_kind(client, Service, keep_service, self.services))
        tasks.create_task(follow_kind(client, IPAddressPool, _keep, self.pools))
        tasks.create_task(follow_kind(client, L2Advertisement, _keep, self.l2))
        tasks.create_task(follow_kind(client, BGPAdvertisement, _keep, self.bgp))
        tasks.create_task(follow_kind(client, Node, keep_node, self.nodes))
        tasks.create_task(follow_kind(client, Namespace, _keep, self.namespaces))

    async def wait_for_sync(self) -> None:
        """Wait until every kind was listed once."""
        for each in (self.services, self.pools, self.l2, self.bgp, self.nodes, self.namespaces):
            await each.synced.wait()


def keep_node(node: Node) -> Node:
    """A node without its heartbeats and versions, so that they change nothing."""
    conditions = tuple(
        replace(each, last_heartbeat_time=None) for each in node.status.conditions if each.type == "Ready"
    )
    return replace(
        node,
        metadata=replace(node.metadata, resource_version=""),
        status=replace(node.status, conditions=conditions, capacity={}, allocatable={}),
    )


async def follow_kind(client: KubeClient, cls: type[T], keep: Callable[[T], K], followed: Followed[Key, K]) -> None:
    def tell(error: ApiError) -> None:
        if error.status in (403, 404):
            if not followed.synced.is_set():
                log(event="absent", kind=cls.__name__, error=str(error))
            followed.without()
        else:
            log(event="waiting", kind=cls.__name__, error=str(error))

    async for change in client.reflect_kept(cls, keep, told=tell):
        followed.take(change)
