"""Pod templates of workloads: documents come in, their identity, their hash and pods made from them go out.

A template is copied as the document its author wrote, so fields this project has no type for survive. Refuses to
know what a template runs.
"""

import json
from typing import cast

from fairlead.kube.documents import Document, Json, mapping_at

HASH_LABEL = "pod-template-hash"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_FNV_OFFSET, _FNV_PRIME = 2166136261, 16777619


def identify_template(template: Document) -> bytes:
    """Text that two templates share exactly when they make the same pods; the hash label does not count.

    Nulls and empty maps and lists say nothing (the Go types would not write them), so they do not count either.
    """
    labels = {key: value for key, value in mapping_at(template, "metadata", "labels").items() if key != HASH_LABEL}
    metadata: Document = {**mapping_at(template, "metadata"), "labels": cast(Json, labels)}
    said = _said({**template, "metadata": metadata})
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def _said(value: Json) -> Json:
    if isinstance(value, dict):
        kept = {key: _said(inner) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if inner not in (None, {}, [])}
    if isinstance(value, list):
        return [_said(inner) for inner in value]
    return value


def hash_template(identity: bytes, collisions: int = 0) -> str:
    """A short name for a template: 32 bits of FNV-1a in letters that spell no words (upstream:
    controller.ComputeHash).

    Upstream hashes Go's own print of the struct, so the letters differ from a real cluster's; only their shape is
    promised.
    """
    digest = _FNV_OFFSET
    for byte in identity + (str(collisions).encode() if collisions else b""):
        digest = ((digest ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return "".join(_ALPHABET[ord(digit) % len(_ALPHABET)] for digit in str(digest))


def make_pod(template: Document, *, prefix: str, namespace: str, owner: Document) -> Document:
    """A pod from a template: its labels, annotations, finalizers and spec, a name to be generated, and its one
    owner.
    """
    metadata = mapping_at(template, "metadata")
    kept = {key: metadata[key] for key in ("labels", "annotations", "finalizers") if metadata.get(key)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**kept, "generateName": prefix, "namespace": namespace, "ownerReferences": [owner]},
        "spec": mapping_at(template, "spec"),
    }


def with_labels(template: Document, labels: dict[str, str]) -> Document:
    """The template with `labels` added to its own."""
    metadata = mapping_at(template, "metadata")
    merged: Document = {**mapping_at(template, "metadata", "labels"), **labels}
    return {**template, "metadata": {**metadata, "labels": merged}}
