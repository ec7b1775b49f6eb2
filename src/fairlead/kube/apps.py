"""Workloads: Deployment, ReplicaSet, DaemonSet, StatefulSet and the revisions of the last two. Source: apps/v1
types.go.
"""

from fairlead.kube.base import Wire
from fairlead.kube.containers import IntOrString
from fairlead.kube.meta import Condition, KubeObject, LabelSelector
from fairlead.kube.pods import PodTemplateSpec


class RollingUpdateDeployment(Wire, frozen=True):
    """Numbers or percentages of the wanted replicas."""

    max_unavailable: IntOrString | None = None
    max_surge: IntOrString | None = None


class DeploymentStrategy(Wire, frozen=True):
    """`type` is RollingUpdate or Recreate."""

    type: str = "RollingUpdate"
    rolling_update: RollingUpdateDeployment | None = None


class DeploymentSpec(Wire, frozen=True):
    """What is wanted of a Deployment; times in seconds."""

    replicas: int | None = None
    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()
    strategy: DeploymentStrategy = DeploymentStrategy()
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None
    paused: bool = False
    progress_deadline_seconds: int | None = None


class DeploymentStatus(Wire, frozen=True):
    """What has become of a Deployment."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    conditions: tuple[Condition, ...] = ()
    collision_count: int | None = None


class Deployment(KubeObject, frozen=True):
    """Pods of one template, rolled out."""

    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


class ReplicaSetSpec(Wire, frozen=True):
    """How many pods of which template."""

    replicas: int | None = None
    min_ready_seconds: int = 0
    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()


class ReplicaSetStatus(Wire, frozen=True):
    """What has become of a ReplicaSet."""

    replicas: int = 0
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class ReplicaSet(KubeObject, frozen=True):
    """A number of pods of one template."""

    spec: ReplicaSetSpec = ReplicaSetSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


class RollingUpdateDaemonSet(Wire, frozen=True):
    """Numbers or percentages of the wanted pods."""

    max_unavailable: IntOrString | None = None
    max_surge: IntOrString | None = None


class DaemonSetUpdateStrategy(Wire, frozen=True):
    """`type` is RollingUpdate or OnDelete."""

    type: str = "RollingUpdate"
    rolling_update: RollingUpdateDaemonSet | None = None


class DaemonSetSpec(Wire, frozen=True):
    """One pod per eligible node."""

    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()
    update_strategy: DaemonSetUpdateStrategy = DaemonSetUpdateStrategy()
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None


class DaemonSetStatus(Wire, frozen=True):
    """What has become of a DaemonSet."""

    current_number_scheduled: int = 0
    number_misscheduled: int = 0
    desired_number_scheduled: int = 0
    number_ready: int = 0
    observed_generation: int = 0
    updated_number_scheduled: int = 0
    number_available: int = 0
    number_unavailable: int = 0


class DaemonSet(KubeObject, frozen=True):
    """Pods on every node."""

    spec: DaemonSetSpec = DaemonSetSpec()
    status: DaemonSetStatus = DaemonSetStatus()


class RollingUpdateStatefulSet(Wire, frozen=True):
    """Pods numbered below `partition` keep the former template; `max_unavailable` is a number or percentage."""

    partition: int | None = None
    max_unavailable: IntOrString | None = None


class StatefulSetUpdateStrategy(Wire, frozen=True):
    """`type` is RollingUpdate or OnDelete."""

    type: str = "RollingUpdate"
    rolling_update: RollingUpdateStatefulSet | None = None


class StatefulSetOrdinals(Wire, frozen=True):
    """The number of the first pod."""

    start: int = 0


class StatefulSetRetention(Wire, frozen=True):
    """What becomes of claims: Retain or Delete."""

    when_deleted: str = "Retain"
    when_scaled: str = "Retain"


class StatefulSetSpec(Wire, frozen=True):
    """How many numbered pods of which template; `pod_management_policy` is OrderedReady or Parallel."""

    replicas: int | None = None
    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()
    service_name: str = ""
    pod_management_policy: str = "OrderedReady"
    update_strategy: StatefulSetUpdateStrategy = StatefulSetUpdateStrategy()
    revision_history_limit: int | None = None
    min_ready_seconds: int = 0
    ordinals: StatefulSetOrdinals | None = None
    persistent_volume_claim_retention_policy: StatefulSetRetention | None = None


class StatefulSetStatus(Wire, frozen=True):
    """What has become of a StatefulSet; revisions are names of ControllerRevisions."""

    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    current_replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""
    collision_count: int | None = None


class StatefulSet(KubeObject, frozen=True):
    """Pods with names and numbers of their own."""

    spec: StatefulSetSpec = StatefulSetSpec()
    status: StatefulSetStatus = StatefulSetStatus()


class ControllerRevision(KubeObject, frozen=True):
    """A former template of a StatefulSet or DaemonSet; revisions count up."""

    data: dict[str, object] = {}
    revision: int = 0
