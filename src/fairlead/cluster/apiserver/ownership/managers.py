"""Who owns which fields of an object: metadata.managedFields.

In: entries as objects carry them, and changes. Out: sets of paths by manager, entries again, and the conflicts of an
apply. Source: k8s.io/apimachinery/pkg/util/managedfields and sigs.k8s.io/structured-merge-diff/v6/merge/update.go.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import msgspec
from msgspec import Struct

from fairlead.cluster.apiserver.ownership.leaves import Path, leaves_of, merge, without
from fairlead.cluster.apiserver.ownership.shapes import Shape
from fairlead.kube.documents import Document, Json, mapping_at, text_at

MOST_UPDATERS = 10
ANCIENT = "ancient-changes"

_NEVER_OWNED = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",)}
    | {
        ("f:metadata", f"f:{name}")
        for name in (
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "resourceVersion",
            "generation",
            "managedFields",
        )
    }
)


class Manager(Struct, frozen=True):
    """Who writes, and how: `operation` is Apply or Update."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    def __str__(self) -> str:
        """Return the manager as conflicts name it."""
        told = f'"{self.name}"'
        if self.subresource:
            told += f' with subresource "{self.subresource}"'
        return f"{told} using {self.api_version}" if self.operation == "Update" else told


class Owned(Struct, frozen=True):
    """The paths of one manager, and when it last changed something."""

    paths: frozenset[Path]
    time: str


Managed = Mapping[Manager, Owned]


class ConflictError(Exception):
    """An apply would change what others own."""

    def __init__(self, conflicts: Sequence[tuple[Manager, Path]]) -> None:
        super().__init__(_told(conflicts))
        self.causes = tuple((f"conflict with {manager}", path_text(path)) for manager, path in conflicts)


def _told(conflicts: Sequence[tuple[Manager, Path]]) -> str:
    if len(conflicts) == 1:
        manager, path = conflicts[0]
        return f"Apply failed with 1 conflict: conflict with {manager}: {path_text(path)}"
    by_manager: dict[str, list[str]] = {}
    for manager, path in conflicts:
        by_manager.setdefault(str(manager), []).append(path_text(path))
    texts = [
        f"conflicts with {manager}:\n" + "\n".join(f"- {each}" for each in sorted(paths))
        for manager, paths in sorted(by_manager.items())
    ]
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(texts)


def path_text(path: Path) -> str:
    """Return a path as people read it: .spec.containers[name="web"].image."""
    return "".join(_element_text(each) for each in path)


def _element_text(element: str) -> str:
    sort, _, rest = element.partition(":")
    match sort:
        case "f":
            return f".{rest}"
        case "k":
            pairs = cast("Document", msgspec.json.decode(rest))
            return f"[{','.join(f'{key}={msgspec.json.encode(value).decode()}' for key, value in pairs.items())}]"
        case _:
            return f"[={rest}]"


# Entries.


def decode_managed(entries: Sequence[Json]) -> dict[Manager, Owned]:
    """Read metadata.managedFields; what is none is left out."""
    found: dict[Manager, Owned] = {}
    for entry in entries:
        fields = mapping_at(entry, "fieldsV1")
        name, operation = text_at(entry, "manager"), text_at(entry, "operation")
        if not fields or operation not in ("Apply", "Update"):
            continue
        manager = Manager(name, operation, text_at(entry, "apiVersion"), text_at(entry, "subresource"))
        found[manager] = Owned(frozenset(_paths(fields, ())), text_at(entry, "time"))
    return found


def _paths(fields: Document, path: Path) -> Iterator[Path]:
    if not fields and path:
        yield path
    for key, inner in fields.items():
        if key == ".":
            yield path
        else:
            yield from _paths(inner if isinstance(inner, dict) else {}, (*path, key))


def encode_managed(managed: Managed) -> list[Json]:
    """Return managers as metadata.managedFields: those that apply first, then by time and name."""
    order = sorted(managed, key=lambda each: (each.operation, managed[each].time, each.name, each.subresource))
    return [_entry(manager, managed[manager]) for manager in order if managed[manager].paths]


def _entry(manager: Manager, owned: Owned) -> Document:
    entry: Document = {
        "manager": manager.name,
        "operation": manager.operation,
        "apiVersion": manager.api_version,
        "time": owned.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": _fields(owned.paths),
    }
    if manager.subresource:
        entry["subresource"] = manager.subresource
    return entry


def _fields(paths: frozenset[Path]) -> Document:
    root: Document = {}
    for path in sorted(paths):
        node = root
        for element in path:
            node = cast("Document", node.setdefault(element, {}))
        node["."] = {}
    _drop_lone_dots(root)
    return root


def _drop_lone_dots(node: Document) -> None:
    """A leaf is written as an empty object; a dot stands only beside other fields."""
    if list(node) == ["."]:
        node.clear()
    for inner in node.values():
        _drop_lone_dots(cast("Document", inner))


# Changes.


def owned_paths(shape: Shape, document: Document) -> frozenset[Path]:
    """Return every path of a document that somebody can own."""
    return frozenset(leaves_of(shape, document)) - _NEVER_OWNED


def update(shape: Shape, live: Document, new: Document, managed: Managed, manager: Manager, now: str) -> Managed:
    """Return the managers after a write that is no apply: it owns what it changed, and others what it left."""
    before, after = leaves_of(shape, live), leaves_of(shape, new)
    changed = frozenset(path for path, value in after.items() if path not in before or before[path] != value)
    changed -= _NEVER_OWNED
    gone = frozenset(before) - frozenset(after)
    if not changed and not gone:
        return managed
    found = {each: Owned(owned.paths - gone - changed, owned.time) for each, owned in managed.items()}
    if changed:
        held = managed[manager].paths - gone if manager in managed else frozenset[Path]()
        found[manager] = Owned(held | changed, now)
    return _capped({each: owned for each, owned in found.items() if owned.paths})


def _capped(managed: Managed) -> Managed:
    """Throw the oldest updaters together where there are too many."""
    updaters = sorted((each for each in managed if each.operation == "Update"), key=lambda each: managed[each].time)
    surplus = updaters[: max(0, len(updaters) - MOST_UPDATERS)]
    if not surplus:
        return managed
    kept = {each: owned for each, owned in managed.items() if each not in surplus}
    for each in surplus:
        ancient = Manager(ANCIENT, "Update", each.api_version, each.subresource)
        so_far = kept[ancient].paths if ancient in kept else frozenset[Path]()
        kept[ancient] = Owned(so_far | managed[each].paths, managed[each].time)
    return kept


def apply(
    shape: Shape, live: Document, wanted: Document, managed: Managed, manager: Manager, now: str, *, force: bool
) -> tuple[Document, Managed]:
    """Return the object and its managers after an apply.

    What `wanted` says is taken over; what the manager applied before and does not any more goes, unless others own
    it. Raises ConflictError where others own what would change, unless forced; ValueError for lists without keys.
    """
    applied = owned_paths(shape, wanted)
    merged = cast("Document", merge(shape, live, wanted))
    before, after = leaves_of(shape, live), leaves_of(shape, merged)
    changed = {path for path in applied if path in after and (path not in before or before[path] != after[path])}
    conflicts = [
        (other, path) for other, owned in managed.items() if other != manager for path in sorted(owned.paths & changed)
    ]
    if conflicts and not force:
        raise ConflictError(conflicts)
    lost = {path for _, path in conflicts}
    others = {each: Owned(owned.paths - lost, owned.time) for each, owned in managed.items() if each != manager}
    former = managed[manager].paths if manager in managed else frozenset[Path]()
    kept = applied.union(*(owned.paths for owned in others.values()))
    pruned = without(shape, merged, former - applied, kept) if former - applied else merged
    same = former == applied and pruned == live and manager in managed
    found = {**others, manager: Owned(applied, managed[manager].time if same else now)}
    return cast("Document", pruned or {}), {each: owned for each, owned in found.items() if owned.paths}
