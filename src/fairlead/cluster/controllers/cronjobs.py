"""CronJobs: one with its Jobs comes in; Jobs to create and delete and its status go out.

Semantics of upstream's pkg/controller/cronjob/cronjob_controllerv2.go. Only the latest missed time is made up for.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from msgspec import Struct

from fairlead.cluster.controllers.actions import About, Action, Again, Create, Delete, Patch, Tell
from fairlead.cluster.controllers.jobs import ending_of
from fairlead.cluster.controllers.ownership import Owner
from fairlead.cluster.controllers.timestamps import format_time, parse_time
from fairlead.kube.batch import CronJob, Job
from fairlead.kube.documents import Document, Json, mapping_at
from fairlead.kube.schedules import Schedule, find_zone

COMPONENT = "cronjob-controller"
SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_MANY_MISSED = 100


class CronView(Struct, frozen=True, kw_only=True):
    """A CronJob as its controller sees it: the CronJob, its Job template as written, and its own Jobs."""

    cron_job: CronJob
    job_template: Document
    jobs: tuple[Job, ...]
    now: float


def owner_of(cron_job: CronJob) -> Owner:
    """The CronJob as the owner of its Jobs."""
    meta = cron_job.metadata
    deleting = meta.deletion_timestamp is not None
    return Owner(api_version="batch/v1", kind="CronJob", name=meta.name, uid=meta.uid, deleting=deleting)


def reconcile(view: CronView) -> tuple[Action, ...]:
    """The next steps and the status."""
    if view.cron_job.metadata.deletion_timestamp is not None:
        return ()
    return tuple(_actions(view))


def _actions(view: CronView) -> Iterable[Action]:
    cron_job, spec = view.cron_job, view.cron_job.spec
    yield from _forget_old(view)
    active = [job for job in view.jobs if not ending_of(job)]
    started: float | None = None
    try:
        schedule = Schedule(spec.schedule, spec.time_zone)
    except ValueError as error:
        yield _tell(cron_job, "UnParseableCronJobSchedule", f"unparseable schedule: {spec.schedule!r} : {error}", True)
        yield from _status(view, active, None)
        return
    if not spec.suspend:
        due, missed = schedule.latest(_since(view), view.now)
        if missed > _MANY_MISSED:
            remedy = "Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            text = f"too many missed start times: {missed}. {remedy}"
            yield _tell(cron_job, "TooManyMissedTimes", text, True)
        if due is not None:
            steps, started = _start(view, due, active)
            yield from steps
        yield Again(max(schedule.next(view.now) - view.now, 0.0) + 0.01)
    yield from _status(view, active, started)


def _since(view: CronView) -> float:
    """The earliest time a start may be due for."""
    spec, status = view.cron_job.spec, view.cron_job.status
    earliest = (
        parse_time(status.last_schedule_time) or parse_time(view.cron_job.metadata.creation_timestamp) or view.now
    )
    if spec.starting_deadline_seconds is not None:
        earliest = max(earliest, view.now - spec.starting_deadline_seconds)
    return earliest


def _start(view: CronView, due: float, active: list[Job]) -> tuple[list[Action], float | None]:
    """The Job of a time that is due, and that time when it counts as started."""
    cron_job = view.cron_job
    name = f"{cron_job.metadata.name}-{int(due) // 60}"
    if any(job.metadata.name == name for job in view.jobs):
        return [], due
    steps: list[Action] = []
    if active and cron_job.spec.concurrency_policy == "Forbid":
        told = "Not starting job because prior execution is running and concurrency policy is Forbid"
        return [_tell(cron_job, "JobAlreadyActive", told, False)], None
    if cron_job.spec.concurrency_policy == "Replace":
        steps += (_delete(job, "Background") for job in active)
    steps.append(Create(kind=Job, document=_document(view, name, due)))
    steps.append(_tell(cron_job, "SuccessfulCreate", f"Created job {name}", False))
    return steps, due


def _document(view: CronView, name: str, due: float) -> Document:
    meta = view.cron_job.metadata
    template = view.job_template
    zone = view.cron_job.spec.time_zone
    moment = datetime.fromtimestamp(due, find_zone(zone) if zone else UTC).isoformat().replace("+00:00", "Z")
    notes: Document = {**mapping_at(template, "metadata", "annotations"), SCHEDULED: moment}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": meta.namespace,
            "labels": mapping_at(template, "metadata", "labels"),
            "annotations": notes,
            "ownerReferences": [owner_of(view.cron_job).reference()],
        },
        "spec": mapping_at(template, "spec"),
    }


def _forget_old(view: CronView) -> Iterable[Delete]:
    """Delete ended Jobs beyond the limits, oldest first."""
    spec = view.cron_job.spec
    for ending, limit, usual in (
        ("Complete", spec.successful_jobs_history_limit, 3),
        ("Failed", spec.failed_jobs_history_limit, 1),
    ):
        ended = sorted(
            (job for job in view.jobs if ending_of(job) == ending and not job.metadata.deletion_timestamp),
            key=lambda job: (job.status.start_time or "", job.metadata.name),
        )
        kept = usual if limit is None else limit
        yield from (_delete(job, "Background") for job in ended[: max(len(ended) - kept, 0)])


def _delete(job: Job, propagation: str) -> Delete:
    meta = job.metadata
    return Delete(kind=Job, namespace=meta.namespace, name=meta.name, uid=meta.uid, propagation=propagation)


def _status(view: CronView, active: list[Job], started: float | None) -> Iterable[Patch]:
    cron_job = view.cron_job
    meta, old = cron_job.metadata, cron_job.status
    ends = [job.status.completion_time for job in view.jobs if job.status.completion_time]
    references: list[Json] = [
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": job.metadata.name,
            "namespace": meta.namespace,
            "uid": job.metadata.uid,
            "resourceVersion": job.metadata.resource_version,
        }
        for job in sorted(active, key=lambda job: job.metadata.name)
    ]
    known = (tuple(each.uid for each in old.active), old.last_schedule_time, old.last_successful_time)
    last = format_time(started) if started is not None else old.last_schedule_time
    best = max([*ends, old.last_successful_time or ""]) or None
    if known != (tuple(job.metadata.uid for job in sorted(active, key=lambda job: job.metadata.name)), last, best):
        status: Document = {"active": references or None, "lastScheduleTime": last, "lastSuccessfulTime": best}
        patch: Document = {"status": status}
        yield Patch(kind=CronJob, namespace=meta.namespace, name=meta.name, patch=patch, subresource="status")


def _tell(cron_job: CronJob, reason: str, message: str, warning: bool) -> Tell:
    meta = cron_job.metadata
    about = About(api_version="batch/v1", kind="CronJob", namespace=meta.namespace, name=meta.name, uid=meta.uid)
    return Tell(about=about, reason=reason, message=message, warning=warning, component=COMPONENT)
