"""HorizontalPodAutoscalers: defaults, messages, columns."""

from typing import Any

import pytest
from admitting import created, made, updated

from fairlead.cluster.apiserver.kinds.autoscaling import AUTOSCALER

KIND = "HorizontalPodAutoscaler"
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}


def spec(**fields: Any) -> dict[str, Any]:
    return {"scaleTargetRef": TARGET, "maxReplicas": 8, **fields}


def resource(**target: Any) -> dict[str, Any]:
    return spec(metrics=[{"type": "Resource", "resource": {"name": "cpu", "target": target}}])


def up(**fields: Any) -> dict[str, Any]:
    return spec(behavior={"scaleUp": fields})


METRIC, UP = "spec.metrics[0]", "spec.behavior.scaleUp"
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "one replica at least": (
        spec(minReplicas=0),
        "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
    ),
    "the most is some": (
        spec(maxReplicas=0, minReplicas=None),
        "spec.maxReplicas: Invalid value: 0: must be greater than 0",
    ),
    "the most is no less than the least": (
        spec(minReplicas=9),
        "spec.maxReplicas: Invalid value: 8: must be greater than or equal to `minReplicas`",
    ),
    "something is scaled": (spec(scaleTargetRef={"kind": "Deployment"}), "spec.scaleTargetRef.name: Required value"),
    "sources are few": (
        spec(metrics=[{"type": "X"}]),
        f'{METRIC}.type: Unsupported value: "X": supported values: "ContainerResource", "External", "Object", "Pods", '
        '"Resource"',
    ),
    "a source is filled in": (
        spec(metrics=[{"type": "Pods"}]),
        f"{METRIC}.pods: Required value: must populate information for the given metric source",
    ),
    "no other source is": (
        spec(metrics=[CPU | {"pods": {}}]),
        f"{METRIC}.pods: Forbidden: must populate the given metric source only",
    ),
    "a resource has a target": (
        resource(type="Utilization"),
        f"{METRIC}.resource.target.averageUtilization: Required value: must set either a target raw value or a target "
        "utilization",
    ),
    "a utilization is positive": (
        resource(type="Utilization", averageUtilization=0),
        f"{METRIC}.resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
    ),
    "an amount is positive": (
        resource(type="AverageValue", averageValue="-1m"),
        f'{METRIC}.resource.target.averageValue: Invalid value: "-1m": must be positive',
    ),
    "a window is an hour at most": (
        up(stabilizationWindowSeconds=3601),
        f"{UP}.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
    ),
    "there is a policy": (up(policies=[]), f"{UP}.policies: Required value: must specify at least one Policy"),
    "a period is half an hour at most": (
        up(policies=[{"type": "Pods", "value": 1, "periodSeconds": 1801}]),
        f"{UP}.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
    ),
}


@pytest.mark.parametrize("title", WRONG)
def test_what_is_wrong(title: str) -> None:
    given, message = WRONG[title]
    assert message in created(made(KIND, given))[1], title


def test_defaults() -> None:
    stored, wrong = created(made(KIND, spec(behavior={"scaleDown": {"selectPolicy": "Min"}})))
    assert wrong == []
    assert stored["spec"]["minReplicas"] == 1
    target = {"type": "Utilization", "averageUtilization": 80}
    assert stored["spec"]["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    all_of_them = {"type": "Percent", "value": 100, "periodSeconds": 15}
    assert stored["spec"]["behavior"] == {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, all_of_them],
        },
        "scaleDown": {"selectPolicy": "Min", "policies": [all_of_them]},
    }


def test_no_behavior_is_left_so_and_the_status_stays() -> None:
    stored, _ = created(made(KIND, spec()))
    assert "behavior" not in stored["spec"]
    stored["status"] = {"currentReplicas": 3}
    again, wrong = updated(made(KIND, spec(maxReplicas=9)), stored)
    assert (again["status"], wrong) == ({"currentReplicas": 3}, [])


def test_columns() -> None:
    pods = {
        "type": "Pods",
        "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "5"}},
    }
    stored, wrong = created(made(KIND, spec(metrics=[CPU, pods, CPU])))
    assert wrong == []
    assert AUTOSCALER.row(stored, 0.0)[:6] == [
        "x",
        "Deployment/web",
        "cpu: <unknown>/50%, <unknown>/5 + 1 more...",
        "1",
        "8",
        "0",
    ]
    seen = {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 72}}}
    stored["status"] = {"currentReplicas": 3, "currentMetrics": [seen]}
    assert AUTOSCALER.row(stored, 0.0)[2] == "cpu: 72%/50%, <unknown>/5 + 1 more..."


def test_that_external_metrics_are_not_served_is_said_and_nothing_else() -> None:
    target = {"type": "Value", "value": "5"}
    external = {"type": "External", "external": {"metric": {"name": "queue"}, "target": target}}
    (told,) = AUTOSCALER.warnings(made(KIND, spec(metrics=[CPU, external])))
    assert told.startswith("spec.metrics[1].external: this cluster serves no external metrics")
    assert AUTOSCALER.warnings(made(KIND, spec())) == []
