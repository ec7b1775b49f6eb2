"""The status of an autoscaler while a round goes on: conditions are set, and at the end the status as it is written.

Source: setCondition and setStatus of k8s.io/kubernetes/pkg/controller/podautoscaler/horizontal.go.
"""

from collections.abc import Sequence

from fairlead.cluster.controllers.timestamps import format_time
from fairlead.kube.autoscaling import HorizontalPodAutoscaler
from fairlead.kube.documents import Document, Json

ABLE, ACTIVE, LIMITED = "AbleToScale", "ScalingActive", "ScalingLimited"


class RoundStatus:
    """What one round finds out; `last_scale` is as before until something is scaled."""

    def __init__(self, autoscaler: HorizontalPodAutoscaler, now: float) -> None:
        self._now = format_time(now)
        self._conditions: dict[str, Document] = {
            each.type: {
                "type": each.type,
                "status": each.status,
                "lastTransitionTime": each.last_transition_time,
                "reason": each.reason,
                "message": each.message,
            }
            for each in autoscaler.status.conditions
        }
        self._last_scale = autoscaler.status.last_scale_time
        self.current = autoscaler.status.current_replicas
        self.desired = autoscaler.status.desired_replicas
        self.metrics: Sequence[Document] = ()

    def set(self, kind: str, status: bool, reason: str, message: str) -> None:
        """Set a condition; its time moves only where its status does."""
        text = "True" if status else "False"
        former = self._conditions.get(kind, {})
        since = former.get("lastTransitionTime") if former.get("status") == text else self._now
        self._conditions[kind] = {
            "type": kind,
            "status": text,
            "lastTransitionTime": since,
            "reason": reason,
            "message": message,
        }

    def scaled(self) -> None:
        """Note that the workload was scaled now."""
        self._last_scale = self._now

    def document(self) -> Document:
        """The status to write."""
        conditions: list[Json] = [*self._conditions.values()]
        metrics: list[Json] = [*self.metrics]
        status: Document = {
            "currentReplicas": self.current,
            "desiredReplicas": self.desired,
            "currentMetrics": metrics or None,
            "conditions": conditions,
        }
        if self._last_scale:
            status["lastScaleTime"] = self._last_scale
        return status
