"""Metadata, Namespaces, ConfigMaps, Secrets: rules, defaults, and what a write may change."""

import base64
from typing import Any

import pytest
from admitting import BY_KIND, created, made, problems, updated

from fairlead.kube.documents import mapping_at


def test_a_namespace_is_labelled_with_its_name_and_begins_active() -> None:
    stored = created(made("Namespace", name="shop"))[0]
    assert mapping_at(stored, "metadata", "labels") == {"kubernetes.io/metadata.name": "shop"}
    assert (stored["spec"], stored["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})


def test_an_ordinary_update_of_a_namespace_changes_neither_finalizers_nor_status() -> None:
    old = created(made("Namespace", name="shop"))[0]
    new, wrong = updated(made("Namespace", {"finalizers": []}, name="shop", status={"phase": "Gone"}), old)
    assert (wrong, new["spec"], new["status"]) == ([], old["spec"], old["status"])


LONG = "a" * 64
METADATA: dict[str, tuple[dict[str, Any], str]] = {
    "a label key has a domain of one part": (
        {"labels": {"a/b/c": ""}},
        "metadata.labels: Invalid value: \"a/b/c\": a qualified name must consist of alphanumeric characters, '-', '_' "
        "or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', "
        "regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain "
        "prefix and '/' (e.g. 'example.com/MyName')",
    ),
    "a label key is not only a domain": (
        {"labels": {"a.b/": ""}},
        'metadata.labels: Invalid value: "a.b/": name part must be non-empty',
    ),
    "a label key is short": (
        {"labels": {LONG: ""}},
        f'metadata.labels: Invalid value: "{LONG}": name part must be no more than 63 characters',
    ),
    "a label value is a word": (
        {"labels": {"a": "b c"}},
        'metadata.labels: Invalid value: "b c": a valid label must be an empty string or consist of alphanumeric '
        "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "
        "'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
    ),
    "annotations are not endless": (
        {"annotations": {"a": "b" * 262144}},
        "metadata.annotations: Too long: may not be more than 262144 bytes",
    ),
    "a finalizer has a domain": (
        {"finalizers": ["me"]},
        'metadata.finalizers: Invalid value: "me": name is neither a standard finalizer name nor is it fully qualified',
    ),
    "an owner has a uid": (
        {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]},
        'metadata.ownerReferences.uid: Invalid value: "": must not be empty',
    ),
}


@pytest.mark.parametrize(("metadata", "message"), METADATA.values(), ids=METADATA.keys())
def test_metadata_is_refused(metadata: dict[str, Any], message: str) -> None:
    document = made("ConfigMap")
    document["metadata"] = {"name": "x", **metadata}
    assert message in problems(document)


DATA: dict[str, tuple[str, dict[str, Any], str]] = {
    "a key is a file name": (
        "ConfigMap",
        {"data": {"a/b": ""}},
        "data[a/b]: Invalid value: \"a/b\": a valid config key must consist of alphanumeric characters, '-', '_' or "
        "'.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
    ),
    "a key is text or bytes": (
        "ConfigMap",
        {"data": {"a": ""}, "binaryData": {"a": ""}},
        'data[a]: Invalid value: "a": duplicate of key present in binaryData',
    ),
    "a certificate has a key": (
        "Secret",
        {"type": "kubernetes.io/tls", "data": {"tls.crt": ""}},
        "data[tls.key]: Required value",
    ),
}


@pytest.mark.parametrize(("kind", "fields", "message"), DATA.values(), ids=DATA.keys())
def test_data_is_refused(kind: str, fields: dict[str, Any], message: str) -> None:
    assert problems(made(kind, **fields)) == [message]


def test_plain_texts_of_a_secret_become_data() -> None:
    stored = created(made("Secret", stringData={"user": "me"}, data={"user": "", "other": "eA=="}))[0]
    assert stored["data"] == {"user": base64.b64encode(b"me").decode(), "other": "eA=="}
    assert "stringData" not in stored
    assert stored["type"] == "Opaque"


def test_the_type_of_a_secret_and_what_is_immutable_stay() -> None:
    secret = created(made("Secret"))[0]
    assert updated(made("Secret", type="a/b"), secret)[1] == ['type: Invalid value: "a/b": field is immutable']
    fixed = created(made("ConfigMap", data={"a": "1"}, immutable=True))[0]
    assert updated(made("ConfigMap", data={"a": "2"}), fixed)[1] == [
        "immutable: Forbidden: field is immutable when `immutable` is set",
        "data: Forbidden: field is immutable when `immutable` is set",
    ]


def test_the_status_of_a_new_object_is_not_its_authors_to_write() -> None:
    for kind in ("Deployment", "ReplicaSet", "DaemonSet", "Ingress"):
        assert created(made(kind, {}, status={"replicas": 3}))[0]["status"] == {}


def test_a_write_to_the_status_changes_the_status_only() -> None:
    old = made("Deployment", {"replicas": 1}, status={"replicas": 1})
    new = made("Deployment", {"replicas": 9}, status={"replicas": 2})
    BY_KIND["Deployment"].prepare_status(new, old)
    assert (new["spec"], new["status"]) == ({"replicas": 1}, {"replicas": 2})


def test_a_node_registers_with_its_status() -> None:
    stored = created(made("Node", {}, status={"capacity": {"cpu": "2"}}))[0]
    assert stored["status"] == {"capacity": {"cpu": "2"}, "allocatable": {"cpu": "2"}}


def test_a_node_keeps_its_range() -> None:
    old = made("Node", {"podCIDR": "10.244.1.0/24"})
    assert updated(made("Node", {"podCIDR": "10.244.2.0/24"}), old)[1] == [
        'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid'
    ]
