"""How many replicas a workload is to have by what it is measured at. Source: autoscaling/v2 types.go."""

from fairlead.kube.base import Wire
from fairlead.kube.meta import KubeObject


class CrossVersionObjectReference(Wire, frozen=True):
    """Names an object of the same namespace."""

    api_version: str = ""
    kind: str = ""
    name: str = ""


class HorizontalPodAutoscalerSpec(Wire, frozen=True):
    """What is scaled, and between which bounds."""

    scale_target_ref: CrossVersionObjectReference = CrossVersionObjectReference()
    min_replicas: int | None = None
    max_replicas: int = 0


class HorizontalPodAutoscaler(KubeObject, frozen=True):
    """Scales a workload."""

    spec: HorizontalPodAutoscalerSpec = HorizontalPodAutoscalerSpec()
