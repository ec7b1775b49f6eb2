"""Events for people: what controllers tell comes in, Events written or counted up go out, within upstream's limits.

The rules of client-go's tools/record/events_cache.go: the same words again count up one Event; more than ten
different messages of one reason about an object in ten minutes become one combined Event; an object may have 25 at
once, then one in five minutes. Telling never holds a controller up: a queue of its own is written when there is
time, and what does not fit is dropped.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Struct

from fairlead.cluster.controllers.actions import Tell
from fairlead.cluster.controllers.timestamps import format_time
from fairlead.drivers.kubeapi import ApiError, KubeClient
from fairlead.kube.core import Event
from fairlead.kube.documents import Document, text_at
from fairlead.kube.resources import resource_of

SIMILAR_LIMIT, SIMILAR_SECONDS = 10, 600.0
BURST, REFILL_SECONDS = 25.0, 300.0
WAITING = 5000
REMEMBERED = 4096


K = TypeVar("K")
V = TypeVar("V")


class _Written(Struct):
    namespace: str
    name: str
    first: str
    count: int


class _Similar(Struct):
    messages: set[str]
    since: float


class _Allowance(Struct):
    tokens: float
    at: float


class Correlation(Struct, frozen=True, kw_only=True):
    """What to write for something told: a new Event, or the count of one already written."""

    key: tuple[str, ...]
    message: str
    document: Document
    name: str = ""
    namespace: str = ""


class Correlator:
    """Decides what is written for each thing told. A machine: the time comes in with each call."""

    def __init__(self) -> None:
        self._written: dict[tuple[str, ...], _Written] = {}
        self._similar: dict[tuple[str, ...], _Similar] = {}
        self._allowances: dict[tuple[str, str], _Allowance] = {}

    def correlate(self, told: Tell, now: float) -> Correlation | None:
        """The write for `told`, or None when its object has had its share."""
        if not self._allow(told, now):
            return None
        message = self._combine(told, now)
        about = told.about
        key = (about.uid, about.name, told.component, told.reason, message, str(told.warning))
        written = self._written.get(key)
        time = format_time(now)
        if written is not None:
            patch: Document = {"count": written.count + 1, "lastTimestamp": time}
            written.count += 1
            return Correlation(key=key, message=message, document=patch, name=written.name, namespace=written.namespace)
        namespace = about.namespace or "default"
        name = f"{about.name}.{int(now * 1e9) + len(self._written):x}"
        _remember(self._written, key, _Written(namespace, name, time, 1))
        return Correlation(key=key, message=message, document=_event(told, message, namespace, name, time))

    def forget(self, correlation: Correlation) -> None:
        """The Event meant is gone; the next of its kind is a new one."""
        self._written.pop(correlation.key, None)

    def _allow(self, told: Tell, now: float) -> bool:
        key = (told.component, told.about.uid or told.about.name)
        allowance = self._allowances.get(key)
        if allowance is None:
            _remember(self._allowances, key, _Allowance(BURST - 1, now))
            return True
        allowance.tokens = min(BURST, allowance.tokens + (now - allowance.at) / REFILL_SECONDS)
        allowance.at = now
        if allowance.tokens < 1:
            return False
        allowance.tokens -= 1
        return True

    def _combine(self, told: Tell, now: float) -> str:
        key = (told.component, told.about.uid, told.reason, str(told.warning))
        similar = self._similar.get(key)
        if similar is None or now - similar.since > SIMILAR_SECONDS:
            similar = _Similar(set(), now)
            _remember(self._similar, key, similar)
        similar.since = now
        similar.messages.add(told.message)
        if len(similar.messages) < SIMILAR_LIMIT:
            return told.message
        similar.messages.pop()
        return f"(combined from similar events): {told.message}"


def _remember(memory: dict[K, V], key: K, value: V) -> None:
    """Keep a value, and let go of the oldest beyond the limit."""
    memory[key] = value
    while len(memory) > REMEMBERED:
        del memory[next(iter(memory))]


def _event(told: Tell, message: str, namespace: str, name: str, time: str) -> Document:
    about = told.about
    involved: Document = {
        "apiVersion": about.api_version,
        "kind": about.kind,
        "namespace": about.namespace,
        "name": about.name,
        "uid": about.uid,
        "resourceVersion": about.resource_version,
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {key: value for key, value in involved.items() if value},
        "reason": told.reason,
        "message": message[:1024],
        "source": {"component": told.component},
        "reportingComponent": told.component,
        "reportingInstance": "",
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
        "type": "Warning" if told.warning else "Normal",
    }


class EventRecorder:
    """Takes what is told at once, writes it by and by."""

    def __init__(self, client: KubeClient, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._correlator = Correlator()
        self._waiting: asyncio.Queue[Tell] = asyncio.Queue(WAITING)

    def tell(self, told: Tell) -> None:
        """Queue something to say; when too much waits already, it is not said."""
        if not self._waiting.full():
            self._waiting.put_nowait(told)

    async def run(self) -> None:
        """Write for ever. An Event that cannot be written is given up: nothing depends on it."""
        while True:
            told = await self._waiting.get()
            correlation = self._correlator.correlate(told, self._clock())
            if correlation is None:
                continue
            try:
                await self._write(correlation)
            except (ApiError, msgspec.MsgspecError):
                self._correlator.forget(correlation)

    async def _write(self, correlation: Correlation) -> None:
        if correlation.name:
            await self._client.patch(Event, correlation.name, correlation.namespace, correlation.document)
        else:
            namespace = text_at(correlation.document, "metadata", "namespace")
            await self._client.create_document(resource_of(Event), correlation.document, namespace)
