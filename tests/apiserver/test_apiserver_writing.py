"""Create, update, patch: what is kept, what is refused, and in which words."""

from typing import Any

import pytest
from apiservers import Api

CM = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SERVICES = "/api/v1/namespaces/default/services"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"


def cm(name: str = "x", **data: str) -> Any:
    return {"metadata": {"name": name}, "data": data}


def deployment(image: str = "nginx", **spec: Any) -> Any:
    labels = {"app": "web"}
    return {
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
            **spec,
        },
    }


async def test_a_created_object_has_what_the_server_gives(api: Api) -> None:
    sent = cm(a="b")
    sent["metadata"] |= {"uid": "mine", "resourceVersion": "", "managedFields": [{"manager": "m"}]}
    made = await api("POST", CM, sent)
    metadata = made.json["metadata"]
    assert made.status == 201
    assert list(made.json)[:3] == ["kind", "apiVersion", "metadata"]
    assert metadata["namespace"] == "default"
    assert len(metadata["uid"]) == 36
    assert metadata["resourceVersion"].isdecimal()
    assert "managedFields" not in metadata
    assert (await api("GET", f"{CM}/x")).json == made.json


async def test_a_name_that_is_taken_is_a_conflict(api: Api) -> None:
    await api("POST", CM, cm())
    again = await api("POST", CM, cm())
    assert (again.status, again.json["reason"]) == (409, "AlreadyExists")
    assert again.json["message"] == 'configmaps "x" already exists'


async def test_a_generated_name_is_prefix_and_five_letters(api: Api) -> None:
    made = await api("POST", CM, {"metadata": {"generateName": "x" * 70}})
    name = made.json["metadata"]["name"]
    assert (len(name), name[:58]) == (63, "x" * 58)
    assert (await api("POST", CM, {"metadata": {}})).status == 422


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        (CM, {"metadata": {"name": "x", "namespace": "other"}}, 400, "does not match the namespace sent"),
        ("/api/v1/namespaces/nowhere/configmaps", cm(), 404, 'namespaces "nowhere" not found'),
        (CM, {"kind": "Secret", **cm()}, 400, "Secret"),
        (CM, {"apiVersion": "v2", **cm()}, 400, "the API version in the data (v2) does not match"),
        (CM, b"{", 400, "not valid JSON"),
        (CM, b"[]", 400, "one object"),
        (CM, {"metadata": {"name": "x"}, "data": {"a": 1}}, 400, "cannot be handled as a ConfigMap"),
        (f"{CM}/x", cm(), 405, "does not allow this method"),
    ],
)
async def test_a_create_that_makes_no_sense_is_refused(
    api: Api, path: str, body: Any, status: int, message: str
) -> None:
    refused = await api("POST", path, body)
    assert refused.status == status, refused
    assert message in refused.json["message"]


async def test_a_terminating_namespace_takes_nothing_new(api: Api) -> None:
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "going"}})
    gone = await api("DELETE", "/api/v1/namespaces/going")
    assert gone.json["status"]["phase"] == "Terminating"
    refused = await api("POST", "/api/v1/namespaces/going/configmaps", cm())
    assert refused.status == 403
    assert refused.json["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    assert "because it is being terminated" in refused.json["message"]


async def test_a_dry_run_leaves_nothing(api: Api) -> None:
    before = api.server.store.revision
    made = await api("POST", f"{SERVICES}?dryRun=All", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    assert made.status == 201
    assert made.json["spec"]["clusterIP"].startswith("10.96.")
    assert (await api("GET", f"{SERVICES}/s")).status == 404
    assert api.server.store.revision == before


async def test_an_update_from_an_old_state_is_a_conflict(api: Api) -> None:
    old = (await api("POST", CM, cm(a="1"))).json
    new = (await api("PUT", f"{CM}/x", {**old, "data": {"a": "2"}})).json
    assert int(new["metadata"]["resourceVersion"]) > int(old["metadata"]["resourceVersion"])
    refused = await api("PUT", f"{CM}/x", {**old, "data": {"a": "3"}})
    assert (refused.status, refused.json["reason"]) == (409, "Conflict")
    assert refused.json["message"].startswith('Operation cannot be fulfilled on configmaps "x": the object has been')
    del old["metadata"]["resourceVersion"]
    assert (await api("PUT", f"{CM}/x", {**old, "data": {"a": "3"}})).status == 200


async def test_an_update_that_changes_nothing_keeps_the_revision(api: Api) -> None:
    made = (await api("POST", CM, cm(a="1"))).json
    again = (await api("PUT", f"{CM}/x", cm(a="1"))).json
    assert again == made
    assert (await api("PATCH", f"{CM}/x", {"data": {"a": "1"}}, kind=MERGE)).json == made


async def test_an_update_cannot_move_or_rename(api: Api) -> None:
    await api("POST", CM, cm())
    assert "does not match the name on the URL" in (await api("PUT", f"{CM}/x", cm("y"))).json["message"]
    assert (await api("PUT", f"{CM}/nope", cm("nope"))).status == 404
    made = await api("PUT", f"{SERVICES}/s", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    assert made.status == 201


async def test_the_generation_counts_changes_of_the_spec_only(api: Api) -> None:
    await api("POST", DEPLOYMENTS, deployment())
    path = f"{DEPLOYMENTS}/web"

    async def generation(patch: Any, below: str = "") -> int:
        return (await api("PATCH", path + below, patch, kind=MERGE)).json["metadata"]["generation"]

    assert await generation({"metadata": {"labels": {"a": "b"}}}) == 1
    assert await generation({"spec": {"replicas": 3}}) == 2
    assert await generation({"status": {"replicas": 3}}, "/status") == 2


async def test_status_and_the_rest_are_written_apart(api: Api) -> None:
    await api("POST", DEPLOYMENTS, {**deployment(), "status": {"replicas": 9}})
    path = f"{DEPLOYMENTS}/web"
    assert "replicas" not in (await api("GET", path)).json["status"]
    both = {"spec": {"replicas": 5}, "status": {"replicas": 4}}
    main = (await api("PATCH", path, both, kind=MERGE)).json
    assert (main["spec"]["replicas"], main["status"].get("replicas")) == (5, None)
    both = {"spec": {"replicas": 7}, "status": {"replicas": 4}}
    status = (await api("PATCH", f"{path}/status", both, kind=MERGE)).json
    assert (status["spec"]["replicas"], status["status"]["replicas"]) == (5, 4)


async def test_a_json_patch_applies_and_fails_whole(api: Api) -> None:
    await api("POST", CM, cm(a="1"))
    good = [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "add", "path": "/data/b", "value": "2"}]
    assert (await api("PATCH", f"{CM}/x", good, kind=JSON_PATCH)).json["data"] == {"a": "1", "b": "2"}
    bad = [{"op": "remove", "path": "/data/a"}, {"op": "test", "path": "/data/b", "value": "no"}]
    assert (await api("PATCH", f"{CM}/x", bad, kind=JSON_PATCH)).status == 422
    assert (await api("PATCH", f"{CM}/x", [{"op": "remove", "path": "/no/way"}], kind=JSON_PATCH)).status == 422
    assert (await api("PATCH", f"{CM}/x", [{"op": "dance"}], kind=JSON_PATCH)).status == 400
    assert (await api("GET", f"{CM}/x")).json["data"] == {"a": "1", "b": "2"}


async def test_a_strategic_patch_merges_containers_by_name(api: Api) -> None:
    await api("POST", DEPLOYMENTS, deployment())
    added = [{"name": "side", "image": "busybox"}, {"name": "web", "image": "nginx:2"}]
    patch = {"spec": {"template": {"spec": {"containers": added}}}}
    answer = await api("PATCH", f"{DEPLOYMENTS}/web", patch, kind=STRATEGIC)
    containers = answer.json["spec"]["template"]["spec"]["containers"]
    assert {(each["name"], each["image"]) for each in containers} == {("web", "nginx:2"), ("side", "busybox")}


async def test_a_patch_with_an_old_revision_is_a_conflict(api: Api) -> None:
    old = (await api("POST", CM, cm(a="1"))).json["metadata"]["resourceVersion"]
    await api("PATCH", f"{CM}/x", {"data": {"a": "2"}}, kind=MERGE)
    patch = {"metadata": {"resourceVersion": old}, "data": {"a": "3"}}
    assert (await api("PATCH", f"{CM}/x", patch, kind=MERGE)).status == 409


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("POST", "application/cbor"),
        ("PATCH", "application/json"),
    ],
)
async def test_bodies_of_other_types_are_415(api: Api, method: str, kind: str) -> None:
    await api("POST", CM, cm())
    refused = await api(method, CM if method == "POST" else f"{CM}/x", b"k8s\0", kind=kind)
    assert (refused.status, refused.json["reason"]) == (415, "UnsupportedMediaType")
    assert kind in refused.json["message"]


async def test_yaml_bodies_are_read(api: Api) -> None:
    made = await api("POST", CM, b"metadata:\n  name: y\ndata:\n  a: b\n", kind="application/yaml")
    assert made.json["data"] == {"a": "b"}


async def test_unknown_and_doubled_fields_are_dropped_warned_of_or_refused(api: Api) -> None:
    body = b'{"metadata":{"name":"x"},"data":{"a":"1","a":"2"},"foo":1}'
    dry = f"{CM}?dryRun=All&fieldValidation="
    strict = await api("POST", dry + "Strict", body)
    assert strict.status == 400
    assert strict.json["message"] == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: '
        'duplicate field "data.a", unknown field "foo"'
    )
    warned = await api("POST", dry + "Warn", body)
    assert warned.headers["Warning"] == r'299 - "duplicate field \"data.a\"", 299 - "unknown field \"foo\""'
    assert "foo" not in warned.json
    ignored = await api("POST", dry + "Ignore", body)
    assert "Warning" not in ignored.headers
    assert (await api("POST", dry + "Maybe", body)).status == 422


async def test_several_faults_are_told_together(api: Api) -> None:
    body = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 0}, {"port": 99999}]}}
    refused = await api("POST", SERVICES, body)
    assert refused.status == 422
    assert refused.json["message"].startswith('Service "s" is invalid: [spec.ports[0].')
    assert len(refused.json["details"]["causes"]) >= 2
    assert refused.json["details"]["kind"] == "Service"


async def test_addresses_of_services_are_given_back(api: Api) -> None:
    body = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "clusterIP": "10.96.0.77"}}
    assert (await api("POST", SERVICES, body)).status == 201
    other = {**body, "metadata": {"name": "t"}}
    refused = await api("POST", SERVICES, other)
    assert "provided IP is already allocated" in refused.json["message"]
    await api("DELETE", f"{SERVICES}/s")
    assert (await api("POST", SERVICES, other)).status == 201
