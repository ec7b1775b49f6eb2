"""Rows of the table of kinds for storage, priorities and disruption budgets."""

from fairlead.cluster.apiserver.kinds import prepare
from fairlead.cluster.apiserver.kinds.columns import storage as columns
from fairlead.cluster.apiserver.kinds.defaults import storage as defaults
from fairlead.cluster.apiserver.kinds.spec import KindSpec, ListDocuments, Subresource
from fairlead.cluster.apiserver.kinds.validation import storage as rules
from fairlead.cluster.apiserver.kinds.validation import texts, unserved
from fairlead.cluster.apiserver.kinds.validation.fields import listed, listed_update, metadata_of
from fairlead.kube import disruption
from fairlead.kube import storage as types
from fairlead.kube.documents import Document
from fairlead.kube.resources import Resource, resource_of

_READ_WRITE = ("get", "patch", "update")


def _status(kind: str) -> tuple[Subresource, ...]:
    return (Subresource(name="status", kind=kind, verbs=_READ_WRITE),)


def _admit_claim(claim: Document, old: Document | None, listed: ListDocuments) -> None:
    if old is None:
        defaults.admit_claim(claim, listed(STORAGE_CLASS.resource, ""))


def _admit_volume(volume: Document, old: Document | None, listed: ListDocuments) -> None:
    if old is None:
        defaults.admit_volume(volume)


STORAGE_CLASS = KindSpec(
    resource=resource_of(types.StorageClass),
    singular="storageclass",
    schema="io.k8s.api.storage.v1.StorageClass",
    short_names=("sc",),
    columns=columns.STORAGE_CLASS,
    row=columns.storage_class_row,
    default=defaults.default_storage_class,
    validate=listed(metadata_of(texts.dns_subdomain), rules.storage_class_rules),
    validate_update=listed_update(rules.storage_class_update_rules),
)

CLAIM = KindSpec(
    resource=resource_of(types.PersistentVolumeClaim),
    singular="persistentvolumeclaim",
    schema="io.k8s.api.core.v1.PersistentVolumeClaim",
    short_names=("pvc",),
    subresources=_status("PersistentVolumeClaim"),
    has_status=True,
    columns=columns.CLAIM,
    row=columns.claim_row,
    default=defaults.default_claim,
    admit=_admit_claim,
    prepare_create=defaults.prepare_claim,
    prepare_update=prepare.keep_status,
    prepare_status=prepare.only_status,
    validate=listed(metadata_of(texts.dns_subdomain), rules.claim_rules),
    validate_update=listed_update(rules.claim_update_rules),
    warnings=unserved.claim_warnings,
)

VOLUME = KindSpec(
    resource=resource_of(types.PersistentVolume),
    singular="persistentvolume",
    schema="io.k8s.api.core.v1.PersistentVolume",
    short_names=("pv",),
    subresources=_status("PersistentVolume"),
    has_status=True,
    columns=columns.VOLUME,
    row=columns.volume_row,
    default=defaults.default_volume,
    admit=_admit_volume,
    prepare_create=defaults.prepare_volume,
    prepare_update=prepare.keep_status,
    prepare_status=prepare.only_status,
    validate=listed(metadata_of(texts.dns_subdomain), rules.volume_rules),
    warnings=unserved.volume_warnings,
)

PRIORITY_CLASS = KindSpec(
    resource=Resource("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", False),
    singular="priorityclass",
    schema="io.k8s.api.scheduling.v1.PriorityClass",
    short_names=("pc",),
    has_generation=True,
    columns=columns.PRIORITY_CLASS,
    row=columns.priority_class_row,
    default=defaults.default_priority_class,
    validate=listed(metadata_of(texts.dns_subdomain), rules.priority_class_rules),
    validate_update=listed_update(rules.priority_class_update_rules),
)

BUDGET = KindSpec(
    resource=resource_of(disruption.PodDisruptionBudget),
    singular="poddisruptionbudget",
    schema="io.k8s.api.policy.v1.PodDisruptionBudget",
    short_names=("pdb",),
    subresources=_status("PodDisruptionBudget"),
    has_generation=True,
    has_status=True,
    columns=columns.BUDGET,
    row=columns.budget_row,
    prepare_create=prepare.drop_status,
    prepare_update=prepare.keep_status,
    prepare_status=prepare.only_status,
    validate=listed(metadata_of(texts.dns_subdomain), rules.budget_rules),
)

STORAGE: tuple[KindSpec, ...] = (STORAGE_CLASS, CLAIM, VOLUME, PRIORITY_CLASS, BUDGET)
