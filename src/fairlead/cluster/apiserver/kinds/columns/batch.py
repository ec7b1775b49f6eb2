"""The columns of Jobs and CronJobs.

Source: printJob and printCronJob of k8s.io/kubernetes/pkg/printers/internalversion/printers.go.
"""

from fairlead.cluster.apiserver.kinds.columns.ages import age_text, duration_between
from fairlead.cluster.apiserver.kinds.columns.plain import AGE, NAME, age_of, name_of
from fairlead.cluster.apiserver.kinds.columns.texts import CONTAINERS, IMAGES, NONE, SELECTOR, template_cells
from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.spec import Column
from fairlead.kube.documents import Document, Json, flag_at, mapping_at, number_at, text_at

JOB = (
    NAME,
    Column("Status", "string", "", "How far the job is."),
    Column("Completions", "string", "", "How many pods have succeeded, of how many."),
    Column("Duration", "string", "", "How long the job has taken so far, or took."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
)
CRON_JOB = (
    NAME,
    Column("Schedule", "string", "", "When jobs are made."),
    Column("Timezone", "string", "", "The time zone of the schedule."),
    Column("Suspend", "boolean", "", "Whether no more jobs are made for now."),
    Column("Active", "integer", "", "How many jobs are running."),
    Column("Last Schedule", "string", "", "How long ago the last job was made."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
)


def job_row(job: Document, now: float) -> list[Json]:
    """Return the cells of `JOB`."""
    spec, status = mapping_at(job, "spec"), mapping_at(job, "status")
    succeeded, completions = number_at(status, "succeeded") or 0, number_at(spec, "completions")
    parallel = number_at(spec, "parallelism") or 0
    whole = str(completions) if completions is not None else f"1 of {parallel}" if parallel > 1 else "1"
    start, end = text_at(status, "startTime"), text_at(status, "completionTime")
    duration = duration_between(start, end, now) if start else ""
    return [
        name_of(job),
        _state(job),
        f"{succeeded}/{whole}",
        duration,
        age_of(job, now),
        *template_cells(job),
    ]


def _state(job: Document) -> str:
    held = {text_at(each, "type") for each in children(mapping_at(job, "status"), "conditions") if _holds(each)}
    if "Complete" in held:
        return "Complete"
    if "Failed" in held:
        return "Failed"
    if text_at(job, "metadata", "deletionTimestamp"):
        return "Terminating"
    for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if kind in held:
            return kind
    return "Running"


def _holds(condition: Document) -> bool:
    return text_at(condition, "status") == "True"


def cron_job_row(cron_job: Document, now: float) -> list[Json]:
    """Return the cells of `CRON_JOB`."""
    spec, status = mapping_at(cron_job, "spec"), mapping_at(cron_job, "status")
    last = text_at(status, "lastScheduleTime")
    return [
        name_of(cron_job),
        text_at(spec, "schedule"),
        text_at(spec, "timeZone") or NONE,
        flag_at(spec, "suspend"),
        len(children(status, "active")),
        age_text(last, now) if last else NONE,
        age_of(cron_job, now),
        *template_cells(mapping_at(spec, "jobTemplate")),
    ]
