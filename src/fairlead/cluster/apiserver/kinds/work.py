"""Rows of the table of kinds for numbered pods and work that ends: StatefulSet, ControllerRevision, Job, CronJob."""

from fairlead.cluster.apiserver.kinds import prepare, selectable
from fairlead.cluster.apiserver.kinds.columns import batch as batch_columns
from fairlead.cluster.apiserver.kinds.columns import workloads as workloads_columns
from fairlead.cluster.apiserver.kinds.defaults import batch, workloads
from fairlead.cluster.apiserver.kinds.errors import AdmissionError
from fairlead.cluster.apiserver.kinds.spec import KindSpec, ListDocuments, Subresource
from fairlead.cluster.apiserver.kinds.validation import batch as batch_rules
from fairlead.cluster.apiserver.kinds.validation import texts, unserved
from fairlead.cluster.apiserver.kinds.validation import workloads as workload_rules
from fairlead.cluster.apiserver.kinds.validation.fields import listed, listed_update, metadata_of
from fairlead.kube import apps
from fairlead.kube import batch as batch_types
from fairlead.kube.documents import Document
from fairlead.kube.resources import Resource, resource_of

_READ_WRITE = ("get", "patch", "update")
_ALL = ("all",)


def _status(kind: str) -> Subresource:
    return Subresource(name="status", kind=kind, verbs=_READ_WRITE)


def _refuse_replication_controller(document: Document, old: Document | None, listed: ListDocuments) -> None:
    raise AdmissionError("this cluster runs no replication controllers; make a Deployment of apps/v1 in its place")


STATEFUL_SET = KindSpec(
    resource=resource_of(apps.StatefulSet),
    singular="statefulset",
    schema="io.k8s.api.apps.v1.StatefulSet",
    short_names=("sts",),
    categories=_ALL,
    subresources=(
        Subresource(name="scale", kind="Scale", group="autoscaling", version="v1", verbs=_READ_WRITE),
        _status("StatefulSet"),
    ),
    has_generation=True,
    has_status=True,
    columns=workloads_columns.STATEFUL_SET,
    row=workloads_columns.stateful_set_row,
    default=workloads.default_stateful_set,
    prepare_create=prepare.drop_status,
    prepare_update=prepare.keep_status,
    prepare_status=prepare.only_status,
    validate=listed(metadata_of(texts.dns_subdomain), workload_rules.stateful_set_rules),
    validate_update=listed_update(workload_rules.stateful_set_update_rules),
    warnings=unserved.template_warnings("spec", "template"),
)

CONTROLLER_REVISION = KindSpec(
    resource=resource_of(apps.ControllerRevision),
    singular="controllerrevision",
    schema="io.k8s.api.apps.v1.ControllerRevision",
    columns=workloads_columns.CONTROLLER_REVISION,
    row=workloads_columns.controller_revision_row,
    validate=listed(metadata_of(texts.dns_subdomain), workload_rules.controller_revision_rules),
    validate_update=listed_update(workload_rules.controller_revision_update_rules),
)

JOB = KindSpec(
    resource=resource_of(batch_types.Job),
    singular="job",
    schema="io.k8s.api.batch.v1.Job",
    categories=_ALL,
    subresources=(_status("Job"),),
    has_generation=True,
    has_status=True,
    columns=batch_columns.JOB,
    row=batch_columns.job_row,
    field_label_names=selectable.JOB,
    field_labels=selectable.job_labels,
    default=batch.default_job,
    prepare_create=batch.prepare_job,
    prepare_update=prepare.keep_status,
    prepare_status=prepare.only_status,
    validate=listed(metadata_of(texts.dns_subdomain), batch_rules.job_rules),
    validate_update=listed_update(batch_rules.job_update_rules),
    warnings=unserved.template_warnings("spec", "template"),
)

CRON_JOB = KindSpec(
    resource=resource_of(batch_types.CronJob),
    singular="cronjob",
    schema="io.k8s.api.batch.v1.CronJob",
    short_names=("cj",),
    categories=_ALL,
    subresources=(_status("CronJob"),),
    has_generation=True,
    has_status=True,
    columns=batch_columns.CRON_JOB,
    row=batch_columns.cron_job_row,
    default=batch.default_cron_job,
    prepare_create=prepare.drop_status,
    prepare_update=prepare.keep_status,
    prepare_status=prepare.only_status,
    validate=listed(metadata_of(texts.dns_subdomain), batch_rules.cron_job_rules),
    warnings=unserved.template_warnings("spec", "jobTemplate", "spec", "template"),
)

REPLICATION_CONTROLLER = KindSpec(
    resource=Resource("", "v1", "ReplicationController", "replicationcontrollers", True),
    singular="replicationcontroller",
    schema="io.k8s.api.core.v1.ReplicationController",
    short_names=("rc",),
    categories=_ALL,
    subresources=(
        Subresource(name="scale", kind="Scale", group="autoscaling", version="v1", verbs=_READ_WRITE),
        _status("ReplicationController"),
    ),
    columns=workloads_columns.REPLICA_SET,
    row=workloads_columns.replica_set_row,
    field_label_names=selectable.REPLICA_SET,
    field_labels=selectable.replica_set_labels,
    admit=_refuse_replication_controller,
)
"""Listed for those who ask for every kind there is, such as `kubectl apply --prune`; there are never any."""

WORK: tuple[KindSpec, ...] = (REPLICATION_CONTROLLER, STATEFUL_SET, CONTROLLER_REVISION, JOB, CRON_JOB)
