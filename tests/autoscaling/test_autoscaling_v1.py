"""Is autoscaling/v1 the same object as autoscaling/v2, with annotations for what it has no fields for?"""

import json
from typing import Any

import msgspec
from autoscaling_rig import CPU, TARGET, Rig

from fairlead.cluster.apiserver.kinds.autoscaling_v1 import BEHAVIOR, CONDITIONS, CURRENT, METRICS, to_v1, to_v2
from fairlead.drivers.kubeapi.transport import ApiRequest, ApiResponse

PATH = "/apis/autoscaling/{}/namespaces/shop/horizontalpodautoscalers"
JSON = {"Content-Type": "application/json"}

EVERY: list[dict[str, Any]] = [
    {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "5Mi"}}},
    {
        "type": "ContainerResource",
        "containerResource": {
            "name": "cpu",
            "container": "main",
            "target": {"type": "Utilization", "averageUtilization": 40},
        },
    },
    {"type": "Pods", "pods": {"metric": {"name": "r"}, "target": {"type": "AverageValue", "averageValue": "1"}}},
    {
        "type": "Object",
        "object": {
            "describedObject": {"kind": "Service", "name": "web"},
            "metric": {"name": "r", "selector": {"matchLabels": {"a": "b"}}},
            "target": {"type": "Value", "value": "7"},
        },
    },
    {
        "type": "External",
        "external": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "1"}},
    },
    CPU,
]
WHOLE: dict[str, Any] = {
    "kind": "HorizontalPodAutoscaler",
    "apiVersion": "autoscaling/v2",
    "metadata": {"name": "web", "annotations": {"own": "kept"}},
    "spec": {
        "scaleTargetRef": TARGET,
        "minReplicas": 2,
        "maxReplicas": 8,
        "metrics": EVERY,
        "behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 9}]}},
    },
    "status": {
        "currentReplicas": 3,
        "desiredReplicas": 4,
        "currentMetrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "current": {"averageUtilization": 7, "averageValue": "7m"}},
            },
            {
                "type": "Object",
                "object": {
                    "describedObject": {"kind": "Service", "name": "web"},
                    "metric": {"name": "r"},
                    "current": {"value": "5"},
                },
            },
        ],
        "conditions": [{"type": "AbleToScale", "status": "True"}],
    },
}


def test_v2_to_v1_and_back_is_what_it_was() -> None:
    old = to_v1(WHOLE)
    assert old["spec"] == {
        "scaleTargetRef": TARGET,
        "minReplicas": 2,
        "maxReplicas": 8,
        "targetCPUUtilizationPercentage": 50,
    }
    assert old["status"] == {"currentReplicas": 3, "desiredReplicas": 4, "currentCPUUtilizationPercentage": 7}
    metadata: dict[str, Any] = old["metadata"]  # pyright: ignore
    assert set(metadata["annotations"]) == {"own", METRICS, BEHAVIOR, CURRENT, CONDITIONS}
    told = json.loads(metadata["annotations"][METRICS])
    assert told[3]["object"] == {
        "target": {"kind": "Service", "name": "web"},
        "metricName": "r",
        "selector": {"matchLabels": {"a": "b"}},
        "targetValue": "7",
    }
    assert "ScaleDown" in json.loads(metadata["annotations"][BEHAVIOR])
    assert to_v2(old) == WHOLE


def test_annotations_that_cannot_be_read_count_for_nothing() -> None:
    old: dict[str, Any] = {
        "metadata": {"annotations": {METRICS: "{", BEHAVIOR: "[1]", CURRENT: '"x"', "own": "kept"}},
        "spec": {"maxReplicas": 3},
    }
    new = to_v2(old)
    assert new["metadata"] == {"annotations": {"own": "kept"}}
    assert new["spec"] == {"maxReplicas": 3}


async def ask(rig: Rig, method: str, path: str, body: Any = None, media: str = "") -> dict[str, Any]:
    headers = {"Content-Type": media} if media else JSON
    sent = b"" if body is None else msgspec.json.encode(body)
    answer = await rig.client.request(ApiRequest(method, path, (), headers, sent))
    assert isinstance(answer, ApiResponse)
    return msgspec.json.decode(answer.body)


async def test_both_versions_are_one_object_in_the_api() -> None:
    rig = Rig()
    await rig.begin(1)
    spec = {"scaleTargetRef": TARGET, "maxReplicas": 5, "targetCPUUtilizationPercentage": 60}
    made = await ask(
        rig,
        "POST",
        PATH.format("v1"),
        {"metadata": {"name": "web"}, "spec": spec, "kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v1"},
    )
    assert (made["apiVersion"], made["spec"]["minReplicas"]) == ("autoscaling/v1", 1)
    new = await ask(rig, "GET", PATH.format("v2") + "/web")
    assert new["apiVersion"] == "autoscaling/v2"
    assert new["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 60
    patch = {"spec": {"targetCPUUtilizationPercentage": 70}}
    merged = "application/strategic-merge-patch+json"
    patched = await ask(rig, "PATCH", PATH.format("v1") + "/web", patch, merged)
    assert patched["spec"]["targetCPUUtilizationPercentage"] == 70
    assert patched["metadata"]["uid"] == new["metadata"]["uid"]
    listed = await ask(rig, "GET", PATH.format("v1"))
    assert [each["spec"]["targetCPUUtilizationPercentage"] for each in listed["items"]] == [70]
    applied = {
        "kind": "HorizontalPodAutoscaler",
        "apiVersion": "autoscaling/v1",
        "metadata": {"name": "applied"},
        "spec": spec,
    }
    path = PATH.format("v1") + "/applied?fieldManager=t"
    answer = await rig.client.request(
        ApiRequest(
            "PATCH",
            path.partition("?")[0],
            (("fieldManager", "t"),),
            {"Content-Type": "application/apply-patch+yaml"},
            msgspec.json.encode(applied),
        )
    )
    assert msgspec.json.decode(answer.body)["spec"]["targetCPUUtilizationPercentage"] == 60
    await rig.use("200m")
    await ask(rig, "DELETE", PATH.format("v1") + "/applied")
    await rig.round()
    assert await rig.replicas() == 2
    shown = await ask(rig, "GET", PATH.format("v1") + "/web")
    assert shown["status"]["currentCPUUtilizationPercentage"] == 100
