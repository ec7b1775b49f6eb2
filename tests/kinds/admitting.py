"""Objects taken through the rules of their kind, in the order the engine takes them."""

import copy
from typing import Any

from fairlead.cluster.apiserver.kinds.allocators import Allocators
from fairlead.cluster.apiserver.kinds.spec import KindSpec
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.net import parse_prefix

Made = dict[str, Any]
"""A document whose parts a test may reach into."""

BY_KIND = {spec.resource.kind: spec for spec in reversed(KINDS)}
RANGE = parse_prefix("10.96.0.0/16")


def first(limit: int) -> int:
    """The chance that always takes the first."""
    return 0


def spec_of(document: Made) -> KindSpec:
    return BY_KIND[str(document["kind"])]


def made(kind: str, spec: Any = None, *, name: str = "x", **fields: Any) -> Made:
    """Return a document with a name, as somebody wrote it."""
    document: Made = {"kind": kind, "metadata": {"name": name, "namespace": "ns"}}
    if spec is not None:
        document["spec"] = copy.deepcopy(spec)
    return document | copy.deepcopy(fields)


def created(document: Made, allocators: Allocators | None = None) -> tuple[Made, list[str]]:
    """Return the object as it would be stored, and what is wrong with it."""
    spec = spec_of(document)
    document = copy.deepcopy(document)
    spec.default(document)
    spec.admit(document, None, lambda resource, namespace: [])
    spec.prepare_create(document)
    wrong = []
    if spec.resource.kind == "Service":
        problem = (allocators or Allocators((RANGE,), first)).allocate(document, None)
        wrong = [problem] if problem else []
    wrong += [*spec.validate(document), *spec.validate_create(document)]
    return document, [str(each) for each in wrong]


def updated(new: Made, old: Made, allocators: Allocators | None = None) -> tuple[Made, list[str]]:
    """Return the object as it would replace `old`, and what is wrong with the update."""
    spec = spec_of(new)
    new = copy.deepcopy(new)
    spec.default(new)
    spec.prepare_update(new, old)
    wrong = []
    if spec.resource.kind == "Service":
        problem = (allocators or Allocators((RANGE,), first, [old])).allocate(new, old)
        wrong = [problem] if problem else []
    wrong += [*spec.validate(new), *spec.validate_update(new, old)]
    return new, [str(each) for each in wrong]


def problems(document: Made) -> list[str]:
    """Return what is wrong with a new object."""
    return created(document)[1]
