"""OpenAPI v3: what kubectl looks up there before it applies, patches or explains."""

from typing import Any

import msgspec
import pytest

from fairlead.cluster.apiserver.kinds.openapi import openapi_hash, openapi_index, openapi_paths, openapi_v3
from fairlead.cluster.apiserver.kinds.table import KINDS


def document(path: str) -> Any:
    body = openapi_v3(path)
    assert body is not None
    return msgspec.json.decode(body)


def test_the_index_names_each_document_with_its_hash() -> None:
    index = msgspec.json.decode(openapi_index({}))["paths"]
    assert set(index) == set(openapi_paths())
    assert index["apis/apps/v1"]["serverRelativeURL"] == (
        f"/openapi/v3/apis/apps/v1?hash={openapi_hash('apis/apps/v1')}"
    )


def test_what_is_not_served_has_no_document() -> None:
    assert openapi_v3("apis/batch/v2alpha1") is None


@pytest.mark.parametrize("path", openapi_paths())
def test_every_reference_leads_somewhere(path: str) -> None:
    found = document(path)
    names = {f"#/components/schemas/{name}" for name in found["components"]["schemas"]}
    assert set(references(found)) <= names


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [each for inner in value.values() for each in references(inner)]
    if isinstance(value, list):
        return [each for inner in value for each in references(inner)]
    return []


@pytest.mark.parametrize("spec", [kind for kind in KINDS if "patch" in kind.verbs], ids=lambda spec: spec.singular)
def test_a_patch_says_its_kind_and_takes_strategic_merges_and_field_validation(spec: Any) -> None:
    resource = spec.resource
    root = f"apis/{resource.group}/{resource.version}" if resource.group else f"api/{resource.version}"
    within = f"/{root}/namespaces/{{namespace}}" if resource.namespaced else f"/{root}"
    patch = document(root)["paths"][f"{within}/{resource.plural}/{{name}}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {
        "group": resource.group,
        "version": resource.version,
        "kind": resource.kind,
    }
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    assert "application/strategic-merge-patch+json" in patch["requestBody"]["content"]


def test_schemas_carry_kinds_and_the_keys_of_both_merges() -> None:
    schemas = document("api/v1")["components"]["schemas"]
    assert schemas["io.k8s.api.core.v1.Pod"]["x-kubernetes-group-version-kind"] == [
        {"group": "", "kind": "Pod", "version": "v1"}
    ]
    ports = schemas["io.k8s.api.core.v1.ServiceSpec"]["properties"]["ports"]
    assert ports["x-kubernetes-patch-merge-key"] == "port"
    assert ports["x-kubernetes-patch-strategy"] == "merge"
    assert ports["x-kubernetes-list-map-keys"] == ["port", "protocol"]
    assert ports["x-kubernetes-list-type"] == "map"
    volumes = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["volumes"]
    assert volumes["x-kubernetes-patch-strategy"] == "merge,retainKeys"
    assert schemas["io.k8s.api.core.v1.PodSpec"]["required"] == ["containers"]


def test_scale_is_described_where_deployments_are() -> None:
    found = document("apis/apps/v1")
    scale = found["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["patch"]
    assert scale["x-kubernetes-group-version-kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert "io.k8s.api.autoscaling.v1.Scale" in found["components"]["schemas"]


def test_kinds_and_their_main_parts_are_explained() -> None:
    for path in openapi_paths():
        schemas = document(path)["components"]["schemas"]
        for name, schema in schemas.items():
            if schema.get("x-kubernetes-group-version-kind"):
                assert schema.get("description"), name
