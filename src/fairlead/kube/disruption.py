"""How many pods of an application may be evicted at a time. Source: policy/v1 types.go."""

from fairlead.kube.base import Wire
from fairlead.kube.containers import IntOrString
from fairlead.kube.meta import Condition, KubeObject, LabelSelector


class PodDisruptionBudgetSpec(Wire, frozen=True):
    """A number or percentage that must stay available, or that may be unavailable. No selector selects nothing."""

    min_available: IntOrString | None = None
    max_unavailable: IntOrString | None = None
    selector: LabelSelector | None = None
    unhealthy_pod_eviction_policy: str | None = None


class PodDisruptionBudgetStatus(Wire, frozen=True):
    """`disrupted_pods` leads from the names of pods whose eviction was allowed to when it was."""

    observed_generation: int = 0
    disrupted_pods: dict[str, str] = {}
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0
    conditions: tuple[Condition, ...] = ()


class PodDisruptionBudget(KubeObject, frozen=True):
    """Limits evictions."""

    spec: PodDisruptionBudgetSpec = PodDisruptionBudgetSpec()
    status: PodDisruptionBudgetStatus = PodDisruptionBudgetStatus()
