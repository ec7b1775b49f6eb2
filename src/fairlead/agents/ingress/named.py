"""Secrets and ConfigMaps, read only when something names them.

The API server tells of metadata alone, in one watch; what an object holds is fetched once it is wanted, and again when
its version changes. Comes in: names that are wanted. Goes out: objects, or that there is none of the name.
"""

import asyncio
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar

from fairlead.agents.lines import log
from fairlead.drivers.kubeapi import ApiError, Applied, Deleted, KubeClient, MetadataTransport, Replaced
from fairlead.kube.meta import KubeObject

T = TypeVar("T", bound=KubeObject)
Key = tuple[str, str]

_AT_ONCE, _AGAIN_SECONDS = 8, 1.0


class NamedObjects(Generic[T]):
    """The wanted objects of one kind. `put` and `drop` are told of them, then `news` is called."""

    def __init__(
        self,
        client: KubeClient,
        cls: type[T],
        put: Callable[[T], None],
        drop: Callable[[Key], None],
        news: Callable[[], None],
    ) -> None:
        self._client = client
        self._outlines = KubeClient(MetadataTransport(client.transport))
        self._cls = cls
        self._put = put
        self._drop = drop
        self._news = news
        self._wanted: frozenset[Key] = frozenset()
        self._versions: dict[Key, str] = {}
        self._read: dict[Key, str] = {}
        self._due: set[Key] = set()
        self._under_way: set[Key] = set()
        self._some = asyncio.Event()
        self.synced = False

    @property
    def settled(self) -> bool:
        """Whether everything that is wanted was read, or is known to be absent."""
        return self.synced and not self._due

    def want(self, keys: AbstractSet[Key]) -> None:
        """Set which objects are wanted; the others are forgotten."""
        wanted = frozenset(keys)
        if wanted == self._wanted:
            return
        for key in self._wanted - wanted:
            self._due.discard(key)
            if self._read.pop(key, None) is not None:
                self._drop(key)
        self._wanted = wanted
        for key in wanted:
            self._check(key)

    async def run(self) -> None:
        """Follow and fetch for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            for _ in range(_AT_ONCE):
                tasks.create_task(self._fetch())

    async def _follow(self) -> None:
        def told(error: ApiError) -> None:
            log(event="waiting", what=self._cls.__name__, error=str(error))

        async for change in self._outlines.reflect_kept(self._cls, _version_of, told=told):
            match change:
                case Replaced(items):
                    self._versions = dict(items)
                    self.synced = True
                    for key in self._wanted | self._read.keys():
                        self._check(key)
                case Applied((key, version)):
                    self._versions[key] = version
                    self._check(key)
                case Deleted((key, _)):
                    self._versions.pop(key, None)
                    self._check(key)
            self._news()

    def _check(self, key: Key) -> None:
        version = self._versions.get(key)
        if key not in self._wanted or not self.synced or version == self._read.get(key):
            return
        if version is None:
            self._due.discard(key)
            if self._read.pop(key, None) is not None:
                self._drop(key)
        else:
            self._due.add(key)
            self._some.set()

    async def _fetch(self) -> None:
        under_way = self._under_way
        while True:
            await self._some.wait()
            key = next((each for each in self._due if each not in under_way), None)
            if key is None:
                self._some.clear()
                continue
            under_way.add(key)
            try:
                await self._fetch_one(key)
            except ApiError as error:
                log(event="unread", what=self._cls.__name__, object="/".join(key), error=str(error))
                await asyncio.sleep(_AGAIN_SECONDS)
                self._some.set()
            finally:
                under_way.discard(key)

    async def _fetch_one(self, key: Key) -> None:
        namespace, name = key
        found = await self._client.get_or_none(self._cls, name, namespace)
        if key not in self._wanted:
            return
        self._due.discard(key)
        if found is None:
            if self._read.pop(key, None) is not None:
                self._drop(key)
        else:
            self._read[key] = self._versions[key] = found.metadata.resource_version
            self._put(found)
        self._news()


def _version_of(view: KubeObject) -> tuple[Key, str]:
    return (view.metadata.namespace, view.metadata.name), view.metadata.resource_version
