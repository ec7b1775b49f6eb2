"""The objects in memory: what is stored now, what changed lately, and one counter of revisions for all of it.

In: documents to put and keys to delete, by synchronous calls. Out: stored objects in key order, snapshots at a
recent revision, and events, published to subscribers once the log has them. It knows no kind's rules, no HTTP and
no SQL: what makes changes durable is a `Log`. A change is visible to readers of the same loop round at once; it is
acknowledged and published by `commit`, and taken back when the log refuses it.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Protocol

import msgspec
from msgspec import Struct

from fairlead.kube.documents import Document

RING_LENGTH = 8192
"""How many events of one resource stay for watches that resume and for lists that continue."""

RING_BYTES = 16 * 1024 * 1024
"""How many bytes of objects those events may hold; the older ones go first."""

_DECODER = msgspec.json.Decoder(Document)
_ENCODER = msgspec.json.Encoder()

ResourceKey = tuple[str, str]
"""API group and plural name, as in ("apps", "deployments")."""

ObjectKey = tuple[str, str]
"""Namespace ("" for cluster-wide objects) and name."""


class EventType(Enum):
    """What happened to an object, in the words of a watch."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Stored(Struct, frozen=True, gc=False):
    """One object at one revision: its JSON, and what selectors look at."""

    key: ObjectKey
    revision: int
    raw: bytes
    labels: Mapping[str, str]
    fields: Mapping[str, str]

    def document(self) -> Document:
        """Decode a copy that the caller owns."""
        return _DECODER.decode(self.raw)


class Event(Struct, kw_only=True, gc=False):
    """One change. `current` of a deletion is the last state, carrying the revision of the deletion.

    `frames` keeps the encoded watch lines by the type they tell, made once and shared by every watcher.
    """

    type: EventType
    revision: int
    current: Stored
    previous: Stored | None
    frames: dict[str, bytes] = msgspec.field(default_factory=dict[str, bytes])


class Row(Struct, frozen=True, gc=False):
    """What a log keeps of one object; `value` is None where the object is deleted."""

    resource: ResourceKey
    key: ObjectKey
    revision: int
    value: bytes | None


class Log(Protocol):
    """Durable storage of rows. `append` returns when they survive the death of the process, or raises FairleadError."""

    def load(self) -> tuple[int, Iterable[Row]]:
        """Return the last revision given out and every living object."""
        ...

    def append(self, rows: Sequence[Row], revision: int) -> None:
        """Make the rows durable in one transaction."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class MemoryLog:
    """A log that keeps nothing: for clusters that need not survive, and for tests."""

    def load(self) -> tuple[int, Iterable[Row]]:
        """Return an empty start."""
        return 0, ()

    def append(self, rows: Sequence[Row], revision: int) -> None:
        """Accept the rows."""

    def close(self) -> None:
        """Do nothing."""


class ExpiredError(Exception):
    """The asked revision is older than what the ring of events still holds."""

    def __init__(self, revision: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {revision} ({oldest})")
        self.revision = revision
        self.oldest = oldest


Subscriber = Callable[[Event], None]
Follower = Callable[[Stored | None, Stored | None], None]
"""Is told the new and the old state of an object, None where there is none."""

FieldsOf = Callable[[ResourceKey, Document], Mapping[str, str]]


class Shelf:
    """The objects and the late events of one resource."""

    def __init__(self, compacted: int) -> None:
        """Begin empty; events up to `compacted` are not known."""
        self.objects: dict[ObjectKey, Stored] = {}
        self.keys: list[ObjectKey] = []
        self.events: deque[Event] = deque()
        self.held = 0
        self.compacted = compacted
        self.subscribers: list[Subscriber] = []
        self.followers: list[Follower] = []

    def set(self, stored: Stored) -> None:
        """Store an object under its key, new or not."""
        if stored.key not in self.objects:
            insort(self.keys, stored.key)
        self.objects[stored.key] = stored

    def drop(self, key: ObjectKey) -> None:
        """Forget an object."""
        if self.objects.pop(key, None) is not None:
            del self.keys[bisect_left(self.keys, key)]

    def record(self, event: Event) -> None:
        """Keep a published event for those who come later."""
        self.events.append(event)
        self.held += len(event.current.raw)
        while len(self.events) > 1 and (len(self.events) > RING_LENGTH or self.held > RING_BYTES):
            oldest = self.events.popleft()
            self.held -= len(oldest.current.raw)
            self.compacted = oldest.revision

    def since(self, revision: int) -> list[Event]:
        """Return the events after a revision, oldest first; raise ExpiredError where some are gone."""
        if revision < self.compacted:
            raise ExpiredError(revision, self.compacted)
        late: list[Event] = []
        for event in reversed(self.events):
            if event.revision <= revision:
                break
            late.append(event)
        late.reverse()
        return late


class Store:
    """All objects of the cluster; one revision counter, as in etcd."""

    def __init__(self, log: Log, fields_of: FieldsOf) -> None:
        """Load everything the log holds. `fields_of` gives what field selectors of a resource see."""
        self._log = log
        self._fields_of = fields_of
        self._shelves: dict[ResourceKey, Shelf] = {}
        self._pending: list[tuple[ResourceKey, Event]] = []
        self.revision, rows = log.load()
        self._loaded = self.committed = self.revision
        for row in rows:
            if row.value is not None:
                document = _DECODER.decode(row.value)
                self._shelf(row.resource).set(self._stored(row.resource, row.key, row.revision, row.value, document))

    def _shelf(self, resource: ResourceKey) -> Shelf:
        shelf = self._shelves.get(resource)
        if shelf is None:
            shelf = self._shelves[resource] = Shelf(compacted=self._loaded)
        return shelf

    def _stored(self, resource: ResourceKey, key: ObjectKey, revision: int, raw: bytes, document: Document) -> Stored:
        metadata = document.get("metadata")
        labels = metadata.get("labels") if isinstance(metadata, dict) else None
        texts = (
            {name: value for name, value in labels.items() if isinstance(value, str)}
            if isinstance(labels, dict)
            else {}
        )
        return Stored(key=key, revision=revision, raw=raw, labels=texts, fields=self._fields_of(resource, document))

    # Reading.

    def get(self, resource: ResourceKey, key: ObjectKey) -> Stored | None:
        """Return one object as it is now."""
        shelf = self._shelves.get(resource)
        return shelf.objects.get(key) if shelf else None

    def items(self, resource: ResourceKey, namespace: str = "") -> Iterator[Stored]:
        """Yield the objects of a resource in key order; of one namespace, where given."""
        shelf = self._shelf(resource)
        keys = shelf.keys
        if namespace:
            keys = keys[bisect_left(keys, (namespace, "")) : bisect_left(keys, (namespace + "\0", ""))]
        return map(shelf.objects.__getitem__, list(keys))

    def count(self, resource: ResourceKey) -> int:
        """Return how many objects of a resource exist."""
        return len(self._shelf(resource).objects)

    def snapshot(self, resource: ResourceKey, revision: int) -> list[Stored]:
        """Return the objects of a resource as they were at a revision, in key order; raise ExpiredError when that
        is gone.

        The present is walked back through the events after that revision.
        """
        shelf = self._shelf(resource)
        late = [*shelf.since(revision), *(event for of, event in self._pending if of == resource)]
        if not late:
            return [shelf.objects[key] for key in shelf.keys]
        objects = dict(shelf.objects)
        for event in reversed(late):
            if event.previous is None:
                objects.pop(event.current.key, None)
            else:
                objects[event.current.key] = event.previous
        return [objects[key] for key in sorted(objects)]

    def settled(self, resource: ResourceKey, namespace: str = "") -> list[Stored]:
        """Return the objects as they are durable, at revision `committed`: what a list or a new watch begins from."""
        if not self._pending:
            return list(self.items(resource, namespace))
        found = self.snapshot(resource, self.committed)
        return [each for each in found if each.key[0] == namespace] if namespace else found

    def since(self, resource: ResourceKey, revision: int) -> list[Event]:
        """Return the published events of a resource after a revision; raise ExpiredError when some are gone."""
        return self._shelf(resource).since(revision)

    def subscribe(self, resource: ResourceKey, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` with each event of a resource once it is durable; return the way to stop that."""
        subscribers = self._shelf(resource).subscribers
        subscribers.append(subscriber)

        def stop() -> None:
            if subscriber in subscribers:
                subscribers.remove(subscriber)

        return stop

    def follow(self, resource: ResourceKey, follower: Follower) -> None:
        """Call `follower` the moment a change of a resource is staged, and with the reverse when it is taken back."""
        self._shelf(resource).followers.append(follower)

    # Writing: staged until the next commit.

    def put(self, resource: ResourceKey, key: ObjectKey, document: Document) -> Stored:
        """Stage an object, new or changed; its resourceVersion is written into `document`, which is encoded once,
        here.
        """
        shelf = self._shelf(resource)
        previous = shelf.objects.get(key)
        self.revision += 1
        stored = self._stamp(resource, key, document)
        shelf.set(stored)
        for follower in shelf.followers:
            follower(stored, previous)
        kind = EventType.ADDED if previous is None else EventType.MODIFIED
        self._pending.append((resource, Event(type=kind, revision=self.revision, current=stored, previous=previous)))
        return stored

    def delete(self, resource: ResourceKey, key: ObjectKey, document: Document | None = None) -> Stored:
        """Stage the removal of an object and return its last state, stamped with the revision of the deletion."""
        shelf = self._shelf(resource)
        previous = shelf.objects[key]
        self.revision += 1
        last = self._stamp(resource, key, previous.document() if document is None else document)
        shelf.drop(key)
        for follower in shelf.followers:
            follower(None, previous)
        event = Event(type=EventType.DELETED, revision=self.revision, current=last, previous=previous)
        self._pending.append((resource, event))
        return last

    def _stamp(self, resource: ResourceKey, key: ObjectKey, document: Document) -> Stored:
        metadata = document["metadata"]
        assert isinstance(metadata, dict)
        metadata["resourceVersion"] = str(self.revision)
        return self._stored(resource, key, self.revision, _ENCODER.encode(document), document)

    @property
    def staged(self) -> bool:
        """True while changes wait for a commit."""
        return bool(self._pending)

    def commit(self) -> None:
        """Make the staged changes durable, then publish them; where the log refuses, take them all back and raise."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        try:
            self._log.append([_row(resource, event) for resource, event in pending], self.revision)
        except Exception:
            for resource, event in reversed(pending):
                self._undo(self._shelf(resource), event)
            raise
        self.committed = self.revision
        for resource, event in pending:
            shelf = self._shelf(resource)
            shelf.record(event)
            for subscriber in tuple(shelf.subscribers):
                subscriber(event)
            event.frames.clear()  # the watchers of now hold the lines; kept here they would double the ring

    def _undo(self, shelf: Shelf, event: Event) -> None:
        if event.previous is None:
            shelf.drop(event.current.key)
        else:
            shelf.set(event.previous)
        current = None if event.type is EventType.DELETED else event.current
        for follower in shelf.followers:
            follower(event.previous, current)

    def close(self) -> None:
        """Commit what is staged and release the log."""
        self.commit()
        self._log.close()


def _row(resource: ResourceKey, event: Event) -> Row:
    value = None if event.type is EventType.DELETED else event.current.raw
    return Row(resource=resource, key=event.current.key, revision=event.revision, value=value)
