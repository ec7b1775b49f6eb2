"""Jobs: one with its pods comes in; pods to create and delete, their release and its status go out.

Semantics of upstream's pkg/controller/job/job_controller.go. Every pod carries a finalizer until its end is counted:
the uids of ended pods are first noted in the status, then the finalizers go, then the counts take the uids' place, so
that no end is lost or counted twice, whatever fails in between.
"""

from collections.abc import Iterable

from msgspec import Struct

from fairlead.cluster.controllers.actions import About, Action, Again, Create, Delete, Patch, Tell
from fairlead.cluster.controllers.job_indexes import format_indexes, parse_indexes
from fairlead.cluster.controllers.job_policies import (
    FAILURES,
    FailureAction,
    fails_index,
    failures_with,
    judge_failure,
    met_rule,
)
from fairlead.cluster.controllers.ownership import Owner
from fairlead.cluster.controllers.pods import is_finished, is_ready
from fairlead.cluster.controllers.replicasets import delete_pod
from fairlead.cluster.controllers.templates import make_pod
from fairlead.cluster.controllers.timestamps import format_time, parse_time
from fairlead.kube.batch import Job
from fairlead.kube.core import Pod
from fairlead.kube.documents import Document, Json, items_at, mapping_at

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
COMPONENT = "job-controller"
_FIRST_PAUSE, _LAST_PAUSE = 10.0, 600.0  # seconds after a failed pod, doubled for each one more


class JobView(Struct, frozen=True, kw_only=True):
    """A Job as its controller sees it: the Job, its template as written, and its own pods."""

    job: Job
    template: Document
    pods: tuple[Pod, ...]
    now: float


def owner_of(job: Job) -> Owner:
    """The Job as the owner of its pods."""
    meta = job.metadata
    deleting = meta.deletion_timestamp is not None
    return Owner(api_version="batch/v1", kind="Job", name=meta.name, uid=meta.uid, deleting=deleting)


def ending_of(job: Job) -> str:
    """Complete, Failed, or "" while the Job goes on."""
    return next((each.type for each in job.status.conditions if each.status == "True" and each.type in _ENDINGS), "")


_ENDINGS = ("Complete", "Failed")


def index_of(pod: Pod) -> int | None:
    """The completion index of an indexed Job's pod."""
    text = pod.metadata.annotations.get(INDEX, "")
    return int(text) if text.isdigit() else None


def reconcile(view: JobView) -> tuple[Action, ...]:
    """The next steps and the status."""
    return tuple(_Round(view).actions())


class _Round:
    """One look at a Job: its pods sorted by how far they are, and what was counted before."""

    def __init__(self, view: JobView) -> None:
        job = self._job = view.job
        self._view = view
        spec, status = job.spec, job.status
        noted = status.uncounted_terminated_pods
        self._noted_succeeded = set(noted.succeeded) if noted else set[str]()
        self._noted_failed = set(noted.failed) if noted else set[str]()
        ended = [pod for pod in view.pods if is_finished(pod) and FINALIZER in pod.metadata.finalizers]
        self._going = [
            pod
            for pod in view.pods
            if not is_finished(pod) and pod.metadata.deletion_timestamp and FINALIZER in pod.metadata.finalizers
        ]
        self._succeeded = [pod for pod in ended if pod.status.phase == "Succeeded"]
        bad = [(pod, judge_failure(spec, pod)) for pod in ended if pod.status.phase == "Failed"]
        self._failed = [pod for pod, judged in bad if judged.action is not FailureAction.IGNORE]
        self._ignored = [pod for pod, judged in bad if judged.action is FailureAction.IGNORE]
        self._fatal = next((judged.why for _, judged in bad if judged.action is FailureAction.FAIL_JOB), "")
        self._active = [pod for pod in view.pods if not is_finished(pod) and not pod.metadata.deletion_timestamp]
        self._indexed = spec.completion_mode == "Indexed"
        self._done = parse_indexes(status.completed_indexes)
        self._suspended = bool(spec.suspend)
        new_indexes = {index for pod in self._succeeded if (index := index_of(pod)) is not None}
        self._all_done = self._done | {index for index in new_indexes if index < (spec.completions or 0)}
        given_up = {index_of(pod) for pod, judged in bad if fails_index(spec, pod, judged)}
        known = parse_indexes(status.failed_indexes or "")
        self._given_up = (known | {each for each in given_up if each is not None}) - self._all_done

    def actions(self) -> Iterable[Action]:
        job = self._job
        if job.metadata.deletion_timestamp is not None or ending_of(job):
            yield from self._release(self._view.pods)
            yield from self._clean_up()
            return
        succeeded, failed = self._totals()
        ending, why = self._ending(succeeded, failed)
        if ending:
            yield from (delete_pod(pod) for pod in self._active)
            yield from self._release(self._view.pods)
            yield self._status(succeeded, failed, (ending, *why), active=0)
            yield _tell(job, *self._told(ending, why))
            return
        if self._suspended:
            yield from (delete_pod(pod) for pod in self._active)
            yield from self._release((*self._succeeded, *self._failed, *self._ignored, *self._going))
            yield from self._keep_status(succeeded, failed, active=0)
            return
        created, pause = self._start(succeeded)
        yield from created
        yield from self._surplus(succeeded)
        yield from self._release((*self._succeeded, *self._failed, *self._ignored, *self._lost()))
        yield from self._keep_status(succeeded, failed, active=len(self._active) + len(created))
        waits = [wait for wait in (pause, self._until_deadline()) if wait is not None]
        if waits:
            yield Again(max(min(waits), 0.01))

    def _totals(self) -> tuple[int, int]:
        """All pods that ended well and badly, those not yet counted included."""
        status = self._job.status
        new_succeeded = {pod.metadata.uid for pod in self._succeeded} - self._noted_succeeded
        new_failed = {pod.metadata.uid for pod in (*self._failed, *self._lost())} - self._noted_failed
        if self._indexed:
            return len(self._all_done), status.failed + len(self._noted_failed) + len(new_failed)
        succeeded = status.succeeded + len(self._noted_succeeded) + len(new_succeeded)
        return succeeded, status.failed + len(self._noted_failed) + len(new_failed)

    def _lost(self) -> list[Pod]:
        """Pods that somebody deleted while they ran count as failed, except where we did it ourselves.

        Where the Job waits for the end of pods, for their exit codes or before it replaces them, only those count that
        no kubelet will end.
        """
        if self._suspended:
            return []
        return [pod for pod in self._going if not pod.spec.node_name] if self._waits_for_ends() else self._going

    def _waits_for_ends(self) -> bool:
        spec = self._job.spec
        return spec.pod_failure_policy is not None or spec.pod_replacement_policy == "Failed"

    def _ending(self, succeeded: int, failed: int) -> tuple[str, tuple[str, str]]:
        """Complete or Failed with reason and message, or "" while it goes on."""
        spec, job = self._job.spec, self._job
        limit = 6 if spec.backoff_limit is None else spec.backoff_limit
        if self._fatal:
            return "Failed", ("PodFailurePolicy", self._fatal)
        rule = met_rule(spec, self._all_done)
        if rule is not None:
            return "Complete", ("SuccessPolicy", f"Matched rules at index {rule}")
        if failed > limit or self._restarts() > limit:
            return "Failed", ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
        left = self._until_deadline()
        if left is not None and left <= 0:
            return "Failed", ("DeadlineExceeded", "Job was active longer than specified deadline")
        if spec.max_failed_indexes is not None and len(self._given_up) > spec.max_failed_indexes:
            told = "Job has exceeded the specified maximal number of failed indexes"
            return "Failed", ("MaxFailedIndexesExceeded", told)
        if self._given_up and succeeded + len(self._given_up) >= (spec.completions or 0):
            return "Failed", ("FailedIndexes", "Job has failed indexes")
        enough = succeeded > 0 and not self._active
        done = enough if spec.completions is None else succeeded >= spec.completions
        if not done or job.spec.suspend:
            return "", ("", "")
        return "Complete", ("CompletionsReached", "Reached expected number of succeeded pods")

    def _restarts(self) -> int:
        """With restartPolicy OnFailure the restarts of containers count as failures of the pod."""
        if mapping_at(self._view.template, "spec").get("restartPolicy") != "OnFailure":
            return 0
        return sum(each.restart_count or 0 for pod in self._active for each in pod.status.container_statuses)

    def _until_deadline(self) -> float | None:
        limit, start = self._job.spec.active_deadline_seconds, parse_time(self._job.status.start_time)
        if limit is None or start is None or self._suspended:
            return None
        return start + limit - self._view.now

    def _start(self, succeeded: int) -> tuple[list[Create], float | None]:
        """Pods that are missing, unless a pause after failures is not over yet."""
        spec = self._job.spec
        parallel = 1 if spec.parallelism is None else spec.parallelism
        if spec.completions is None:
            wanted = len(self._active) if succeeded else parallel
        else:
            wanted = min(parallel, spec.completions - succeeded - len(self._given_up))
        ending = [pod for pod in self._going if pod not in self._lost()] if self._waits_for_ends() else []
        missing = wanted - len(self._active) - len(ending)
        if missing <= 0:
            return [], None
        if spec.backoff_limit_per_index is None and (pause := self._pause(self._ended_badly())) > 0:
            return [], pause
        if not self._indexed:
            return [Create(kind=Pod, document=self._document(None))] * missing, None
        taken = {index_of(pod) for pod in (*self._active, *ending)} | self._all_done | self._given_up
        return self._start_indexes([each for each in range(spec.completions or 0) if each not in taken][:missing])

    def _start_indexes(self, indexes: list[int]) -> tuple[list[Create], float | None]:
        """Pods for indexes, where an index that failed and has a limit of its own waits on its own."""
        if self._job.spec.backoff_limit_per_index is None:
            return [Create(kind=Pod, document=self._document(index)) for index in indexes], None
        created: list[Create] = []
        pauses: list[float] = []
        for index in indexes:
            tried = [pod for pod in self._ended_badly() if index_of(pod) == index]
            if (pause := self._pause(tried)) > 0:
                pauses.append(pause)
            else:
                failures = max((failures_with(pod, judge_failure(self._job.spec, pod)) for pod in tried), default=0)
                created.append(Create(kind=Pod, document=self._document(index, failures)))
        return created, min(pauses, default=None)

    def _ended_badly(self) -> list[Pod]:
        return [pod for pod in self._view.pods if pod.status.phase == "Failed"]

    def _pause(self, failed: Iterable[Pod]) -> float:
        """Seconds until the next try: 10 after the first failure, doubled for each one more, at most 10 minutes."""
        ends = [parse_time(_ended_at(pod)) or self._view.now for pod in failed]
        if not ends:
            return 0.0
        return max(ends) + min(_FIRST_PAUSE * 2 ** (len(ends) - 1), _LAST_PAUSE) - self._view.now

    def _surplus(self, succeeded: int) -> Iterable[Delete]:
        """Pods too many after the parallelism was lowered."""
        spec = self._job.spec
        parallel = 1 if spec.parallelism is None else spec.parallelism
        most = parallel if spec.completions is None else min(parallel, spec.completions - succeeded)
        extra = sorted(self._active, key=lambda pod: (is_ready(pod), pod.metadata.creation_timestamp or ""))
        return [delete_pod(pod) for pod in extra[: max(len(extra) - most, 0)]]

    def _document(self, index: int | None, failures: int | None = None) -> Document:
        job = self._job
        prefix = f"{job.metadata.name}-" if index is None else f"{job.metadata.name}-{index}-"
        pod = make_pod(
            self._view.template, prefix=prefix, namespace=job.metadata.namespace, owner=owner_of(job).reference()
        )
        metadata: Document = {**mapping_at(pod, "metadata")}
        metadata["finalizers"] = [*items_at(metadata, "finalizers"), FINALIZER]
        if index is None:
            return {**pod, "metadata": metadata}
        notes: Document = {**mapping_at(metadata, "annotations"), INDEX: str(index)}
        if failures is not None:
            notes[FAILURES] = str(failures)
        labels: Document = {**mapping_at(metadata, "labels"), INDEX: str(index)}
        spec: Document = {**mapping_at(pod, "spec"), "hostname": f"{job.metadata.name}-{index}"}
        spec["containers"] = _told_index(spec, "containers")
        if items_at(spec, "initContainers"):
            spec["initContainers"] = _told_index(spec, "initContainers")
        return {**pod, "metadata": {**metadata, "annotations": notes, "labels": labels}, "spec": spec}

    def _release(self, pods: Iterable[Pod]) -> Iterable[Patch]:
        """Take the finalizer off pods whose end the status has noted already, or that no longer matter."""
        over = bool(ending_of(self._job)) or self._job.metadata.deletion_timestamp is not None
        noted = self._noted_succeeded | self._noted_failed | {pod.metadata.uid for pod in self._ignored}
        for pod in pods:
            meta = pod.metadata
            if FINALIZER in meta.finalizers and (
                over or meta.uid in noted or (self._suspended and not is_finished(pod))
            ):
                yield _released(pod)

    def _keep_status(self, succeeded: int, failed: int, active: int) -> Iterable[Patch]:
        patch = self._status(succeeded, failed, None, active=active)
        wanted, old = mapping_at(patch.patch, "status"), self._job.status
        noted = old.uncounted_terminated_pods
        known: Document = {
            "active": old.active or None,
            "ready": old.ready or 0,
            "terminating": old.terminating or 0,
            "succeeded": old.succeeded or None,
            "failed": old.failed or None,
            "completedIndexes": old.completed_indexes or None,
            "failedIndexes": old.failed_indexes,
            "startTime": old.start_time,
            "uncountedTerminatedPods": {
                "succeeded": list(noted.succeeded) if noted and noted.succeeded else None,
                "failed": list(noted.failed) if noted and noted.failed else None,
            },
        }
        if wanted != known:
            yield patch

    def _status(self, succeeded: int, failed: int, ending: tuple[str, str, str] | None, *, active: int) -> Patch:
        job, now = self._job, format_time(self._view.now)
        held = {pod.metadata.uid for pod in self._view.pods if FINALIZER in pod.metadata.finalizers}
        ended_well = {pod.metadata.uid for pod in self._succeeded}
        ended_badly = {pod.metadata.uid for pod in (*self._failed, *self._lost())}
        noted_well = sorted((self._noted_succeeded | ended_well) & held) if ending is None else []
        noted_badly = sorted((self._noted_failed | ended_badly) & held) if ending is None else []
        status: Document = {
            "active": active or None,
            "ready": sum(is_ready(pod) for pod in self._active) if ending is None else 0,
            "terminating": sum(
                1 for pod in self._view.pods if pod.metadata.deletion_timestamp and not is_finished(pod)
            ),
            "succeeded": (succeeded - (0 if self._indexed else len(noted_well))) or None,
            "failed": (failed - len(noted_badly)) or None,
            "completedIndexes": format_indexes(self._all_done) or None if self._indexed else None,
            "failedIndexes": format_indexes(self._given_up) if job.spec.backoff_limit_per_index is not None else None,
            "startTime": None if self._suspended else (job.status.start_time or now),
            "uncountedTerminatedPods": {"succeeded": [*noted_well] or None, "failed": [*noted_badly] or None},
        }
        meta = job.metadata
        if ending is not None:
            kind, reason, message = ending
            first = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}[kind]
            conditions: list[Json] = [
                {
                    "type": each,
                    "status": "True",
                    "reason": reason,
                    "message": message,
                    "lastProbeTime": now,
                    "lastTransitionTime": now,
                }
                for each in (first, kind)
            ]
            status["conditions"] = conditions
            if kind == "Complete":
                status["completionTime"] = now
        elif (suspended := self._suspension(now)) is not None:
            status["conditions"] = [suspended]
        patch: Document = {"status": status}
        return Patch(kind=Job, namespace=meta.namespace, name=meta.name, patch=patch, subresource="status")

    def _suspension(self, now: str) -> Document | None:
        """The condition to write when the Job was suspended or taken up again, None while nothing changed."""
        known = next((each for each in self._job.status.conditions if each.type == "Suspended"), None)
        if self._suspended == (known is not None and known.status == "True"):
            return None
        verb = "Suspended" if self._suspended else "Resumed"
        return {
            "type": "Suspended",
            "status": str(self._suspended),
            "reason": f"Job{verb}",
            "message": f"Job {verb.lower()}",
            "lastProbeTime": now,
            "lastTransitionTime": now,
        }

    def _told(self, ending: str, why: tuple[str, str]) -> tuple[str, str, bool]:
        return ("Completed", "Job completed", False) if ending == "Complete" else (*why, True)

    def _clean_up(self) -> Iterable[Action]:
        """Delete a Job that has ended, with its pods, when its time to live is over."""
        job, limit = self._job, self._job.spec.ttl_seconds_after_finished
        if limit is None or not ending_of(job) or job.metadata.deletion_timestamp is not None:
            return
        times = [parse_time(each.last_transition_time) for each in job.status.conditions if each.type in _ENDINGS]
        left = max((time for time in times if time is not None), default=self._view.now) + limit - self._view.now
        if left > 0:
            yield Again(left)
            return
        meta = job.metadata
        yield Delete(kind=Job, namespace=meta.namespace, name=meta.name, uid=meta.uid, propagation="Foreground")


def _released(pod: Pod) -> Patch:
    meta = pod.metadata
    kept: list[Json] = [each for each in meta.finalizers if each != FINALIZER]
    patch: Document = {"metadata": {"uid": meta.uid, "finalizers": kept}}
    return Patch(kind=Pod, namespace=meta.namespace, name=meta.name, patch=patch)


def release_orphans(job: str, pods: Iterable[Pod]) -> list[Patch]:
    """Take the finalizer off pods of a Job that is gone: nobody counts them any more."""
    return [_released(pod) for pod in pods if (owner := pod.metadata.controller) and owner.name == job]


def _ended_at(pod: Pod) -> str | None:
    """When the last container of a pod ended."""
    ends = [each.state.terminated.finished_at for each in pod.status.container_statuses if each.state.terminated]
    return max((end for end in ends if end), default=None)


def _told_index(spec: Document, field: str) -> list[Json]:
    """Containers with the variable JOB_COMPLETION_INDEX, taken from the annotation."""
    where: Document = {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX}']"}}
    variable: Document = {"name": "JOB_COMPLETION_INDEX", "valueFrom": where}
    return [
        {**each, "env": [*items_at(each, "env"), variable]} for each in items_at(spec, field) if isinstance(each, dict)
    ]


def _tell(job: Job, reason: str, message: str, warning: bool) -> Tell:
    meta = job.metadata
    about = About(api_version="batch/v1", kind="Job", namespace=meta.namespace, name=meta.name, uid=meta.uid)
    return Tell(about=about, reason=reason, message=message, warning=warning, component=COMPONENT)


def tell_created(job: Job, pod: str) -> Tell:
    """The Event of a pod made."""
    return _tell(job, "SuccessfulCreate", f"Created pod: {pod}", False)
