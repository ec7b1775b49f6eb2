"""Delete: grace, finalizers, preconditions, propagation, collections and namespaces."""

from typing import Any

import pytest
from apiservers import Api

CM = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
MERGE = "application/merge-patch+json"


def pod(name: str = "p", **metadata: Any) -> Any:
    return {"metadata": {"name": name, **metadata}, "spec": {"containers": [{"name": "a", "image": "nginx"}]}}


async def bound(api: Api, name: str = "p") -> Any:
    await api("POST", PODS, pod(name))
    answer = await api("POST", f"{PODS}/{name}/binding", {"target": {"kind": "Node", "name": "node-1"}})
    assert answer.status == 201, answer
    return (await api("GET", f"{PODS}/{name}")).json


async def test_an_object_without_ties_is_gone_at_once(api: Api) -> None:
    made = (await api("POST", CM, {"metadata": {"name": "x"}})).json
    gone = (await api("DELETE", f"{CM}/x", {"propagationPolicy": "Background"})).json
    assert gone["status"] == "Success"
    assert gone["details"] == {"name": "x", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    missing = await api("DELETE", f"{CM}/x")
    assert (missing.status, missing.json["message"]) == (404, 'configmaps "x" not found')


async def test_a_bound_pod_ends_with_grace_and_the_kubelet_has_the_last_word(api: Api) -> None:
    uid = (await bound(api))["metadata"]["uid"]
    going = (await api("DELETE", f"{PODS}/p")).json
    assert going["metadata"]["deletionGracePeriodSeconds"] == 30
    assert going["metadata"]["deletionTimestamp"]
    longer = (await api("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 90})).json
    assert longer["metadata"]["resourceVersion"] == going["metadata"]["resourceVersion"]
    shorter = (await api("DELETE", f"{PODS}/p?gracePeriodSeconds=5")).json
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    wrong = await api("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0, "preconditions": {"uid": "other"}})
    assert (wrong.status, wrong.json["reason"]) == (409, "Conflict")
    last = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
    assert (await api("DELETE", f"{PODS}/p", last)).json["kind"] == "Pod"
    assert (await api("GET", f"{PODS}/p")).status == 404


async def test_a_pod_without_a_node_has_no_grace(api: Api) -> None:
    await api("POST", PODS, pod())
    assert (await api("DELETE", f"{PODS}/p")).json["kind"] == "Pod"


async def test_a_finalizer_keeps_an_object_until_it_is_removed(api: Api) -> None:
    await api("POST", CM, {"metadata": {"name": "x", "finalizers": ["example.com/hold"]}})
    going = await api("DELETE", f"{CM}/x")
    assert going.status == 200
    assert going.json["metadata"]["deletionTimestamp"]
    more = {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}
    refused = await api("PATCH", f"{CM}/x", more, kind=MERGE)
    assert "no new finalizers can be added if the object is being deleted" in refused.json["message"]
    freed = await api("PATCH", f"{CM}/x", {"metadata": {"finalizers": None}}, kind=MERGE)
    assert freed.status == 200
    assert (await api("GET", f"{CM}/x")).status == 404


@pytest.mark.parametrize(
    ("options", "finalizers"),
    [
        ({"propagationPolicy": "Foreground"}, ["foregroundDeletion"]),
        ({"propagationPolicy": "Orphan"}, ["orphan"]),
        ({"orphanDependents": True}, ["orphan"]),
    ],
)
async def test_a_policy_leaves_its_mark_for_the_garbage_collector(api: Api, options: Any, finalizers: Any) -> None:
    await api("POST", CM, {"metadata": {"name": "x"}})
    assert (await api("DELETE", f"{CM}/x", options)).json["metadata"]["finalizers"] == finalizers
    assert (await api("DELETE", f"{CM}/x?propagationPolicy=Sideways")).status == 422


async def test_preconditions_on_the_revision_hold(api: Api) -> None:
    await api("POST", CM, {"metadata": {"name": "x"}})
    refused = await api("DELETE", f"{CM}/x", {"preconditions": {"resourceVersion": "1"}})
    assert refused.status == 409
    assert "ResourceVersion in precondition: 1" in refused.json["message"]


async def test_a_dry_run_deletes_nothing(api: Api) -> None:
    await api("POST", CM, {"metadata": {"name": "x"}})
    assert (await api("DELETE", f"{CM}/x?dryRun=All")).json["status"] == "Success"
    assert (await api("DELETE", f"{CM}/x", {"dryRun": ["All"]})).json["status"] == "Success"
    assert (await api("GET", f"{CM}/x")).status == 200


async def test_a_collection_is_deleted_by_selector(api: Api) -> None:
    for name, app in (("a", "web"), ("b", "db"), ("c", "web")):
        await api("POST", CM, {"metadata": {"name": name, "labels": {"app": app}}})
    gone = (await api("DELETE", f"{CM}?labelSelector=app%3Dweb")).json
    assert [each["metadata"]["name"] for each in gone["items"]] == ["a", "c"]
    left = (await api("GET", CM)).json["items"]
    assert [each["metadata"]["name"] for each in left] == ["b"]


async def test_a_namespace_goes_when_it_is_finalized(api: Api) -> None:
    path = "/api/v1/namespaces/n"
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})
    going = (await api("DELETE", path)).json
    assert (going["status"]["phase"], going["spec"]["finalizers"]) == ("Terminating", ["kubernetes"])
    assert (await api("PUT", f"{path}/finalize", {**going, "spec": {"finalizers": []}})).status == 200
    assert (await api("GET", path)).status == 404


async def test_the_namespaces_of_the_cluster_itself_stay(api: Api) -> None:
    refused = await api("DELETE", "/api/v1/namespaces/kube-system")
    assert (refused.status, refused.json["message"]) == (
        403, 'namespaces "kube-system" is forbidden: this namespace may not be deleted',
    )  # fmt: skip


async def test_an_eviction_deletes_the_pod(api: Api) -> None:
    await bound(api)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    answer = await api("POST", f"{PODS}/p/eviction", eviction)
    assert (answer.status, answer.json["status"]) == (201, "Success")
    assert (await api("GET", f"{PODS}/p")).json["metadata"]["deletionTimestamp"]
