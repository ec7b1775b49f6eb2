"""Are manifests read as kubectl reads them, and do errors say where?"""

import pytest

from fairlead.kube.documents import mapping_at, text_at
from fairlead.kube.yamlcodec import ManifestError, parse_documents

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def test_several_documents_are_read_in_order_and_empty_ones_passed_over() -> None:
    text = f"---\n{CONFIG}---\n# nothing\n---\n{CONFIG.replace('a}', 'b}')}"
    found = parse_documents(text, source="x")
    assert [text_at(document, "metadata", "name") for document in found] == ["a", "b"]


def test_json_is_read_too() -> None:
    (found,) = parse_documents('{"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "\\u00e9"}}', source="x")
    assert mapping_at(found, "data") == {"a": "é"}


def test_a_list_is_taken_apart() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: A}\n- {apiVersion: v1, kind: B}\n"
    assert [text_at(document, "kind") for document in parse_documents(text, source="x")] == ["A", "B"]


@pytest.mark.parametrize(
    ("text", "line", "column", "problem"),
    [
        ("apiVersion: v1\nkind: [\n", 3, 1, "did not find expected node content"),
        ("apiVersion: v1\nkind: A\nkind: B\n", 3, 1, "key 'kind' stands twice"),
        ("apiVersion: v1\nmetadata:\n  name: a\n  name: b\n", 4, 3, "key 'name' stands twice"),
        ("apiVersion: v1\nkind: A\n---\n- a\n", 4, 1, "an object with apiVersion and kind is expected"),
        ("a:\n\tb: 1\n", 2, 1, "found character that cannot start any token"),
        ("---\nkind: A\n", 2, 1, "apiVersion is not set"),
        ("apiVersion: v1\n", 1, 1, "kind is not set"),
    ],
)
def test_an_error_says_where(text: str, line: int, column: int, problem: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_documents(text, source="shop.yaml")
    assert (caught.value.source, caught.value.line, caught.value.column) == ("shop.yaml", line, column)
    assert problem in caught.value.problem


def test_yaml_1_1_is_spoken_and_time_stamps_stay_text() -> None:
    text = CONFIG + "data: {flag: yes, octal: 0644, when: 2020-01-02, at: 2020-01-02T03:04:05Z, on: x}\n"
    (found,) = parse_documents(text, source="x")
    assert mapping_at(found, "data") == {
        "flag": True,
        "octal": 0o644,
        "when": "2020-01-02",
        "at": "2020-01-02T03:04:05Z",
        "true": "x",
    }


def test_anchors_and_merge_keys_are_followed() -> None:
    text = CONFIG + "one: &base {a: x, b: y}\ntwo: {<<: *base, b: z}\n"
    (found,) = parse_documents(text, source="x")
    assert mapping_at(found, "two") == {"a": "x", "b": "z"}


def test_an_old_ingress_comes_out_as_the_new_one() -> None:
    text = """
apiVersion: extensions/v1beta1
kind: Ingress
metadata: {name: old}
spec:
  backend: {serviceName: fallback, servicePort: 80}
  rules:
  - host: a.example
    http:
      paths:
      - path: /bar/*
        backend: {serviceName: bar, servicePort: http}
"""
    (found,) = parse_documents(text, source="x")
    assert found["apiVersion"] == "networking.k8s.io/v1"
    assert mapping_at(found, "spec")["defaultBackend"] == {"service": {"name": "fallback", "port": {"number": 80}}}
    assert mapping_at(found, "spec")["rules"] == [
        {
            "host": "a.example",
            "http": {
                "paths": [
                    {
                        "pathType": "ImplementationSpecific",
                        "path": "/bar/*",
                        "backend": {"service": {"name": "bar", "port": {"name": "http"}}},
                    }
                ]
            },
        }
    ]
