"""Watches: events of one resource turned into lines for one client.

In: a store to subscribe to, a selection, and where to begin. Out: `WatchStream.next()`, the lines that are ready.
Lines of plain JSON are encoded once per event and shared by all watchers. It knows no HTTP. A client that does not
keep up is cut off, and resumes at its last revision; nobody waits for it (k8s.io/apiserver/pkg/storage/cacher).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec
from msgspec import Struct

from fairlead.cluster.apiserver.statuses import expired
from fairlead.cluster.apiserver.store import Event, EventType, ExpiredError, ResourceKey, Store, Stored
from fairlead.kube.documents import Document

QUEUE_LENGTH = 16_384
"""Lines waiting for one slow client before it is cut off."""

BOOKMARK_EVERY = 60.0
_INITIAL_BATCH = 256

Matches = Callable[[Stored], bool]
Shape = Callable[[EventType, Stored], bytes]
"""Encodes the object of one event in the form a client asked for."""


class WatchPlan(Struct, frozen=True, kw_only=True):
    """What one client asked to watch.

    `since` None begins with the present state as ADDED events; `initial_end` marks their end with a bookmark.
    `matches` None lets everything pass; `shape` None sends plain JSON. `bookmark` makes the object of a bookmark
    from a revision and whether it ends the initial events.
    """

    resource: ResourceKey
    namespace: str = ""
    matches: Matches | None = None
    shape: Shape | None = None
    since: int | None = None
    initial_end: bool = False
    bookmarks: bool = False
    bookmark: Callable[[int, bool], Document]
    timeout: float


def transition(event: Event, matches: Matches | None) -> tuple[EventType, Stored] | None:
    """Return what an event means to a client that sees only what matches: objects come into sight and leave it."""
    if matches is None:
        return event.type, event.current
    after = event.type is not EventType.DELETED and matches(event.current)
    before = event.previous is not None and matches(event.previous)
    if after:
        return (EventType.MODIFIED if before else EventType.ADDED), event.current
    if not before:
        return None
    if event.type is EventType.DELETED or event.previous is None:
        return EventType.DELETED, event.current
    return EventType.DELETED, _restamped(event.previous, event.revision)


def _restamped(stored: Stored, revision: int) -> Stored:
    document = stored.document()
    metadata = document["metadata"]
    assert isinstance(metadata, dict)
    metadata["resourceVersion"] = str(revision)
    return Stored(
        key=stored.key,
        revision=revision,
        raw=msgspec.json.encode(document),
        labels=stored.labels,
        fields=stored.fields,
    )


def frame(kind: EventType, body: bytes) -> bytes:
    """Return one line of a watch."""
    return b'{"type":"%s","object":%s}\n' % (kind.value.encode(), body)


class WatchStream:
    """The lines of one watch, in order. It is subscribed from the moment it exists; close it when done."""

    content_type = "application/json"

    def __init__(self, store: Store, plan: WatchPlan) -> None:
        """Begin; where the revision to begin from is gone, one ERROR event with a Status of 410 is the whole watch.

        An answer of 410 will not do: upstream's cacher tells it in the stream, and clients (kopf) look for it there.
        """
        self._store = store
        self._plan = plan
        self._queue: deque[bytes] = deque()
        self._wakeup = asyncio.Event()
        self._ended = False
        self.rewrite: Callable[[bytes], bytes] | None = None
        """What is done to lines on their way out, for who asked for another version."""
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + plan.timeout
        self._next_bookmark = loop.time() + BOOKMARK_EVERY
        self._initial: Iterator[bytes] = iter(())
        try:
            if plan.since is None:
                self._initial = self._initial_lines(store.settled(plan.resource, plan.namespace), store.committed)
            else:
                self._initial = self._past_lines(store.since(plan.resource, plan.since))
        except ExpiredError as error:
            self._initial = iter((b'{"type":"ERROR","object":%s}\n' % expired(str(error)).body().rstrip(),))
            self._ended = True
        self._stop = store.subscribe(plan.resource, self._offer)

    def _initial_lines(self, found: Iterable[Stored], revision: int) -> Iterator[bytes]:
        for stored in found:
            if self._plan.matches is None or self._plan.matches(stored):
                yield frame(EventType.ADDED, self._body(EventType.ADDED, stored))
        if self._plan.initial_end:
            yield self._bookmark(revision, True)

    def _past_lines(self, events: Iterable[Event]) -> Iterator[bytes]:
        for event in events:
            line = self._line(event)
            if line is not None:
                yield line

    def _body(self, kind: EventType, stored: Stored) -> bytes:
        return stored.raw if self._plan.shape is None else self._plan.shape(kind, stored)

    def _line(self, event: Event) -> bytes | None:
        if self._plan.namespace and event.current.key[0] != self._plan.namespace:
            return None
        seen = transition(event, self._plan.matches)
        if seen is None:
            return None
        kind, stored = seen
        if self._plan.shape is not None:
            return frame(kind, self._plan.shape(kind, stored))
        line = event.frames.get(kind.value)
        if line is None:
            line = event.frames[kind.value] = frame(kind, stored.raw)
        return line

    def _offer(self, event: Event) -> None:
        line = self._line(event)
        if line is None:
            return
        if len(self._queue) >= QUEUE_LENGTH:
            self._queue.clear()
            self._initial = iter(())
            self.close()
            return
        self._queue.append(line)
        self._wakeup.set()

    def _bookmark(self, revision: int, initial_end: bool) -> bytes:
        body = msgspec.json.encode(self._plan.bookmark(revision, initial_end))
        return b'{"type":"BOOKMARK","object":%s}\n' % body

    async def next(self) -> bytes | None:
        """Return the lines that are ready, waiting for the first; None at the end of the watch."""
        ready = await self._next()
        return ready if ready is None or self.rewrite is None else self.rewrite(ready)

    async def _next(self) -> bytes | None:
        initial = b"".join(islice(self._initial, _INITIAL_BATCH))
        if initial:
            return initial
        while not self._queue:
            if self._ended:
                return None
            late = await self._wait()
            if late is not None:
                return late
        ready = b"".join(self._queue)
        self._queue.clear()
        self._wakeup.clear()
        return ready

    async def _wait(self) -> bytes | None:
        """Wait for lines; return a bookmark when it is time for one. A last one goes just before the end."""
        self._wakeup.clear()
        until = min(self._deadline, self._next_bookmark) if self._plan.bookmarks else self._deadline
        try:
            async with asyncio.timeout_at(until):
                await self._wakeup.wait()
        except TimeoutError:
            if asyncio.get_running_loop().time() >= self._deadline:
                self.close()
            self._next_bookmark = asyncio.get_running_loop().time() + BOOKMARK_EVERY
            if self._plan.bookmarks:
                return self._bookmark(self._store.committed, False)
        return None

    def close(self) -> None:
        """End the watch: `next` returns what is queued, then None."""
        self._ended = True
        self._stop()
        self._wakeup.set()
