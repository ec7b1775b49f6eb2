"""Kinds in versions of old: accepted, shown as they were asked for, stored as today's, and warned about."""

from typing import Any

import msgspec
import pytest
from apiservers import Api, lines
from hypothesis import given
from hypothesis import strategies as st

from fairlead.cluster.apiserver.kinds.autoscaling_v1 import METRICS
from fairlead.kube.documents import Document
from fairlead.kube.legacy import ingress_of_old, ingress_of_today

OLD = ("extensions/v1beta1", "networking.k8s.io/v1beta1")
NEW = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
BACKEND = {"serviceName": "web", "servicePort": 80}
SPEC: dict[str, Any] = {
    "backend": {"serviceName": "rest", "servicePort": "http"},
    "rules": [{"host": "a.example", "http": {"paths": [{"path": "/", "backend": BACKEND}]}}],
}


def ingresses(version: str) -> str:
    return f"/apis/{version}/namespaces/default/ingresses"


def ingress(version: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": "Ingress", "metadata": {"name": "old"}, "spec": {**SPEC, **spec}}


@pytest.mark.parametrize("version", OLD)
async def test_an_ingress_of_old_is_kept_as_one_of_today_and_shown_as_it_was(api: Api, version: str) -> None:
    made = await api("POST", ingresses(version), ingress(version))
    assert made.status == 201, made
    assert f"{version} Ingress is deprecated" in made.headers["Warning"]
    assert made.json["apiVersion"] == version
    assert made.json["spec"]["backend"] == SPEC["backend"]
    [path] = made.json["spec"]["rules"][0]["http"]["paths"]
    assert path == {"path": "/", "pathType": "ImplementationSpecific", "backend": BACKEND}
    today = (await api("GET", f"{NEW}/old")).json
    assert today["apiVersion"] == "networking.k8s.io/v1"
    assert today["spec"]["defaultBackend"] == {"service": {"name": "rest", "port": {"name": "http"}}}
    [path] = today["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"] == {"service": {"name": "web", "port": {"number": 80}}}
    listed = (await api("GET", ingresses(version))).json
    assert (listed["apiVersion"], listed["kind"]) == (version, "IngressList")
    assert listed["items"][0]["spec"]["backend"] == SPEC["backend"]


@pytest.mark.parametrize("version", OLD)
async def test_patches_and_replacements_of_old_are_carried_out(api: Api, version: str) -> None:
    await api("POST", ingresses(version), ingress(version))
    moved = {"spec": {"backend": {"serviceName": "other", "servicePort": 8080}}}
    for kind in ("application/merge-patch+json", "application/strategic-merge-patch+json"):
        answer = await api("PATCH", f"{ingresses(version)}/old", moved, kind=kind)
        assert answer.json["spec"]["backend"] == moved["spec"]["backend"]
    port = {"spec": {"backend": {"servicePort": "http"}}}
    answer = await api("PATCH", f"{ingresses(version)}/old", port, kind="application/merge-patch+json")
    assert answer.json["spec"]["backend"] == {"serviceName": "other", "servicePort": "http"}
    gone = {"spec": {"backend": None}}
    answer = await api("PATCH", f"{ingresses(version)}/old", gone, kind="application/merge-patch+json")
    assert "backend" not in answer.json["spec"]
    replaced = await api("PUT", f"{ingresses(version)}/old", ingress(version))
    assert replaced.json["spec"]["backend"] == SPEC["backend"]
    steps = [{"op": "remove", "path": "/spec/backend"}]
    assert (await api("PATCH", f"{ingresses(version)}/old", steps, kind="application/json-patch+json")).status == 415
    applied = await api(
        "PATCH",
        f"{ingresses(version)}/fresh?fieldManager=me",
        {**ingress(version), "metadata": {"name": "fresh"}},
        kind="application/apply-patch+yaml",
    )
    assert applied.status == 201, applied
    assert (await api("DELETE", f"{ingresses(version)}/old")).status == 200
    assert (await api("GET", f"{NEW}/old")).status == 404


async def test_a_watch_of_old_shows_what_happens_in_the_words_of_old(api: Api) -> None:
    watch = await api.watch(ingresses(OLD[0]))
    await api("POST", ingresses(OLD[1]), ingress(OLD[1]))
    [event] = await lines(watch, 1)
    assert (event["type"], event["object"]["apiVersion"]) == ("ADDED", OLD[0])
    assert event["object"]["spec"]["backend"] == SPEC["backend"]
    watch.close()


async def test_what_is_wrong_is_told_of_an_ingress_of_old_too(api: Api) -> None:
    answer = await api("POST", ingresses(OLD[0]), {**ingress(OLD[0]), "spec": {}})
    assert answer.status == 422
    wrong = await api("POST", ingresses(OLD[0]), ingress("networking.k8s.io/v1"))
    assert wrong.status == 400


@pytest.mark.parametrize(
    ("path", "kind", "spec"),
    [
        ("batch/v1beta1", "CronJob", {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}),
        ("policy/v1beta1", "PodDisruptionBudget", {"minAvailable": 1}),
    ],
)  # fmt: skip
async def test_versions_that_differ_in_name_only(api: Api, path: str, kind: str, spec: dict[str, Any]) -> None:
    plural = f"/apis/{path}/namespaces/default/{kind.lower()}s"
    made = await api("POST", plural, {"apiVersion": path, "kind": kind, "metadata": {"name": "x"}, "spec": spec})
    assert (made.status, made.json["apiVersion"]) == (201, path), made
    assert "is deprecated" in made.headers["Warning"]
    group = path.partition("/")[0]
    found = await api("GET", f"/apis/{group}/v1/namespaces/default/{kind.lower()}s/x")
    assert found.json["apiVersion"] == f"{group}/v1"


async def test_autoscalers_of_v1_are_those_of_v2(api: Api) -> None:
    old, new = (f"/apis/autoscaling/{each}/namespaces/default/horizontalpodautoscalers" for each in ("v1", "v2"))
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"maxReplicas": 3, "scaleTargetRef": target, "targetCPUUtilizationPercentage": 60}
    named = {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}}
    made = await api("POST", old, {**named, "spec": spec})
    assert made.json["spec"]["targetCPUUtilizationPercentage"] == 60
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}
    assert (await api("GET", f"{new}/web")).json["spec"]["metrics"] == [cpu]
    memory = {
        "type": "Resource",
        "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}},
    }
    both = {"spec": {"metrics": [cpu, memory]}}
    await api("PATCH", f"{new}/web", both, kind="application/merge-patch+json")
    shown = (await api("GET", f"{old}/web")).json
    assert shown["spec"]["targetCPUUtilizationPercentage"] == 60
    flat = {"type": "Resource", "resource": {"name": "memory", "targetAverageValue": "1Gi"}}
    assert msgspec.json.decode(shown["metadata"]["annotations"][METRICS]) == [flat]
    shown["spec"]["maxReplicas"] = 5
    assert (await api("PUT", f"{old}/web", shown)).status == 200
    kept = (await api("GET", f"{new}/web")).json
    assert kept["spec"]["maxReplicas"] == 5
    assert sorted(each["resource"]["name"] for each in kept["spec"]["metrics"]) == ["cpu", "memory"]
    assert METRICS not in kept["metadata"].get("annotations", {})


async def test_they_are_listed_and_described(api: Api) -> None:
    groups = {each["name"]: each for each in (await api("GET", "/apis")).json["groups"]}
    assert groups["networking.k8s.io"]["preferredVersion"]["version"] == "v1"
    for path in (*OLD, "batch/v1beta1", "autoscaling/v1"):
        assert (await api("GET", f"/apis/{path}")).json["resources"]
        assert (await api("GET", f"/openapi/v3/apis/{path}")).status == 200


PORTS = st.one_of(st.integers(1, 65535), st.from_regex("[a-z]{1,8}", fullmatch=True))
BACKENDS = st.fixed_dictionaries({"serviceName": st.from_regex("[a-z]{1,8}", fullmatch=True), "servicePort": PORTS})
PATHS = st.fixed_dictionaries(
    {"path": st.just("/"), "pathType": st.sampled_from(["Exact", "Prefix"]), "backend": BACKENDS}
)
RULES = st.fixed_dictionaries({"host": st.just("a.b"), "http": st.fixed_dictionaries({"paths": st.lists(PATHS)})})


@given(st.fixed_dictionaries({"spec": st.fixed_dictionaries({"backend": BACKENDS, "rules": st.lists(RULES)})}))
def test_there_and_back_is_the_same(document: Document) -> None:
    assert ingress_of_old(ingress_of_today(document)) == document
