"""Work that ends: Job and CronJob. Source: batch/v1 types.go."""

from fairlead.kube.base import Wire
from fairlead.kube.meta import Condition, KubeObject, LabelSelector, ObjectReference
from fairlead.kube.pods import PodTemplateSpec


class PodFailurePolicyOnExitCodesRequirement(Wire, frozen=True):
    """Exit codes of one container, or of any; `operator` is In or NotIn."""

    container_name: str | None = None
    operator: str = ""
    values: tuple[int, ...] = ()


class PodFailurePolicyOnPodConditionsPattern(Wire, frozen=True):
    """A condition of the pod."""

    type: str = ""
    status: str = ""


class PodFailurePolicyRule(Wire, frozen=True):
    """What a failed pod means that looks so; `action` is Count, Ignore, FailIndex or FailJob."""

    action: str = ""
    on_exit_codes: PodFailurePolicyOnExitCodesRequirement | None = None
    on_pod_conditions: tuple[PodFailurePolicyOnPodConditionsPattern, ...] = ()


class PodFailurePolicy(Wire, frozen=True):
    """Rules, of which the first that matches decides."""

    rules: tuple[PodFailurePolicyRule, ...] = ()


class SuccessPolicyRule(Wire, frozen=True):
    """Which indexes must have succeeded, or how many (of those)."""

    succeeded_indexes: str | None = None
    succeeded_count: int | None = None


class SuccessPolicy(Wire, frozen=True):
    """Rules, of which any suffices."""

    rules: tuple[SuccessPolicyRule, ...] = ()


class JobSpec(Wire, frozen=True):
    """How often a template must succeed; `completion_mode` is NonIndexed or Indexed; times in seconds."""

    parallelism: int | None = None
    completions: int | None = None
    active_deadline_seconds: int | None = None
    backoff_limit: int | None = None
    backoff_limit_per_index: int | None = None
    selector: LabelSelector | None = None
    manual_selector: bool | None = None
    template: PodTemplateSpec = PodTemplateSpec()
    ttl_seconds_after_finished: int | None = None
    completion_mode: str | None = None
    suspend: bool | None = None
    max_failed_indexes: int | None = None
    pod_failure_policy: PodFailurePolicy | None = None
    pod_replacement_policy: str = ""
    success_policy: SuccessPolicy | None = None
    managed_by: str | None = None


class UncountedTerminatedPods(Wire, frozen=True):
    """Uids of pods that ended and are not yet in the counts."""

    succeeded: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class JobStatus(Wire, frozen=True):
    """What has become of a Job; `completed_indexes` is text such as 0,2-4."""

    conditions: tuple[Condition, ...] = ()
    start_time: str | None = None
    completion_time: str | None = None
    active: int = 0
    succeeded: int = 0
    failed: int = 0
    terminating: int | None = None
    ready: int | None = None
    completed_indexes: str = ""
    failed_indexes: str | None = None
    uncounted_terminated_pods: UncountedTerminatedPods | None = None


class Job(KubeObject, frozen=True):
    """Pods that run until enough have succeeded."""

    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()


class CronJobSpec(Wire, frozen=True):
    """When to make Jobs; `concurrency_policy` is Allow, Forbid or Replace. The template stays a document."""

    schedule: str = ""
    time_zone: str | None = None
    starting_deadline_seconds: int | None = None
    concurrency_policy: str = "Allow"
    suspend: bool | None = None
    successful_jobs_history_limit: int | None = None
    failed_jobs_history_limit: int | None = None


class CronJobStatus(Wire, frozen=True):
    """What has become of a CronJob."""

    active: tuple[ObjectReference, ...] = ()
    last_schedule_time: str | None = None
    last_successful_time: str | None = None


class CronJob(KubeObject, frozen=True):
    """Jobs by a schedule."""

    spec: CronJobSpec = CronJobSpec()
    status: CronJobStatus = CronJobStatus()
