"""Manifests as text: what is read, and where an error is said to be."""

import pytest

from fairlead.kube.yamlcodec import ManifestError, parse_documents

HEAD = "apiVersion: v1\nkind: ConfigMap\n"


@pytest.mark.parametrize(
    ("text", "line", "column", "problem"),
    [
        (HEAD + "metadata: {name: x\ndata: {}\n", 4, 5, "expected ',' or '}'"),
        (HEAD + "kind: Secret\n", 3, 1, "key 'kind' stands twice"),
        ("- a\n- b\n", 1, 1, "an object with apiVersion and kind is expected"),
        (HEAD + "---\nkind: Pod\n", 4, 1, "apiVersion is not set"),
        (HEAD + "---\napiVersion: v1\n", 4, 1, "kind is not set"),
        (HEAD + "data: !!python/object:os.system {}\n", 3, 7, "could not determine a constructor"),
        ("{", 2, 1, "did not find expected node content"),
    ],
)
def test_an_error_names_line_and_column(text: str, line: int, column: int, problem: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_documents(text, source="shop.yaml")
    assert (caught.value.line, caught.value.column) == (line, column)
    assert problem in caught.value.problem
    assert str(caught.value).startswith(f"shop.yaml, line {line}, column {column}: ")


def test_empty_documents_are_passed_over_and_json_is_yaml() -> None:
    text = "---\n---\n" + HEAD + '---\n{"apiVersion": "v1", "kind": "Secret"}\n---\n# nothing\n'
    assert [d["kind"] for d in parse_documents(text, source="x")] == ["ConfigMap", "Secret"]


def test_lists_are_taken_apart() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod}\n- {apiVersion: v1, kind: Service}\n"
    assert [d["kind"] for d in parse_documents(text, source="x")] == ["Pod", "Service"]


def test_yaml_1_1_is_spoken_and_time_stamps_stay_text() -> None:
    (found,) = parse_documents(HEAD + "a: yes\nb: 2026-01-02\nc: 0o17\n1: x\n", source="x")
    assert (found["a"], found["b"], found["1"]) == (True, "2026-01-02", "x")


def test_merge_keys_and_anchors_work_and_own_keys_win() -> None:
    (found,) = parse_documents(HEAD + "x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\n", source="x")
    assert found["y"] == {"a": 1, "b": 3}


def test_an_old_ingress_comes_out_as_todays() -> None:
    text = """
apiVersion: extensions/v1beta1
kind: Ingress
metadata: {name: old}
spec:
  backend: {serviceName: fallback, servicePort: 80}
  rules:
  - host: a.example
    http: {paths: [{path: /bar/*, backend: {serviceName: bar, servicePort: web}}]}
"""
    (found,) = parse_documents(text, source="x")
    assert found["apiVersion"] == "networking.k8s.io/v1"
    assert found["spec"] == {
        "defaultBackend": {"service": {"name": "fallback", "port": {"number": 80}}},
        "rules": [
            {
                "host": "a.example",
                "http": {
                    "paths": [
                        {
                            "path": "/bar/*",
                            "pathType": "ImplementationSpecific",
                            "backend": {"service": {"name": "bar", "port": {"name": "web"}}},
                        }
                    ]
                },
            }
        ],
    }
