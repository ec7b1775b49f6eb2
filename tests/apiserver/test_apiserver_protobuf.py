"""Bodies in protobuf become the documents that the same client would have sent as JSON."""

import json
import random

import pytest
from apiservers import Api

from fairlead.cluster.apiserver.wire.protobuf import MAGIC, UnknownKindError, decode_protobuf
from fairlead.kube.documents import Document

PROTOBUF = "application/vnd.kubernetes.protobuf"


def varint(number: int) -> bytes:
    """Write a number as protobuf does, seven bits a byte."""
    number &= (1 << 64) - 1
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])


def message(*fields: tuple[int, int | str | bytes]) -> bytes:
    """Write fields of (number, value): numbers as varints, texts and bytes with their length."""
    written = b""
    for number, value in fields:
        if isinstance(value, int):
            written += varint(number << 3) + varint(value)
        else:
            raw = value.encode() if isinstance(value, str) else value
            written += varint(number << 3 | 2) + varint(len(raw)) + raw
    return written


def enveloped(api_version: str, kind: str, raw: bytes) -> bytes:
    """Wrap a message as `runtime.Unknown` behind the four magic bytes."""
    return MAGIC + message((1, message((1, api_version), (2, kind))), (2, raw), (3, ""), (4, ""))


META = message((1, "x"), (2, ""), (3, ""), (7, 0), (8, b""), (11, message((1, "app"), (2, "web"))))


def decoded(api_version: str, kind: str, *fields: tuple[int, int | str | bytes]) -> Document:
    return decode_protobuf(enveloped(api_version, kind, message((1, META), *fields)))


def test_empty_texts_zeros_and_zero_times_of_plain_fields_are_left_out() -> None:
    assert decoded("v1", "ConfigMap") == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "x", "labels": {"app": "web"}},
    }


def test_zeros_of_pointer_fields_are_kept() -> None:
    deployment = decoded("apps/v1", "Deployment", (2, message((1, 0), (5, 0), (7, 0))))
    assert deployment["spec"] == {"replicas": 0}


def test_maps_bytes_and_empty_map_values() -> None:
    entries = ((2, message((1, "a"), (2, b"\xff\x00"))), (2, message((1, "b"))))
    assert decoded("v1", "Secret", *entries)["data"] == {"a": "/wA=", "b": ""}


def test_volumes_carry_their_source_inline() -> None:
    source = message((19, message((1, message((1, "settings"))), (3, 420))))
    pod = decoded("v1", "Pod", (2, message((1, message((1, "v"), (2, source))))))
    volume = {"name": "v", "configMap": {"name": "settings", "defaultMode": 420}}
    assert pod["spec"] == {"volumes": [volume]}


def test_int_or_string_and_negative_numbers_and_quantities() -> None:
    port = message((1, "http"), (2, "TCP"), (3, 80), (4, message((1, 1), (2, 0), (3, "web"))), (5, 0))
    service = decoded("v1", "Service", (2, message((1, port))))
    assert service["spec"] == {"ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": "web"}]}
    options = decode_protobuf(enveloped("v1", "DeleteOptions", message((1, -1), (4, "Background"))))
    assert options == {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "gracePeriodSeconds": -1,
        "propagationPolicy": "Background",
    }


def test_extra_values_of_reviews_are_lists() -> None:
    extra = message((1, "scopes"), (2, message((1, "a"), (1, "b"))))
    review = decoded("authorization.k8s.io/v1", "SubjectAccessReview", (2, message((3, "me"), (5, extra))))
    assert review["spec"] == {"user": "me", "extra": {"scopes": ["a", "b"]}}


def test_fields_younger_than_the_tables_are_passed_over() -> None:
    assert "metadata" in decoded("v1", "ConfigMap", (4000, "new"))


@pytest.mark.parametrize(
    "broken",
    [
        b"{}",
        MAGIC + b"\x0a\xff",
        MAGIC + b"\xff" * 12,
        enveloped("v1", "Pod", b"\x0b"),
        enveloped("v1", "Pod", b"\x08\x01"),
    ],
)
def test_broken_bytes_are_refused(broken: bytes) -> None:
    with pytest.raises(ValueError, match="protobuf"):
        decode_protobuf(broken)


def test_a_kind_without_tables_is_named() -> None:
    with pytest.raises(UnknownKindError, match=r"Gizmo of example\.com/v1 is not known"):
        decode_protobuf(enveloped("example.com/v1", "Gizmo", b""))


async def test_an_object_sent_as_protobuf_is_stored_like_one_sent_as_json(api: Api) -> None:
    body = enveloped("v1", "ConfigMap", message((1, META), (2, message((1, "k"), (2, "v")))))
    made = await api("POST", "/api/v1/namespaces/default/configmaps?fieldValidation=Strict", body, kind=PROTOBUF)
    assert made.status == 201, made
    plain = json.dumps({"metadata": {"name": "y", "labels": {"app": "web"}}, "data": {"k": "v"}}).encode()
    other = await api("POST", "/api/v1/namespaces/default/configmaps", plain)
    assert made.json["data"] == other.json["data"]
    assert made.json["metadata"].keys() == other.json["metadata"].keys()


async def test_deletes_take_their_options_as_protobuf(api: Api) -> None:
    await api("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "x"}})
    wrong = message((2, message((1, "another-uid"))))
    body = enveloped("v1", "DeleteOptions", wrong)
    refused = await api("DELETE", "/api/v1/namespaces/default/configmaps/x", body, kind=PROTOBUF)
    assert refused.status == 409
    assert "another-uid" in refused.json["message"]


async def test_unknown_kinds_and_broken_bodies_get_their_status(api: Api) -> None:
    strange = enveloped("example.com/v1", "Gizmo", b"")
    told = await api("POST", "/api/v1/namespaces/default/configmaps", strange, kind=PROTOBUF)
    assert (told.status, told.json["reason"]) == (415, "UnsupportedMediaType")
    assert "application/json" in told.json["message"]
    told = await api("POST", "/api/v1/namespaces/default/configmaps", b"{}", kind=PROTOBUF)
    assert told.status == 400


def test_no_byte_turned_over_does_more_than_refuse() -> None:
    dice = random.Random(1)
    moment = message((1, 1 << 62), (2, 5))
    good = enveloped("v1", "Event", message((1, META), (6, moment), (10, moment), (8, 3)))
    refused = 0
    for _ in range(3000):
        body = bytearray(good)
        for _ in range(dice.randint(1, 4)):
            body[dice.randrange(len(MAGIC), len(body))] = dice.randrange(256)
        try:
            decode_protobuf(bytes(body))
        except (ValueError, OverflowError):
            refused += 1
    assert refused > 500


@pytest.mark.parametrize("kind", [PROTOBUF, "application/json"])
async def test_bodies_nested_too_deeply_are_400(api: Api, kind: str) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    body = deep
    if kind == PROTOBUF:
        body = enveloped("apps/v1", "ControllerRevision", message((1, META), (2, message((1, deep)))))
    told = await api("POST", "/apis/apps/v1/namespaces/default/controllerrevisions", body, kind=kind)
    assert (told.status, told.json["reason"]) == (400, "BadRequest")
    assert (await api("GET", "/api/v1/namespaces")).status == 200


@pytest.mark.parametrize("depth", [200, 450, 900])
async def test_deep_objects_are_stored_or_refused_and_never_break_the_server(api: Api, depth: int) -> None:
    body = b'{"metadata":{"name":"d"},"revision":1,"data":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    path = "/apis/apps/v1/namespaces/default/controllerrevisions?fieldManager=m&fieldValidation=Strict"
    told = await api("POST", path, body)
    assert told.status in (201, 400), told
    assert (await api("GET", path)).status == 200
