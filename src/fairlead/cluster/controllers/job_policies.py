"""What a Job's own policies say: of a pod that failed, and of the indexes that are done.

Pod failure policies (KEP-3329), limits for each index (KEP-3850) and success policies (KEP-3998), as upstream's
pkg/controller/job carries them out. Pure: a Job's spec and its pods come in, verdicts go out.
"""

from collections.abc import Collection, Iterable
from enum import Enum

from msgspec import Struct

from fairlead.cluster.controllers.job_indexes import parse_indexes
from fairlead.kube.batch import JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule
from fairlead.kube.core import Pod

FAILURES = "batch.kubernetes.io/job-index-failure-count"
"""The annotation of a pod that tells how often its index had failed before."""

OWN_CONTROLLER = "kubernetes.io/job-controller"
"""What managedBy says of the Jobs that are ours, where it says anything."""


class FailureAction(Enum):
    """What a failed pod means; the values are the API's."""

    COUNT = "Count"
    IGNORE = "Ignore"
    FAIL_INDEX = "FailIndex"
    FAIL_JOB = "FailJob"


class Judged(Struct, frozen=True):
    """What the policy says of a failed pod, and why."""

    action: FailureAction
    why: str = ""


def judge_failure(spec: JobSpec, pod: Pod) -> Judged:
    """Ask the rules in their order; the first that matches decides, and a pod that none matches counts."""
    policy = spec.pod_failure_policy
    for index, rule in enumerate(policy.rules if policy else ()):
        matched = _matched(rule, pod)
        if matched:
            return Judged(FailureAction(rule.action), f"{matched} matching {rule.action} rule at index {index}")
    return Judged(FailureAction.COUNT)


def _matched(rule: PodFailurePolicyRule, pod: Pod) -> str:
    """What of a pod a rule matches, in upstream's words; "" for nothing."""
    name = f"{pod.metadata.namespace}/{pod.metadata.name}"
    if rule.on_exit_codes is not None:
        for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
            ended = status.state.terminated
            if ended is not None and _has_code(rule.on_exit_codes, status.name, ended.exit_code):
                return f"Container {status.name} for pod {name} failed with exit code {ended.exit_code}"
        return ""
    for wanted in rule.on_pod_conditions:
        status = wanted.status or "True"
        if any(each.type == wanted.type and each.status == status for each in pod.status.conditions):
            return f"Pod {name} has condition {wanted.type}"
    return ""


def _has_code(wanted: PodFailurePolicyOnExitCodesRequirement, container: str, code: int) -> bool:
    """Whether a container's exit code is meant; the code 0 is no failure and never meant."""
    if code == 0 or (wanted.container_name is not None and wanted.container_name != container):
        return False
    return (code in wanted.values) == (wanted.operator == "In")


def failures_before(pod: Pod) -> int:
    """How often the index of a pod had failed when the pod was made."""
    text = pod.metadata.annotations.get(FAILURES, "")
    return int(text) if text.isdigit() else 0


def failures_with(pod: Pod, judged: Judged) -> int:
    """How often the index has failed once this failed pod is counted; what is ignored does not count."""
    return failures_before(pod) + (judged.action is not FailureAction.IGNORE)


def fails_index(spec: JobSpec, pod: Pod, judged: Judged) -> bool:
    """Whether a failed pod is the end of its index."""
    limit = spec.backoff_limit_per_index
    if limit is None:
        return False
    return judged.action is FailureAction.FAIL_INDEX or failures_with(pod, judged) > limit


def met_rule(spec: JobSpec, done: Collection[int]) -> int | None:
    """The number of the first rule of the success policy that the completed indexes satisfy."""
    policy = spec.success_policy
    for number, rule in enumerate(policy.rules if policy else ()):
        wanted = _within(rule.succeeded_indexes, done)
        if rule.succeeded_count is not None:
            if len(wanted) >= rule.succeeded_count:
                return number
        elif rule.succeeded_indexes is not None and wanted == parse_indexes(rule.succeeded_indexes):
            return number
    return None


def _within(indexes: str | None, done: Iterable[int]) -> set[int]:
    return set(done) if indexes is None else parse_indexes(indexes) & set(done)


def is_ours(spec: JobSpec) -> bool:
    """Whether this controller is to look after the Job (KEP-4368)."""
    return spec.managed_by in (None, "", OWN_CONTROLLER)
