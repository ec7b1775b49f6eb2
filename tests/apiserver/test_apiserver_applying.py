"""Server-side apply: who owns which field, conflicts, and what goes when nobody wants it any more."""

import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest
from apiservers import Answer, Api

from fairlead.cluster.apiserver.ownership.leaves import leaves_of, merge
from fairlead.cluster.apiserver.ownership.managers import decode_managed, encode_managed, path_text
from fairlead.cluster.apiserver.ownership.shapes import shape_of_schema, shape_of_type

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
DEPLOYMENT = "/apis/apps/v1/namespaces/default/deployments/web"
CM = "/api/v1/namespaces/default/configmaps"
POD = shape_of_type("io.k8s.api.core.v1.PodSpec")
SERVICE = shape_of_type("io.k8s.api.core.v1.ServiceSpec")

WEB: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "nginx", "env": [{"name": "A", "value": "1"}]}]},
        },
    },
}


async def apply(api: Api, path: str, document: Any, manager: str = "kubectl", more: str = "") -> Answer:
    return await api("PATCH", f"{path}?fieldManager={manager}{more}", document, kind=APPLY)


def changed(**spec: Any) -> dict[str, Any]:
    return {**WEB, "spec": {**WEB["spec"], **spec}}


def cm(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": data}


def managers(answer: Answer) -> dict[str, Any]:
    return {each["manager"]: each["fieldsV1"] for each in answer.json["metadata"].get("managedFields", [])}


def test_lists_are_taken_apart_by_their_keys() -> None:
    spec: dict[str, Any] = {"containers": [{"name": "a", "ports": [{"containerPort": 80}]}], "nodeSelector": {"x": "y"}}
    texts = [path_text(path) for path in leaves_of(POD, spec)]
    assert texts == [
        '.containers[name="a"]',
        '.containers[name="a"].name',
        '.containers[name="a"].ports[containerPort=80,protocol="TCP"]',
        '.containers[name="a"].ports[containerPort=80,protocol="TCP"].containerPort',
        ".nodeSelector",
    ]


def test_ports_of_two_protocols_are_two_items() -> None:
    live: Any = {"ports": [{"port": 53, "protocol": "TCP", "nodePort": 30000}]}
    applied: Any = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    assert merge(SERVICE, live, applied) == {
        "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP", "nodePort": 30000}]
    }


def test_schemas_of_custom_resources_say_how_lists_merge() -> None:
    rows: dict[str, Any] = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]}
    rows["items"] = {"type": "object"}
    shape = shape_of_schema({"type": "object", "properties": {"rows": rows, "tags": {"type": "array"}}})
    live: Any = {"rows": [{"id": 1, "a": 1}], "tags": ["x"]}
    assert merge(shape, live, {"rows": [{"id": 1, "b": 2}, {"id": 2}], "tags": ["y"]}) == {
        "rows": [{"id": 1, "a": 1, "b": 2}, {"id": 2}],
        "tags": ["y"],
    }


def test_managed_fields_come_back_as_they_were() -> None:
    entry: Any = {
        "manager": "kubectl",
        "operation": "Update",
        "apiVersion": "v1",
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:spec": {'k:{"name":"x"}': {".": {}, "f:i": {}}},
        },
    }
    assert encode_managed(decode_managed([entry, {}, {"manager": "broken"}])) == [entry]


async def test_applying_creates_and_applying_again_changes_nothing(api: Api) -> None:
    first = await apply(api, DEPLOYMENT, WEB)
    assert first.status == 201, first
    again = await apply(api, DEPLOYMENT, WEB)
    assert (again.status, again.json["metadata"]) == (200, first.json["metadata"])
    assert managers(first)["kubectl"]["f:spec"]["f:replicas"] == {}


async def test_a_change_of_what_another_applied_is_a_conflict_unless_forced(api: Api) -> None:
    await apply(api, DEPLOYMENT, WEB)
    refused = await apply(api, DEPLOYMENT, changed(replicas=4), "other")
    assert (refused.status, refused.json["reason"]) == (409, "Conflict")
    assert refused.json["message"] == 'Apply failed with 1 conflict: conflict with "kubectl": .spec.replicas'
    assert refused.json["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl"', "field": ".spec.replicas"}
    ]
    forced = await apply(api, DEPLOYMENT, changed(replicas=4), "other", "&force=true")
    assert forced.json["spec"]["replicas"] == 4
    assert "f:replicas" not in managers(forced)["kubectl"]["f:spec"]
    assert (await apply(api, DEPLOYMENT, changed(replicas=4), "third")).status == 200  # the same value is shared


async def test_a_conflict_names_the_version_of_an_updater(api: Api) -> None:
    await api("POST", CM, cm(a="1"), headers={"User-Agent": "robot/1.0 (x)"})
    refused = await apply(api, f"{CM}/x", cm(a="2"))
    assert refused.json["message"] == 'Apply failed with 1 conflict: conflict with "robot" using v1: .data.a'


async def test_several_conflicts_are_told_by_manager(api: Api) -> None:
    await apply(api, f"{CM}/x", cm(a="1", b="1"), "first")
    refused = await apply(api, f"{CM}/x", cm(a="2", b="2"), "second")
    assert refused.json["message"] == 'Apply failed with 2 conflicts: conflicts with "first":\n- .data.a\n- .data.b'


async def test_what_a_manager_applies_no_longer_goes_unless_others_want_it(api: Api) -> None:
    await apply(api, f"{CM}/x", cm(a="1", b="1", c="1"), "first")
    await apply(api, f"{CM}/x", cm(b="1"), "second")
    left = await apply(api, f"{CM}/x", cm(c="1"), "first")
    assert left.json["data"] == {"b": "1", "c": "1"}
    without_env = copy.deepcopy(WEB)
    await apply(api, DEPLOYMENT, WEB)
    del without_env["spec"]["template"]["spec"]["containers"][0]["env"]
    del without_env["spec"]["replicas"]
    applied = await apply(api, DEPLOYMENT, without_env)
    assert "env" not in applied.json["spec"]["template"]["spec"]["containers"][0]
    assert applied.json["spec"]["replicas"] == 1  # defaulted again


async def test_updates_take_fields_over(api: Api) -> None:
    await apply(api, f"{CM}/x", cm(a="1", b="1"), "first")
    patched = await api("PATCH", f"{CM}/x?fieldManager=hand", {"data": {"a": "2"}}, kind=MERGE)
    assert managers(patched)["hand"] == {"f:data": {"f:a": {}}}
    assert managers(patched)["first"] == {"f:data": {"f:b": {}}}
    gone = await apply(api, f"{CM}/x", cm(), "first")
    assert gone.json["data"] == {"a": "2"}


async def test_scaling_takes_the_replicas_over(api: Api) -> None:
    await apply(api, DEPLOYMENT, WEB)
    await api("PATCH", f"{DEPLOYMENT}/scale?fieldManager=scaler", {"spec": {"replicas": 9}}, kind=MERGE)
    refused = await apply(api, DEPLOYMENT, WEB)
    assert 'conflict with "scaler" with subresource "scale" using apps/v1: .spec.replicas' in refused.json["message"]
    rest = {**WEB, "spec": {key: value for key, value in WEB["spec"].items() if key != "replicas"}}
    assert (await apply(api, DEPLOYMENT, rest)).json["spec"]["replicas"] == 9


async def test_our_own_components_stay_off_objects_without_managers(api: Api) -> None:
    made = await api("POST", CM, cm(a="1"), headers={"User-Agent": "fairlead"})
    assert "managedFields" not in made.json["metadata"]
    refused = await apply(api, f"{CM}/x", cm(a="2"))
    assert refused.json["message"].endswith('conflict with "before-first-apply" using v1: .data.a')


async def test_kubectl_takes_over_what_it_applied_on_the_clients_side(api: Api) -> None:
    first = cm(a="1")
    annotations: Mapping[str, str] = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(first)}
    await api(
        "POST",
        f"{CM}?fieldManager=kubectl-client-side-apply",
        {**first, "metadata": {"name": "x", "annotations": annotations}},
    )
    assert (await apply(api, f"{CM}/x", cm(a="2"))).json["data"] == {"a": "2"}


async def test_managers_can_be_written_by_hand_and_reset(api: Api) -> None:
    await apply(api, f"{CM}/x", cm(a="1"), "first")
    reset = await api("PATCH", f"{CM}/x", {"metadata": {"managedFields": [{}]}}, kind=MERGE)
    assert managers(reset) == {}


@pytest.mark.parametrize(
    ("query", "body", "status", "told"),
    [
        ("", cm(a="1"), 422, "fieldManager: Required value: is required for apply patch"),
        ("?fieldManager=m", {**cm(), "kind": "Secret"}, 400, "is of kind Secret"),
        (
            "?fieldManager=m",
            {**cm(), "metadata": {"name": "x", "managedFields": [{"manager": "m"}]}},
            400,
            "metadata.managedFields must be nil",
        ),
        ("?fieldManager=m&fieldValidation=Strict", {**cm(), "dada": {}}, 400, 'unknown field "dada"'),
    ],
)
async def test_bad_applies_are_refused(api: Api, query: str, body: Any, status: int, told: str) -> None:
    refused = await api("PATCH", f"{CM}/x{query}", body, kind=APPLY)
    assert refused.status == status
    assert told in refused.json["message"]


async def test_a_dry_run_of_an_apply_keeps_nothing(api: Api) -> None:
    assert (await apply(api, f"{CM}/x", cm(a="1"), more="&dryRun=All")).status == 201
    assert (await api("GET", f"{CM}/x")).status == 404
