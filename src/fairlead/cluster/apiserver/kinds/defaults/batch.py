"""Defaults of Jobs and CronJobs, and what the server adds to a new Job.

Source: SetDefaults_* of k8s.io/kubernetes/pkg/apis/batch/v1/defaults.go, generateSelector of
pkg/registry/batch/job/strategy.go.
"""

from fairlead.cluster.apiserver.kinds.defaults.pods import default_template
from fairlead.cluster.apiserver.kinds.editing import child, children, fill
from fairlead.kube.documents import Document, flag_at, mapping_at, text_at

OWN_UID, OWN_NAME = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
MAX_INT32 = 2**31 - 1
FORMER_UID, FORMER_NAME = "controller-uid", "job-name"


def default_job(job: Document) -> None:
    """Fill in a Job: one pod that must succeed once, tried seven times."""
    default_job_spec(child(job, "spec"))


def default_job_spec(spec: Document) -> None:
    """Fill in what Jobs and Job templates share."""
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    tries = MAX_INT32 if spec.get("backoffLimitPerIndex") is not None else 6
    for key, value in (("parallelism", 1), ("backoffLimit", tries)):
        if spec.get(key) is None:
            spec[key] = value
    fill(spec, "completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    policy = spec.get("podFailurePolicy")
    fill(spec, "podReplacementPolicy", "TerminatingOrFailed" if policy is None else "Failed")
    for rule in children(mapping_at(policy), "rules"):
        for condition in children(rule, "onPodConditions"):
            fill(condition, "status", "True")
    if spec.get("manualSelector") is None:
        spec["manualSelector"] = False
    default_template(child(spec, "template"))


def default_cron_job(cron_job: Document) -> None:
    """Fill in a CronJob: three good Jobs and a bad one are kept."""
    spec = child(cron_job, "spec")
    fill(spec, "concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    for key, value in (("successfulJobsHistoryLimit", 3), ("failedJobsHistoryLimit", 1)):
        if spec.get(key) is None:
            spec[key] = value
    template = child(spec, "jobTemplate")
    child(template, "metadata")
    own = child(template, "spec")
    pods = child(own, "template")
    default_template(pods)


def prepare_job(job: Document) -> None:
    """Begin without a status, and tell the Job's pods from those of others by labels with its uid."""
    job["status"] = {}
    spec = child(job, "spec")
    if flag_at(spec, "manualSelector"):
        return
    uid, name = text_at(job, "metadata", "uid"), text_at(job, "metadata", "name")
    labels = child(child(child(spec, "template"), "metadata"), "labels")
    labels.update({FORMER_UID: uid, FORMER_NAME: name, OWN_UID: uid, OWN_NAME: name})
    child(child(spec, "selector"), "matchLabels")[OWN_UID] = uid
