"""How many replicas a workload is to have by what it is measured at. Source: autoscaling/v2 types.go."""

from fairlead.kube.base import Wire
from fairlead.kube.meta import Condition, KubeObject, LabelSelector


class CrossVersionObjectReference(Wire, frozen=True):
    """Names an object of the same namespace."""

    api_version: str = ""
    kind: str = ""
    name: str = ""


class MetricIdentifier(Wire, frozen=True):
    """A metric by its name and, where there are several, by its labels."""

    name: str = ""
    selector: LabelSelector | None = None


class MetricTarget(Wire, frozen=True):
    """What a metric is to be: one of the three, as `type` says. Quantities are text."""

    type: str = ""
    value: str | int | float | None = None
    average_value: str | int | float | None = None
    average_utilization: int | None = None


class ResourceMetricSource(Wire, frozen=True):
    """A resource that pods request: cpu or memory; of one container where `container` names it."""

    name: str = ""
    container: str = ""
    target: MetricTarget = MetricTarget()


class ObjectMetricSource(Wire, frozen=True):
    """A metric of pods, of an object, or of neither; `described_object` is that of the second."""

    metric: MetricIdentifier = MetricIdentifier()
    target: MetricTarget = MetricTarget()
    described_object: CrossVersionObjectReference = CrossVersionObjectReference()


class MetricSpec(Wire, frozen=True):
    """One metric; `type` says which of the others is filled in."""

    type: str = ""
    resource: ResourceMetricSource | None = None
    container_resource: ResourceMetricSource | None = None
    pods: ObjectMetricSource | None = None
    object: ObjectMetricSource | None = None
    external: ObjectMetricSource | None = None


class HPAScalingPolicy(Wire, frozen=True):
    """So many Pods, or so many Percent, in so many seconds."""

    type: str = ""
    value: int = 0
    period_seconds: int = 0


class HPAScalingRules(Wire, frozen=True):
    """How fast one direction is followed."""

    stabilization_window_seconds: int | None = None
    select_policy: str = "Max"
    policies: tuple[HPAScalingPolicy, ...] = ()
    tolerance: str | int | float | None = None


class HorizontalPodAutoscalerBehavior(Wire, frozen=True):
    """How fast both directions are followed."""

    scale_up: HPAScalingRules | None = None
    scale_down: HPAScalingRules | None = None


class HorizontalPodAutoscalerSpec(Wire, frozen=True):
    """What is scaled, between which bounds, by which metrics and how fast."""

    scale_target_ref: CrossVersionObjectReference = CrossVersionObjectReference()
    min_replicas: int | None = None
    max_replicas: int = 0
    metrics: tuple[MetricSpec, ...] = ()
    behavior: HorizontalPodAutoscalerBehavior | None = None


class HorizontalPodAutoscalerStatus(Wire, frozen=True):
    """What became of it."""

    last_scale_time: str | None = None
    current_replicas: int = 0
    desired_replicas: int = 0
    conditions: tuple[Condition, ...] = ()


class HorizontalPodAutoscaler(KubeObject, frozen=True):
    """Scales a workload."""

    spec: HorizontalPodAutoscalerSpec = HorizontalPodAutoscalerSpec()
    status: HorizontalPodAutoscalerStatus = HorizontalPodAutoscalerStatus()
