"""Kinds that users define: served at once, pruned, defaulted, judged, in several versions, gone with their objects."""

import copy
from typing import Any

import pytest
from apiservers import Api, lines

from fairlead.cluster.apiserver.custom.jsonpaths import find, parse_path
from fairlead.cluster.apiserver.custom.serving import version_order
from fairlead.cluster.apiserver.custom.structural import fill_defaults, judge, prune

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TABS = "/apis/example.com/v1/namespaces/default/tabs"
OLD_TABS = "/apis/example.com/v1beta1/namespaces/default/tabs"
MERGE = "application/merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"

SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["when"],
    "properties": {
        "when": {"type": "string", "pattern": "^[0-9*]", "maxLength": 9},
        "image": {"type": "string", "default": "nginx"},
        "replicas": {"type": "integer", "minimum": 1, "default": 1},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "port": {"x-kubernetes-int-or-string": True},
        "mode": {"type": "string", "enum": ["a", "b"]},
        "rows": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["id"],
            "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}},
        },
    },
}
ROOT: dict[str, Any] = {
    "type": "object",
    "properties": {"spec": SPEC, "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}}},
}


def definition() -> dict[str, Any]:
    """Return a definition of two versions, with both subresources and a column."""
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return copy.deepcopy(
        {
            "metadata": {"name": "tabs.example.com"},
            "spec": {
                "group": "example.com",
                "scope": "Namespaced",
                "names": {"plural": "tabs", "kind": "Tab", "shortNames": ["tb"]},
                "versions": [
                    {"name": "v1beta1", "served": True, "storage": False, "schema": {"openAPIV3Schema": free}},
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": ROOT},
                        "subresources": {
                            "status": {},
                            "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                        },
                        "additionalPrinterColumns": [
                            {"name": "When", "type": "string", "jsonPath": ".spec.when"},
                            {"name": "Rows", "type": "string", "jsonPath": ".spec.rows"},
                        ],
                    },
                ],
            },
        }
    )


def tab(name: str = "x", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"when": "*", **spec}}


@pytest.fixture
async def defined(api: Api) -> Api:
    made = await api("POST", CRDS, definition())
    assert made.status == 201, made
    return api


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({}, ["when: Required value"]),
        ({"when": 3}, ['when: Invalid value: "integer": when in body must be of type string: "integer"']),
        ({"when": "x"}, ["when: Invalid value: \"x\": when in body should match '^[0-9*]'"]),
        ({"when": "*" * 10}, ["when: Too long: may not be more than 9 bytes"]),
        (
            {"when": "*", "replicas": 0},
            ["replicas: Invalid value: 0: replicas in body should be greater than or equal to 1"],
        ),
        ({"when": "*", "mode": "c"}, ['mode: Unsupported value: "c": supported values: "a", "b"']),
        (
            {"when": "*", "port": []},
            ['port: Invalid value: "array": port in body must be of type integer,string: "array"'],
        ),
        ({"when": "*", "rows": [{"id": "a"}, {"id": "a"}]}, ['rows[1]: Duplicate value: {"id":"a"}']),
        ({"when": "*", "port": "http", "free": {"a": [1]}}, []),
    ],
)
def test_values_are_judged_in_upstreams_words(value: Any, told: list[str]) -> None:
    assert [str(error) for error in judge(SPEC, value)] == told


def test_unknown_fields_are_dropped_and_named_and_free_ones_kept() -> None:
    document: Any = {
        "kind": "Tab",
        "metadata": {"name": "x", "nmae": "y"},
        "spec": {"when": "*", "wen": 1, "free": {"a": {"b": 1}}, "rows": [{"id": "a", "x": 1}]},
    }
    found = prune(ROOT, document)
    assert found == [f'unknown field "{each}"' for each in ("spec.wen", "spec.rows[0].x", "metadata.nmae")]
    assert document["spec"] == {"when": "*", "free": {"a": {"b": 1}}, "rows": [{"id": "a"}]}


def test_defaults_stand_in_for_what_is_missing_or_null() -> None:
    spec: Any = {"when": "*", "image": None, "mode": None}
    fill_defaults(SPEC, spec)
    assert spec == {"when": "*", "image": "nginx", "replicas": 1}


def test_json_paths_of_columns() -> None:
    document: Any = {"a": {"b.c": [1, 2]}, "conditions": [{"type": "X", "status": "1"}, {"type": "Y", "status": "2"}]}
    assert find(".a['b.c'][-1]", document) == 2
    assert find('.conditions[?(@.type=="Y")].status', document) == "2"
    assert find(".a.none.deeper", document) is None
    assert parse_path("..a") is None


def test_versions_sort_by_how_stable_they_are() -> None:
    names = ["v1alpha1", "v1", "foo", "v2beta1", "v10", "v2beta10"]
    assert sorted(names, key=version_order) == ["v10", "v1", "v2beta10", "v2beta1", "v1alpha1", "foo"]


async def test_a_definition_is_served_from_the_next_request_on(defined: Api) -> None:
    stored = await defined("GET", f"{CRDS}/tabs.example.com")
    assert {each["type"]: each["status"] for each in stored.json["status"]["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    made = await defined("POST", TABS, tab(extra=1))
    assert (made.status, made.json["spec"]) == (201, {"when": "*", "image": "nginx", "replicas": 1})
    assert "unknown field" in made.headers["Warning"]
    assert (await defined("POST", f"{TABS}?fieldValidation=Strict", tab("y", extra=1))).status == 400
    refused = await defined("POST", TABS, tab("y", replicas=0))
    assert refused.status == 422
    assert refused.json["message"].startswith('Tab.example.com "y" is invalid: spec.replicas: Invalid value: 0')
    groups = (await defined("GET", "/apis/example.com")).json
    assert groups["preferredVersion"]["version"] == "v1"
    assert [each["name"] for each in (await defined("GET", "/apis/example.com/v1")).json["resources"]] == [
        "tabs",
        "tabs/status",
        "tabs/scale",
    ]
    index = (await defined("GET", "/openapi/v3")).json["paths"]["apis/example.com/v1"]["serverRelativeURL"]
    schemas = (await defined("GET", index)).json["components"]["schemas"]
    assert schemas["com.example.v1.Tab"]["properties"]["spec"]["required"] == ["when"]
    rows = (await defined("GET", TABS, accept=TABLE)).json
    assert [column["name"] for column in rows["columnDefinitions"]] == ["Name", "When", "Rows"]
    assert rows["rows"][0]["cells"] == ["x", "*", None]
    await defined("POST", TABS, tab("y", rows=[{"id": "a"}]))
    rows = (await defined("GET", TABS, accept=TABLE)).json
    assert rows["rows"][1]["cells"] == ["y", "*", '[{"id":"a"}]']


async def test_status_and_scale_are_subresources(defined: Api) -> None:
    made = await defined("POST", TABS, {**tab(), "status": {"replicas": 9}})
    assert "status" not in made.json
    patched = await defined(
        "PATCH", f"{TABS}/x/status", {"status": {"replicas": 2}, "spec": {"replicas": 8}}, kind=MERGE
    )
    assert (patched.json["status"], patched.json["spec"]["replicas"]) == ({"replicas": 2}, 1)
    assert patched.json["metadata"]["generation"] == 1
    scaled = await defined("PATCH", f"{TABS}/x/scale", {"spec": {"replicas": 4}}, kind=MERGE)
    assert (scaled.json["spec"], scaled.json["status"]) == ({"replicas": 4}, {"replicas": 2})
    assert (await defined("GET", f"{TABS}/x")).json["metadata"]["generation"] == 2


async def test_versions_share_their_objects(defined: Api) -> None:
    await defined("POST", OLD_TABS, tab("old"))
    shown = (await defined("GET", f"{TABS}/old")).json
    assert (shown["apiVersion"], shown["metadata"]["name"]) == ("example.com/v1", "old")
    listed = (await defined("GET", OLD_TABS)).json
    assert [each["apiVersion"] for each in listed["items"]] == ["example.com/v1beta1"]
    patched = await defined("PATCH", f"{OLD_TABS}/old", {"metadata": {"labels": {"a": "b"}}}, kind=MERGE)
    assert patched.json["apiVersion"] == "example.com/v1beta1"
    stream = await defined.watch(OLD_TABS)
    (event,) = await lines(stream, 1)
    assert event["object"]["apiVersion"] == "example.com/v1beta1"
    stream.close()


async def test_strategic_patches_are_not_for_custom_resources(defined: Api) -> None:
    await defined("POST", TABS, tab())
    refused = await defined("PATCH", f"{TABS}/x", {}, kind="application/strategic-merge-patch+json")
    assert refused.status == 415
    applied = await defined(
        "PATCH",
        f"{TABS}/x?fieldManager=m",
        {**tab(rows=[{"id": "a"}]), "apiVersion": "example.com/v1", "kind": "Tab"},
        kind="application/apply-patch+yaml",
    )
    assert applied.json["spec"]["rows"] == [{"id": "a"}]


async def test_a_definition_takes_its_objects_along_and_waits_for_their_finalizers(defined: Api) -> None:
    held = tab("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await defined("POST", TABS, tab())
    await defined("POST", TABS, held)
    assert (await defined("DELETE", f"{CRDS}/tabs.example.com")).json["metadata"]["deletionTimestamp"]
    left = (await defined("GET", TABS)).json["items"]
    assert [each["metadata"]["name"] for each in left] == ["held"]
    await defined("PATCH", f"{TABS}/held", {"metadata": {"finalizers": None}}, kind=MERGE)
    assert (await defined("GET", f"{CRDS}/tabs.example.com")).status == 404
    assert (await defined("GET", TABS)).status == 404
    assert (await defined("GET", "/apis/example.com")).status == 404


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("spec", "group"), "other.com", 'metadata.name: Invalid value: "tabs.example.com": must be spec.names.plural'),
        (
            ("spec", "scope"),
            "World",
            'spec.scope: Unsupported value: "World": supported values: "Cluster", "Namespaced"',
        ),
        (("spec", "conversion"), {"strategy": "Webhook"}, 'spec.conversion.strategy: Unsupported value: "Webhook"'),
        (("spec", "versions", 0, "storage"), True, "must have exactly one version marked as storage version"),
        (("spec", "versions", 0, "schema"), None, "spec.versions[0].schema.openAPIV3Schema: Required value"),
        (
            ("spec", "versions", 1, "schema", "openAPIV3Schema", "properties", "spec", "properties", "when", "type"),
            "",
            "properties[when].type: Required value: must not be empty for specified object fields",
        ),
        (
            ("spec", "versions", 1, "schema", "openAPIV3Schema", "x-kubernetes-validations"),
            [{"rule": "true"}],
            "x-kubernetes-validations: Forbidden: rules in CEL are not carried out by this server",
        ),
    ],
)
async def test_bad_definitions_are_refused(api: Api, place: tuple[Any, ...], value: Any, told: str) -> None:
    bad = definition()
    *way, last = place
    at: Any = bad
    for step in way:
        at = at[step]
    at[last] = value
    refused = await api("POST", CRDS, bad)
    assert refused.status == 422, refused
    assert told in refused.json["message"]
