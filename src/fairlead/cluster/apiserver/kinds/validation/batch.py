"""What is wrong with a Job or a CronJob.

In: a document with defaults, and for an update its predecessor. Out: FieldErrors. Source:
k8s.io/kubernetes/pkg/apis/batch/validation/validation.go. Rules of a Job that are not carried out here are refused.
"""

from fairlead.cluster.apiserver.kinds.errors import forbidden, invalid, required, unsupported
from fairlead.cluster.apiserver.kinds.validation.fields import Found, immutable, not_negative, one_of
from fairlead.cluster.apiserver.kinds.validation.job_policies import job_policy_rules
from fairlead.cluster.apiserver.kinds.validation.pods import pod_spec
from fairlead.kube.documents import Document, mapping_at, number_at, text_at
from fairlead.kube.schedules import Schedule, find_zone

_NUMBERS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_UNSERVED = ("scheduling",)
_LONGEST_CRON_NAME = 52


def job_rules(job: Document) -> Found:
    """Judge a Job."""
    yield from job_spec_rules(mapping_at(job, "spec"), "spec")


def job_spec_rules(spec: Document, path: str) -> Found:
    """Judge the spec of a Job or of a Job template."""
    yield from not_negative(spec, path, *_NUMBERS)
    for field in _UNSERVED:
        if spec.get(field) is not None:
            yield forbidden(f"{path}.{field}", "this server does not carry it out; leave it out")
    mode = text_at(spec, "completionMode")
    if mode:
        yield from one_of(f"{path}.completionMode", mode, ("NonIndexed", "Indexed"))
    if mode == "Indexed" and number_at(spec, "completions") is None:
        yield required(f"{path}.completions", "when completion mode is Indexed")
    yield from job_policy_rules(spec, path)
    template = mapping_at(spec, "template")
    yield from pod_spec(mapping_at(template, "spec"), f"{path}.template.spec")
    policy = text_at(template, "spec", "restartPolicy")
    if policy == "Always":
        yield required(f"{path}.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')
    elif policy not in ("OnFailure", "Never"):
        yield unsupported(f"{path}.template.spec.restartPolicy", policy, ("OnFailure", "Never"))


def job_update_rules(new: Document, old: Document) -> Found:
    """Refuse to change what a Job's pods were made by; while it is suspended and never ran, the template may change."""
    before, after = mapping_at(old, "spec"), mapping_at(new, "spec")
    yield from immutable("spec.selector", after.get("selector"), before.get("selector"))
    if not (before.get("suspend") and not text_at(old, "status", "startTime")):
        yield from immutable("spec.template", after.get("template"), before.get("template"))
    for field in ("podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "managedBy"):
        yield from immutable(f"spec.{field}", after.get(field), before.get(field))
    yield from immutable("spec.completionMode", after.get("completionMode"), before.get("completionMode"))
    if after.get("completionMode") != "Indexed" or after.get("completions") != after.get("parallelism"):
        yield from immutable("spec.completions", after.get("completions"), before.get("completions"))


def cron_job_rules(cron_job: Document) -> Found:
    """Judge a CronJob."""
    spec = mapping_at(cron_job, "spec")
    schedule = text_at(spec, "schedule")
    if len(text_at(cron_job, "metadata", "name")) > _LONGEST_CRON_NAME:
        yield invalid("metadata.name", text_at(cron_job, "metadata", "name"), "must be no more than 52 characters")
    if not schedule:
        yield required("spec.schedule")
    elif "TZ" in schedule:
        detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        yield invalid("spec.schedule", schedule, detail)
    else:
        try:
            Schedule(schedule)
        except ValueError as error:
            yield invalid("spec.schedule", schedule, str(error))
    zone = spec.get("timeZone")
    if isinstance(zone, str):
        try:
            find_zone(zone)
        except ValueError as error:
            yield invalid("spec.timeZone", zone, str(error))
    yield from not_negative(
        spec, "spec", "startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"
    )
    policy = text_at(spec, "concurrencyPolicy")
    yield from one_of("spec.concurrencyPolicy", policy, ("Allow", "Forbid", "Replace"))
    yield from job_spec_rules(mapping_at(spec, "jobTemplate", "spec"), "spec.jobTemplate.spec")
