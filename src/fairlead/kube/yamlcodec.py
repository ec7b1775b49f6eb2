"""Manifests as text: YAML or JSON with several documents, as kubectl reads them.

Comes in: text and the name of where it came from. Goes out: documents, or an error with line and column. Lists are
taken apart into their items, and Ingresses of removed API groups become networking.k8s.io/v1. YAML 1.1 is spoken, as by
kubectl: an unquoted `yes` is a boolean. A key that stands twice is an error, since one of the two would be lost.
"""

from collections.abc import Hashable, Iterator
from datetime import date, datetime
from typing import Any, cast

import yaml

from fairlead.kube.documents import Document, Json, as_document, items_at, mapping_at, text_at
from fairlead.kube.legacy import convert_legacy


class ManifestError(ValueError):
    """A manifest that cannot be read: `source`, `line` and `column` (from 1) say where, `problem` what is wrong."""

    def __init__(self, source: str, line: int, column: int, problem: str) -> None:
        super().__init__(f"{source}, line {line}, column {column}: {problem}")
        self.source, self.line, self.column, self.problem = source, line, column, problem


class _Loader(yaml.CSafeLoader):
    """libyaml's loader, that refuses doubled keys and keeps the text of time stamps."""


def _mapping(loader: yaml.CSafeLoader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    pairs = cast("list[tuple[yaml.ScalarNode, yaml.Node]]", node.value)
    seen: set[object] = set()
    for key, _ in pairs:
        if not isinstance(key, yaml.ScalarNode):  # pyright: ignore[reportUnnecessaryIsInstance]  # YAML allows others
            raise yaml.constructor.ConstructorError(None, None, "a key must be text", key.start_mark)
        if key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} stands twice", key.start_mark)
        seen.add(key.value)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


def _plain_text(loader: yaml.CSafeLoader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _plain_text)


def parse_documents(text: str, *, source: str, converted: bool = True) -> tuple[Document, ...]:
    """Every object in `text`, in order; empty documents are passed over. Raises ManifestError.

    Objects of old group versions come in those of today, or as they are where they are not to be `converted`.
    """
    found: list[Document] = []
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                continue
            line, column = node.start_mark.line + 1, node.start_mark.column + 1
            value = _json_of(loader.construct_document(node))  # pyright: ignore[reportUnknownMemberType]
            if value is None:
                continue
            if not isinstance(value, dict):
                raise ManifestError(source, line, column, "an object with apiVersion and kind is expected here")
            objects = _objects(as_document(value), source, line, column)
            found += (convert_legacy(each)[0] for each in objects) if converted else objects
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise ManifestError(source, line, column, error.problem or error.context or "cannot be read") from error
    except yaml.YAMLError as error:
        raise ManifestError(source, 1, 1, " ".join(str(error).split())) from error
    except RecursionError:
        raise ManifestError(source, 1, 1, "nested too deeply") from None
    finally:
        loader.dispose()
    return tuple(found)


def _objects(document: Document, source: str, line: int, column: int) -> Iterator[Document]:
    kind = text_at(document, "kind")
    if not kind or not text_at(document, "apiVersion"):
        missing = "kind" if text_at(document, "apiVersion") else "apiVersion"
        raise ManifestError(source, line, column, f"{missing} is not set")
    if kind.endswith("List") and "items" in document:
        for item in items_at(document, "items"):
            yield from _objects(mapping_at(item), source, line, column)
        return
    yield document


def _json_of(value: Any) -> Json:
    """`value` as JSON has it: text keys, and time stamps as text."""
    if isinstance(value, dict):
        entries = cast("dict[Any, Any]", value)
        return {_key(key): _json_of(item) for key, item in entries.items()}
    if isinstance(value, list):
        return [_json_of(item) for item in cast("list[Any]", value)]
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return cast("Json", value)


def _key(key: object) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)
