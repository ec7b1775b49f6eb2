"""Changing a document in place, whatever shape its author gave it.

In: a document and a field. Out: the object or list there, part of the document, so that changes to it last.
"""

from fairlead.kube.documents import Document, Json


def child(document: Document, key: str) -> Document:
    """Return the object at `key`, putting an empty one there if there is none."""
    value = document.get(key)
    if not isinstance(value, dict):
        value = {}
        document[key] = value
    return value


def children(document: Document, key: str) -> list[Document]:
    """Return the objects in the list at `key`; changing one changes the document."""
    value = document.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def fill(document: Document, key: str, value: Json) -> None:
    """Set `key` unless it has a value already; an empty text or null is none."""
    if document.get(key) in (None, ""):
        document[key] = value


def move(target: Document, source: Document, key: str) -> None:
    """Give `target` what `source` has at `key`, or nothing if it has nothing."""
    if key in source:
        target[key] = source[key]
    else:
        target.pop(key, None)
