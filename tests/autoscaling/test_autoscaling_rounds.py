"""Does a round do, show and say what upstream's controller does? The real engine, with metrics the test writes."""

from typing import Any

import pytest
from autoscaling_rig import CPU, NOW, Rig

from fairlead.cluster.controllers.timestamps import format_time


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}


def resource(kind: str = "Resource", **target: Any) -> dict[str, Any]:
    own = {"name": "cpu", "target": target}
    if kind == "ContainerResource":
        return {"type": kind, "containerResource": {**own, "container": "main"}}
    return {"type": kind, "resource": own}


def of_object(kind: str, name: str, **target: Any) -> dict[str, Any]:
    described = {"kind": kind, "name": name}
    metric = {"name": "requests_per_second"}
    return {"type": "Object", "object": {"describedObject": described, "metric": metric, "target": target}}


PODS: dict[str, Any] = {
    "type": "Pods",
    "pods": {"metric": {"name": "requests_per_second"}, "target": {"type": "AverageValue", "averageValue": "10"}},
}


async def test_twice_the_target_doubles_and_all_of_it_is_shown_and_told() -> None:
    rig = Rig()
    await rig.begin(2)
    await rig.use("200m")
    await rig.autoscale()
    outcome, status = await rig.round()
    assert await rig.replicas() == 4
    assert (outcome.decision.recommended, outcome.decision.desired) == (4, 4)
    assert (status["currentReplicas"], status["desiredReplicas"], status["lastScaleTime"]) == (2, 4, format_time(NOW))
    current = {"averageUtilization": 100, "averageValue": "200m"}
    assert status["currentMetrics"] == [{"type": "Resource", "resource": {"name": "cpu", "current": current}}]
    assert conditions(status) == {
        "AbleToScale": ("True", "SucceededRescale"),
        "ScalingActive": ("True", "ValidMetricFound"),
        "ScalingLimited": ("False", "DesiredWithinRange"),
    }
    assert [(each.reason, each.message) for each in rig.told] == [
        ("SuccessfulRescale", "New size: 4; reason: cpu resource utilization (percentage of request) above target")
    ]


async def test_down_waits_for_the_window_and_then_goes() -> None:
    rig = Rig()
    await rig.begin(4)
    await rig.use("10m")
    await rig.autoscale()
    outcome, status = await rig.round()
    assert (outcome.decision.recommended, await rig.replicas()) == (1, 4), "what there was counts for the window"
    assert conditions(status)["AbleToScale"] == ("True", "ScaleDownStabilized")
    await rig.round(301)
    assert await rig.replicas() == 1
    assert rig.told[-1].message == "New size: 1; reason: All metrics below target"


async def test_without_a_behavior_a_round_at_most_doubles_or_makes_four() -> None:
    rig = Rig()
    await rig.begin(1)
    await rig.use("2000m")
    await rig.autoscale()
    _, status = await rig.round()
    assert await rig.replicas() == 4
    assert conditions(status)["ScalingLimited"] == ("True", "ScaleUpLimit")


async def test_with_a_behavior_its_policies_bound_the_pace() -> None:
    rig = Rig()
    await rig.begin(1)
    await rig.use("2000m")
    policies = [{"type": "Pods", "value": 2, "periodSeconds": 60}]
    await rig.autoscale(behavior={"scaleUp": {"policies": policies}})
    await rig.round()
    assert await rig.replicas() == 3
    _, status = await rig.round(30)
    assert await rig.replicas() == 3, "the two of this minute are there"
    assert conditions(status)["ScalingLimited"] == ("True", "ScaleUpLimit")
    await rig.round(61)
    assert await rig.replicas() == 5


@pytest.mark.parametrize(
    ("metric", "wanted", "shown"),
    [
        (resource(type="AverageValue", averageValue="50m"), 4, {"averageValue": "100m"}),
        (
            resource("ContainerResource", type="Utilization", averageUtilization=25),
            4,
            {"averageUtilization": 50, "averageValue": "100m"},
        ),
        (PODS, 6, {"averageValue": "30"}),
        (of_object("Service", "web", type="Value", value="40"), 3, {"value": "60"}),
        (of_object("Service", "web", type="AverageValue", averageValue="10"), 6, {"averageValue": "30"}),
        (of_object("Ingress", "shop", type="AverageValue", averageValue="10"), 4, {"averageValue": "20"}),
    ],
    ids=["a value of a resource", "a container", "pods", "a value of an object", "an average of one", "an Ingress"],
)
async def test_every_kind_of_metric(metric: dict[str, Any], wanted: int, shown: dict[str, Any]) -> None:
    rig = Rig()
    await rig.begin(2)
    rig.values = {f"pods/web-{number}/requests_per_second": 30.0 for number in (0, 1)}
    rig.values["services/web/requests_per_second"] = 60.0
    rig.values["ingresses.networking.k8s.io/shop/requests_per_second"] = 40.0
    await rig.autoscale(metrics=[metric])
    outcome, status = await rig.round()
    assert outcome.decision.recommended == wanted
    (entry,) = status["currentMetrics"]
    own = entry[entry["type"][0].lower() + entry["type"][1:]]
    assert own["current"] == shown


async def test_the_greatest_of_several_metrics_decides() -> None:
    rig = Rig()
    await rig.begin(2)
    rig.values = {f"pods/web-{number}/requests_per_second": 40.0 for number in (0, 1)}
    await rig.autoscale(metrics=[CPU, PODS])
    await rig.round()
    assert await rig.replicas() == 4, "eight by requests, and four at once at most"
    assert rig.told[-1].message == "New size: 4; reason: pods metric requests_per_second above target"


@pytest.mark.parametrize(
    ("metric", "reason", "told"),
    [
        (
            of_object("Service", "nobody", type="Value", value="1"),
            "FailedGetObjectMetric",
            "failed to get object metric value: unable to get metric requests_per_second: Service shop/nobody: "
            "unable to fetch metrics from custom metrics API: the server could not find the metric",
        ),
        (
            PODS,
            "FailedGetPodsMetric",
            "failed to get pods metric value: unable to get metric requests_per_second: no metrics returned from "
            "custom metrics API",
        ),
        (
            {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "5"}}},
            "FailedGetExternalMetric",
            "failed to get external metric queue: no external metrics API is served here",
        ),
        (
            {"type": "Pods", "pods": PODS["pods"] | {"metric": {"name": "r", "selector": {"matchLabels": {"a": "b"}}}}},
            "FailedGetPodsMetric",
            "failed to get pods metric value: the metric r has no labels here that a selector could choose by",
        ),
    ],
    ids=["an object that is not there", "no values", "external", "a selector of metrics"],
)
async def test_a_metric_that_cannot_be_had_is_a_condition_and_an_event_and_changes_nothing(
    metric: dict[str, Any], reason: str, told: str
) -> None:
    rig = Rig()
    await rig.begin(2)
    await rig.autoscale(metrics=[metric])
    outcome, status = await rig.round()
    assert await rig.replicas() == 2
    assert conditions(status)["ScalingActive"] == ("False", reason)
    assert [(each.reason, each.message) for each in rig.told] == [
        (reason, told),
        ("FailedComputeMetricsReplicas", f"invalid metrics (1 invalid out of 1), first error is: {told}"),
    ]
    assert outcome.decision.error.endswith(told)


async def test_a_pod_that_requests_nothing_is_said() -> None:
    rig = Rig()
    await rig.begin(1, request="")
    await rig.autoscale()
    await rig.round()
    assert rig.told[0].message == (
        "failed to get cpu utilization: failed to get pod requests: missing request for cpu in container main of Pod "
        "web-0"
    )


async def test_a_failing_metric_forbids_down_but_not_up() -> None:
    rig = Rig()
    await rig.begin(2)
    external = {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "5"}}}
    await rig.autoscale(metrics=[CPU, external])
    await rig.use("1m")
    await rig.round()
    assert await rig.replicas() == 2
    await rig.use("200m")
    _, status = await rig.round(15)
    assert await rig.replicas() == 4
    assert status["currentMetrics"][1] == {"type": ""}


@pytest.mark.parametrize(
    ("replicas", "spec", "wanted", "reason"),
    [
        (5, {"maxReplicas": 3}, 3, "Current number of replicas above Spec.MaxReplicas"),
        (1, {"minReplicas": 2}, 2, "Current number of replicas below Spec.MinReplicas"),
    ],
)
async def test_bounds_come_before_metrics(replicas: int, spec: dict[str, Any], wanted: int, reason: str) -> None:
    rig = Rig()
    await rig.begin(replicas)
    await rig.autoscale(**spec)
    await rig.round()
    assert await rig.replicas() == wanted
    assert rig.told[-1].message == f"New size: {wanted}; reason: {reason}"


async def test_no_replicas_switch_it_off() -> None:
    rig = Rig()
    await rig.begin(0)
    await rig.autoscale()
    _, status = await rig.round()
    assert await rig.replicas() == 0
    assert conditions(status)["ScalingActive"] == ("False", "ScalingDisabled")


async def test_a_target_that_is_not_there_or_has_no_scale_is_said() -> None:
    rig = Rig()
    await rig.begin(1)
    await rig.autoscale(scaleTargetRef={"apiVersion": "v1", "kind": "Service", "name": "web"})
    _, status = await rig.round()
    assert conditions(status)["AbleToScale"] == ("False", "FailedGetScale")
    assert rig.told[-1].reason == "FailedGetScale"


async def test_two_autoscalers_of_the_same_pods_are_refused() -> None:
    rig = Rig()
    await rig.begin(2)
    await rig.use("200m")
    await rig.autoscale()
    _, status = await rig.round(others=["shop/other"])
    assert await rig.replicas() == 2
    assert conditions(status)["ScalingActive"] == ("False", "AmbiguousSelector")
    told = "pods by selector app=web are controlled by multiple HPAs: [shop/other shop/web]"
    assert rig.told[0].message == told


async def test_whatever_has_a_scale_can_be_scaled_a_resource_of_a_users_own_too() -> None:
    rig = Rig()
    await rig.begin(1)
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    paths = {
        "specReplicasPath": ".spec.size",
        "statusReplicasPath": ".status.size",
        "labelSelectorPath": ".status.selector",
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    await rig.create(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "fleets.example.com"},
            "spec": {
                "group": "example.com",
                "scope": "Namespaced",
                "names": {"plural": "fleets", "singular": "fleet", "kind": "Fleet", "listKind": "FleetList"},
                "versions": [version | {"subresources": {"scale": paths}}],
            },
        },
    )
    fleets = "/apis/example.com/v1/namespaces/shop/fleets"
    fleet = {"apiVersion": "example.com/v1", "kind": "Fleet", "metadata": {"name": "boats"}, "spec": {"size": 1}}
    await rig.create(fleets, fleet | {"status": {"size": 1, "selector": "app=web"}})
    await rig.use("200m")
    await rig.autoscale(scaleTargetRef={"apiVersion": "example.com/v1", "kind": "Fleet", "name": "boats"})
    outcome, _ = await rig.round()
    assert (outcome.decision.current, outcome.decision.desired) == (1, 2)
    assert (await rig.read(f"{fleets}/boats"))["spec"] == {"size": 2}
