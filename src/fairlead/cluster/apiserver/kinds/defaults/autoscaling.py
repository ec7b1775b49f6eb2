"""Defaults of HorizontalPodAutoscalers.

Source: SetDefaults_HorizontalPodAutoscaler of k8s.io/kubernetes/pkg/apis/autoscaling/v2/defaults.go.
"""

from fairlead.cluster.apiserver.kinds.editing import child
from fairlead.kube.documents import Document, Json

_FOUR_PODS: Document = {"type": "Pods", "value": 4, "periodSeconds": 15}
_ALL_OF_THEM: Document = {"type": "Percent", "value": 100, "periodSeconds": 15}


def default_autoscaler(autoscaler: Document) -> None:
    """Fill in one replica at least and 80 percent of the requested CPU; the behavior only where some of it is said."""
    spec = child(autoscaler, "spec")
    if spec.get("minReplicas") is None:
        spec["minReplicas"] = 1
    if not spec.get("metrics"):
        target: Document = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    if isinstance(spec.get("behavior"), dict):
        behavior = child(spec, "behavior")
        _default_rules(child(behavior, "scaleUp"), 0, [dict(_FOUR_PODS), dict(_ALL_OF_THEM)])
        _default_rules(child(behavior, "scaleDown"), None, [dict(_ALL_OF_THEM)])


def _default_rules(rules: Document, window: int | None, policies: list[Json]) -> None:
    if window is not None and rules.get("stabilizationWindowSeconds") is None:
        rules["stabilizationWindowSeconds"] = window
    if rules.get("selectPolicy") is None:
        rules["selectPolicy"] = "Max"
    if rules.get("policies") is None:
        rules["policies"] = policies
