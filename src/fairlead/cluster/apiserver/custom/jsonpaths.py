"""The JSONPath of printer columns and scale paths: `.spec.replicas`, `.status.conditions[?(@.type=="Ready")].status`.

In: a path and a document. Out: the first value found, or None. Only this part of JSONPath is known: names, names in
quotes, indexes, `[*]` and the comparison of one field with a text.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from fairlead.kube.documents import Document, Json, text_at

_STEP = re.compile(
    r"\.(?P<name>[\w-]+(?:\\\.[\w-]+)*)"
    r"|\[(?P<index>-?\d+|\*)\]"
    r"|\[['\"](?P<quoted>[^'\"]+)['\"]\]"
    r"|\[\?\(@\.(?P<field>[\w.-]+)\s*==\s*['\"](?P<text>[^'\"]*)['\"]\)\]"
)

_Step = tuple[str, str, str]


@lru_cache(maxsize=256)
def parse_path(text: str) -> tuple[_Step, ...] | None:
    """Return the steps of a path, None where it is not of the part of JSONPath that is known."""
    steps: list[_Step] = []
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            return None
        at = match.end()
        if match["name"] or match["quoted"]:
            steps.append(("name", (match["name"] or match["quoted"]).replace("\\.", "."), ""))
        elif match["index"]:
            steps.append(("index", match["index"], ""))
        else:
            steps.append(("where", match["field"], match["text"]))
    return tuple(steps)


def find(text: str, document: Document) -> Json:
    """Return the first value at a path, None where there is none."""
    return next(_follow(parse_path(text) or (), document), None)


def _follow(steps: tuple[_Step, ...], value: Json) -> Iterator[Json]:
    if not steps:
        yield value
        return
    (sort, name, wanted), rest = steps[0], steps[1:]
    if sort == "name":
        if isinstance(value, dict) and name in value:
            yield from _follow(rest, value[name])
    elif isinstance(value, list):
        for each in _chosen(sort, name, wanted, value):
            yield from _follow(rest, each)


def _chosen(sort: str, name: str, wanted: str, value: list[Json]) -> list[Json]:
    if sort == "where":
        return [each for each in value if text_at(each, *name.split(".")) == wanted]
    if name == "*":
        return value
    index = int(name)
    return [value[index]] if -len(value) <= index < len(value) else []


def set_number(text: str, document: Document, number: int) -> None:
    """Write a number at a path of names, making the objects on the way."""
    *steps, last = parse_path(text) or (("name", text.strip("."), ""),)
    place = document
    for _, name, _ in steps:
        inner = place.get(name)
        if not isinstance(inner, dict):
            inner = {}
            place[name] = inner
        place = inner
    place[last[1]] = number
