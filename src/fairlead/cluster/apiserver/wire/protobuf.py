"""Bodies of `application/vnd.kubernetes.protobuf` as documents.

In: the bytes of a request. Out: the document that the same client would have sent as JSON, or ValueError. The tables
(`messages.json.gz`, written by `tools/generate_protobuf.py` from upstream's struct tags) say what each field number
means; nothing here knows a kind. The envelope: k8s.io/apimachinery/pkg/runtime/generated.proto, `Unknown`.

Go's encoder writes empty texts, zeros and false for every field that is no pointer; its JSON encoder leaves them out
where the field says omitempty. So does this decoder, and keeps a zero that was written for a pointer.
"""

import base64
import pkgutil
import zlib
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import cast

import msgspec
from msgspec import Struct

from fairlead.kube.documents import Document, Json

MAGIC = b"k8s\x00"
MAX_DEPTH = 100

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIGN, _WRAP = 1 << 63, 1 << 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_PACKAGES = {
    "admissionregistration.k8s.io": "admissionregistration",
    "authentication.k8s.io": "authentication",
    "authorization.k8s.io": "authorization",
    "certificates.k8s.io": "certificates",
    "coordination.k8s.io": "coordination",
    "discovery.k8s.io": "discovery",
    "events.k8s.io": "events",
    "flowcontrol.apiserver.k8s.io": "flowcontrol",
    "networking.k8s.io": "networking",
    "node.k8s.io": "node",
    "rbac.authorization.k8s.io": "rbac",
    "scheduling.k8s.io": "scheduling",
    "storage.k8s.io": "storage",
}
"""The package in k8s.io/api of each group whose name is not its package's."""


class UnknownKindError(ValueError):
    """A message of a kind that the tables lack."""


class _Field(Struct, frozen=True, array_like=True):
    """One field of a message; `kept` says that a zero is worth writing down."""

    name: str
    type: str
    shape: str = ""
    kept: bool = False


_Message = dict[str, _Field]


@cache
def _messages() -> dict[str, _Message]:
    packed = pkgutil.get_data(__name__, "messages.json.gz")
    assert packed is not None, "the package lacks apiserver/wire/messages.json.gz"
    return msgspec.json.decode(zlib.decompress(packed, wbits=31), type=dict[str, _Message])


def decode_protobuf(body: bytes) -> Document:
    """Decode an enveloped object; raise UnknownKindError for a kind without a table, ValueError for broken bytes."""
    if not body.startswith(MAGIC):
        raise ValueError("the body does not begin with the four bytes of Kubernetes' protobuf")
    envelope = {number: value for number, _, value in _fields(body[len(MAGIC) :])}
    type_meta = {number: _text(value) for number, _, value in _fields(_raw(envelope.get(1, b"")))}
    api_version, kind = type_meta.get(1, ""), type_meta.get(2, "")
    name = _message_name(api_version, kind)
    if name not in _messages():
        raise UnknownKindError(f"{kind or 'nothing'} of {api_version or 'no version'} is not known as protobuf")
    document = _decoded(name, _raw(envelope.get(2, b"")), 0)
    return {"kind": kind, "apiVersion": api_version, **document}


def _message_name(api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    if kind in ("DeleteOptions", "Status", "CreateOptions", "PatchOptions", "UpdateOptions"):
        return f"{_META}.{kind}"
    return f"io.k8s.api.{_PACKAGES.get(group, group or 'core')}.{version}.{kind}"


# The wire format: https://protobuf.dev/programming-guides/encoding/.


def _fields(data: bytes) -> list[tuple[int, int, int | bytes]]:
    """Return the fields of one message in the order written: number, wire type, and number or bytes."""
    found: list[tuple[int, int, int | bytes]] = []
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
        else:
            length, at = _length(data, at, wire)
            if at + length > len(data):
                raise ValueError("protobuf: unexpected end of the message")
            value = data[at : at + length]
            at += length
        found.append((number, wire, value))
    return found


def _length(data: bytes, at: int, wire: int) -> tuple[int, int]:
    if wire == _BYTES:
        return _varint(data, at)
    if wire in (_FIXED64, _FIXED32):
        return (8 if wire == _FIXED64 else 4), at
    raise ValueError(f"protobuf: illegal wire type {wire}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if at >= len(data):
            raise ValueError("protobuf: unexpected end of a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("protobuf: number too long")


def _raw(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("protobuf: a number stands where bytes were expected")
    return value


def _text(value: int | bytes) -> str:
    return _raw(value).decode()


def _whole(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("protobuf: bytes stand where a number was expected")
    return value - _WRAP if value & _SIGN else value


# Messages by table.


def _decoded(name: str, data: bytes, depth: int) -> Document:
    if depth > MAX_DEPTH:
        raise ValueError("protobuf: nested too deeply")
    table = _messages()[name]
    document: Document = {}
    for number, _, value in _fields(data):
        field = table.get(str(number))
        if field is None:
            continue  # a field that is younger than the tables, as upstream's decoder passes over it
        if field.shape == "list":
            cast("list[Json]", document.setdefault(field.name, [])).append(_value(field.type, value, depth))
        elif field.shape == "map":
            key, inner = _entry(field, _raw(value), depth)
            cast("Document", document.setdefault(field.name, {}))[key] = inner
        elif field.shape == "inline":
            document.update(cast("Document", _value(field.type, value, depth)))
        else:
            _set(document, field, _value(field.type, value, depth))
    return document


def _set(document: Document, field: _Field, value: Json) -> None:
    """Write a single value down as Go's JSON encoder does; a struct that is no pointer stays, empty or not."""
    if value is None or (not field.kept and not isinstance(value, dict) and value in ("", 0, False, [])):
        document.pop(field.name, None)
    else:
        document[field.name] = value


def _entry(field: _Field, data: bytes, depth: int) -> tuple[str, Json]:
    """Read one entry of a map: a message of key 1 and value 2, either left out where it is empty."""
    parts = {number: value for number, _, value in _fields(data)}
    empty = 0 if field.type in ("int", "boolean") else b""
    return _text(parts.get(1, b"")), _value(field.type, parts.get(2, empty), depth)


def _value(type_name: str, value: int | bytes, depth: int) -> Json:
    match type_name:
        case "string":
            return _text(value)
        case "int":
            return _whole(value)
        case "boolean":
            return bool(_whole(value))
        case "bytes":
            return base64.b64encode(_raw(value)).decode()
        case "time" | "microtime":
            return _time(_raw(value), micro=type_name == "microtime")
        case "quantity" | "items" | "raw" | "int-or-string":
            return _special(type_name, _fields(_raw(value)))
        case _:
            return _decoded(type_name, _raw(value), depth + 1)


def _special(type_name: str, fields: list[tuple[int, int, int | bytes]]) -> Json:
    """Read the messages whose JSON is no object of the same fields."""
    if type_name == "items":
        return [_text(value) for number, _, value in fields if number == 1]
    parts = {number: value for number, _, value in fields}
    if type_name == "quantity":
        return _text(parts.get(1, b"")) or "0"
    if type_name == "int-or-string":
        return _text(parts.get(3, b"")) if _whole(parts.get(1, 0)) else _whole(parts.get(2, 0))
    raw = _raw(parts.get(1, b""))
    try:
        return cast("Json", msgspec.json.decode(raw)) if raw else None
    except RecursionError as error:
        raise ValueError("protobuf: JSON inside is nested too deeply") from error


def _time(data: bytes, *, micro: bool) -> str | None:
    """Read seconds and nanoseconds; None for the message without fields, which Go's zero time is."""
    parts = {number: _whole(value) for number, _, value in _fields(data)}
    if not parts:
        return None
    moment = _EPOCH + timedelta(seconds=parts.get(1, 0))
    if micro:
        return moment.replace(microsecond=parts.get(2, 0) // 1000).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
