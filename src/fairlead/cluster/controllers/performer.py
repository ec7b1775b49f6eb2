"""Carries out actions on the API server, and shows what came of them to the stores at once.

Comes in: actions in the order they are to happen. Goes out: requests, and their answers into the stores. Decides
nothing; a refusal ends the round as ApiError, so that its key is tried again.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar, assert_never

import msgspec

from fairlead.cluster.controllers.actions import Action, Again, Bind, Create, Delete, Patch, Tell
from fairlead.cluster.controllers.informers import Store
from fairlead.cluster.controllers.timestamps import format_time
from fairlead.drivers.kubeapi import ApiError, KubeClient
from fairlead.kube.documents import text_at
from fairlead.kube.meta import KubeObject
from fairlead.kube.resources import resource_of

T = TypeVar("T", bound=KubeObject)

FIRST_BATCH = 1
CONFLICTS = (404, 409)


class Performer:
    """Writes for all controllers; `tell` takes what is to be said to people, `clock` gives seconds since the epoch."""

    def __init__(self, client: KubeClient, clock: Callable[[], float], tell: Callable[[Tell], None]) -> None:
        self._client = client
        self._clock = clock
        self.tell = tell
        self._stores: dict[type[KubeObject], Callable[[KubeObject], None]] = {}
        self._presumers: dict[type[KubeObject], Callable[[str, str], None]] = {}

    def show(self, kind: type[T], store: Store[T]) -> None:
        """Show what is written of a kind to `store`."""

        def apply(item: KubeObject) -> None:
            if isinstance(item, kind):
                store.apply(item)

        self._stores[kind] = apply
        self._presumers[kind] = store.presume_deleting

    async def perform(self, actions: Iterable[Action]) -> float | None:
        """Carry out actions in order; return in how many seconds to look again, or None."""
        again: float | None = None
        for action in actions:
            match action:
                case Create():
                    await self.create(action)
                case Patch():
                    await self.patch(action)
                case Delete():
                    await self.delete(action)
                case Bind():
                    await self._client.bind(action.name, action.namespace, action.node)
                case Tell():
                    self.tell(action)
                case Again(seconds=seconds):
                    again = seconds if again is None else min(again, seconds)
                case _:
                    assert_never(action)
        return again

    async def create(self, action: Create) -> KubeObject:
        """Create one object and return it as stored."""
        namespace = text_at(action.document, "metadata", "namespace")
        document = await self._client.create_document(resource_of(action.kind), action.document, namespace)
        item = msgspec.convert(document, action.kind)
        self._shown(item)
        return item

    async def create_all(self, actions: Sequence[Create], created: Callable[[KubeObject], None]) -> None:
        """Create many alike: one, then two, four, eight side by side, so that a refusal costs few requests."""
        done, batch = 0, FIRST_BATCH
        while done < len(actions):
            part = actions[done : done + batch]
            answers = await asyncio.gather(*(self.create(each) for each in part), return_exceptions=True)
            for answer in answers:
                if isinstance(answer, KubeObject):
                    created(answer)
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
            done += len(part)
            batch *= 2

    async def patch(self, action: Patch) -> KubeObject | None:
        """Patch one object and return it as stored; None when it is gone."""
        try:
            item = await self._client.patch(
                action.kind,
                action.name,
                action.namespace,
                action.patch,
                subresource=action.subresource,
                patch_type=action.patch_type,
            )
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        self._shown(item)
        return item

    async def delete(self, action: Delete) -> None:
        """Delete one object, if it still is the one meant."""
        try:
            await self._client.delete(
                action.kind,
                action.name,
                action.namespace,
                grace_seconds=action.grace_seconds,
                uid=action.uid,
                propagation=action.propagation,
            )
        except ApiError as error:
            if error.status not in CONFLICTS:
                raise
            return
        presume = self._presumers.get(action.kind)
        if presume is not None:
            presume(action.uid, format_time(self._clock()))

    async def delete_all(self, actions: Sequence[Delete]) -> None:
        """Delete many side by side."""
        answers = await asyncio.gather(*(self.delete(each) for each in actions), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    def _shown(self, item: KubeObject) -> None:
        show = self._stores.get(type(item))
        if show is not None:
            show(item)
