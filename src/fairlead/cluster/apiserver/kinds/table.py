"""The table of kinds: every resource that the embedded API server serves, a row each."""

from fairlead.cluster.apiserver.custom.kinds import DEFINITION
from fairlead.cluster.apiserver.kinds import prepare, selectable
from fairlead.cluster.apiserver.kinds.access import ACCESS
from fairlead.cluster.apiserver.kinds.addresses import ADDRESSES
from fairlead.cluster.apiserver.kinds.autoscaling import AUTOSCALER, AUTOSCALER_V1
from fairlead.cluster.apiserver.kinds.cluster_policies import CLUSTER_NETWORK_POLICY
from fairlead.cluster.apiserver.kinds.columns import basics as basics_columns
from fairlead.cluster.apiserver.kinds.columns import networking as networking_columns
from fairlead.cluster.apiserver.kinds.columns import pods as pods_columns
from fairlead.cluster.apiserver.kinds.columns import services as services_columns
from fairlead.cluster.apiserver.kinds.columns import workloads as workloads_columns
from fairlead.cluster.apiserver.kinds.defaults import (
    accounts,
    basics,
    networking,
    pods,
    priorities,
    services,
    workloads,
)
from fairlead.cluster.apiserver.kinds.ending import pod_grace_seconds
from fairlead.cluster.apiserver.kinds.errors import AdmissionError
from fairlead.cluster.apiserver.kinds.quality import quality_of_service
from fairlead.cluster.apiserver.kinds.spec import KindSpec, ListDocuments, Subresource
from fairlead.cluster.apiserver.kinds.storage import PRIORITY_CLASS, STORAGE
from fairlead.cluster.apiserver.kinds.validation import basics as basics_rules
from fairlead.cluster.apiserver.kinds.validation import endpoints as endpoint_rules
from fairlead.cluster.apiserver.kinds.validation import networking as network_rules
from fairlead.cluster.apiserver.kinds.validation import pods as pod_rules
from fairlead.cluster.apiserver.kinds.validation import services as service_rules
from fairlead.cluster.apiserver.kinds.validation import texts, unserved
from fairlead.cluster.apiserver.kinds.validation import workloads as workload_rules
from fairlead.cluster.apiserver.kinds.validation.fields import listed, listed_update, metadata_of
from fairlead.cluster.apiserver.kinds.work import WORK
from fairlead.kube import apps, core, discovery
from fairlead.kube import coordination as coordination_types
from fairlead.kube import networking as networking_types
from fairlead.kube.documents import Document, mapping_at, text_at
from fairlead.kube.resources import resource_of

_READ_WRITE = ("get", "patch", "update")
_PROXY_VERBS = ("create", "delete", "get", "patch", "update")
_ALL = ("all",)

_STREAM_VERBS = ("create", "get")
_SCALE = Subresource(name="scale", kind="Scale", group="autoscaling", version="v1", verbs=_READ_WRITE)

_TOKEN = Subresource(name="token", kind="TokenRequest", group="authentication.k8s.io", version="v1", verbs=("create",))


def _status(kind: str) -> Subresource:
    return Subresource(name="status", kind=kind, verbs=_READ_WRITE)


def _admit_pod(pod: Document, old: Document | None, listed: ListDocuments) -> None:
    if old is None:
        pods.admit_pod(pod)
        priorities.prioritize(pod, listed(PRIORITY_CLASS.resource, ""))
        if name := text_at(pod, "spec", "runtimeClassName"):
            raise AdmissionError(f'pod rejected: RuntimeClass "{name}" not found')
        accounts.mount_token(pod, listed(SERVICE_ACCOUNT.resource, text_at(pod, "metadata", "namespace")))


def _prepare_pod(pod: Document) -> None:
    pod["status"] = {"phase": "Pending", "qosClass": quality_of_service(mapping_at(pod, "spec"))}


def _admit_ingress(ingress: Document, old: Document | None, listed: ListDocuments) -> None:
    if old is None:
        networking.admit_ingress(ingress, listed(INGRESS_CLASS.resource, ""))


NAMESPACE = KindSpec(
    resource=resource_of(core.Namespace),
    singular="namespace",
    schema="io.k8s.api.core.v1.Namespace",
    short_names=("ns",),
    subresources=(Subresource(name="finalize", kind="Namespace", verbs=("update",)), _status("Namespace")),
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    has_status=True,
    columns=basics_columns.NAMESPACE,
    row=basics_columns.namespace_row,
    field_label_names=selectable.NAMESPACE,
    field_labels=selectable.texts_of(selectable.NAMESPACE),
    default=basics.default_namespace,
    prepare_create=basics.prepare_namespace_create,
    prepare_update=basics.prepare_namespace_update,
    prepare_status=prepare.only_status,
    validate=listed(metadata_of(texts.dns_label)),
)

NODE = KindSpec(
    resource=resource_of(core.Node),
    singular="node",
    schema="io.k8s.api.core.v1.Node",
    short_names=("no",),
    subresources=(Subresource(name="proxy", kind="NodeProxyOptions", verbs=_PROXY_VERBS), _status("Node")),
    has_status=True,
    columns=basics_columns.NODE,
    row=basics_columns.node_row,
    field_label_names=selectable.NODE,
    field_labels=selectable.node_labels,
    default=basics.default_node,
    prepare_update=prepare.keep_status,
    prepare_status=prepare.only_status,
    validate=listed(metadata_of(texts.dns_subdomain), basics_rules.node_rules),
    validate_update=listed_update(basics_rules.node_update_rules),
)

POD = KindSpec(
    resource=resource_of(core.Pod),
    singular="pod",
    schema="io.k8s.api.core.v1.Pod",
    short_names=("po",),
    categories=_ALL,
    subresources=(
        Subresource(name="attach", kind="PodAttachOptions", verbs=_STREAM_VERBS),
        Subresource(name="binding", kind="Binding", verbs=("create",)),
        Subresource(name="eviction", kind="Eviction", group="policy", version="v1", verbs=("create",)),
        Subresource(name="exec", kind="PodExecOptions", verbs=_STREAM_VERBS),
        Subresource(name="log", kind="Pod", verbs=("get",)),
        Subresource(name="portforward", kind="PodPortForwardOptions", verbs=_STREAM_VERBS),
        Subresource(name="proxy", kind="PodProxyOptions", verbs=_PROXY_VERBS),
        _status("Pod"),
    ),
    has_generation=True,
    has_status=True,
    columns=pods_columns.COLUMNS,
    row=pods_columns.row,
    field_label_names=selectable.POD,
    field_labels=selectable.pod_labels,
    default=pods.default_pod,
    admit=_admit_pod,
    prepare_create=_prepare_pod,
    prepare_update=prepare.keep_status,
    prepare_status=prepare.only_status,
    grace_seconds=pod_grace_seconds,
    validate=listed(metadata_of(texts.dns_subdomain), pod_rules.pod_rules),
    validate_create=listed(pod_rules.pod_create_rules),
    validate_update=listed_update(pod_rules.pod_update_rules),
    warnings=unserved.pod_warnings,
)

SERVICE = KindSpec(
    resource=resource_of(core.Service),
    singular="service",
    schema="io.k8s.api.core.v1.Service",
    short_names=("svc",),
    categories=_ALL,
    subresources=(Subresource(name="proxy", kind="ServiceProxyOptions", verbs=_PROXY_VERBS), _status("Service")),
    has_status=True,
    allow_create_on_update=True,
    columns=services_columns.SERVICE,
    row=services_columns.service_row,
    field_label_names=selectable.SERVICE,
    field_labels=selectable.texts_of(selectable.SERVICE),
    default=services.default_service,
    prepare_create=services.prepare_service_create,
    prepare_update=services.prepare_service_update,
    prepare_status=prepare.only_status,
    validate=listed(metadata_of(texts.dns_1035_label), service_rules.service_rules),
    validate_update=listed_update(service_rules.service_update_rules),
    warnings=service_rules.service_warnings,
)

ENDPOINTS = KindSpec(
    resource=resource_of(core.Endpoints),
    singular="endpoints",
    schema="io.k8s.api.core.v1.Endpoints",
    short_names=("ep",),
    allow_create_on_update=True,
    columns=services_columns.ENDPOINTS,
    row=services_columns.endpoints_row,
    default=networking.default_endpoints,
    validate=listed(metadata_of(texts.dns_subdomain), endpoint_rules.endpoints_rules),
)

CONFIG_MAP = KindSpec(
    resource=resource_of(core.ConfigMap),
    singular="configmap",
    schema="io.k8s.api.core.v1.ConfigMap",
    short_names=("cm",),
    columns=basics_columns.CONFIG_MAP,
    row=basics_columns.config_map_row,
    validate=listed(metadata_of(texts.dns_subdomain), basics_rules.config_map_rules),
    validate_update=listed_update(basics_rules.config_map_update_rules),
)

SECRET = KindSpec(
    resource=resource_of(core.Secret),
    singular="secret",
    schema="io.k8s.api.core.v1.Secret",
    columns=basics_columns.SECRET,
    row=basics_columns.secret_row,
    field_label_names=selectable.SECRET,
    field_labels=selectable.texts_of(selectable.SECRET),
    default=basics.default_secret,
    validate=listed(metadata_of(texts.dns_subdomain), basics_rules.secret_rules),
    validate_update=listed_update(basics_rules.secret_update_rules),
)

SERVICE_ACCOUNT = KindSpec(
    resource=resource_of(core.ServiceAccount),
    singular="serviceaccount",
    schema="io.k8s.api.core.v1.ServiceAccount",
    short_names=("sa",),
    subresources=(_TOKEN,),
    columns=basics_columns.SERVICE_ACCOUNT,
    row=basics_columns.service_account_row,
    validate=listed(metadata_of(texts.dns_subdomain)),
)

EVENT = KindSpec(
    resource=resource_of(core.Event),
    singular="event",
    schema="io.k8s.api.core.v1.Event",
    short_names=("ev",),
    allow_create_on_update=True,
    columns=basics_columns.EVENT,
    row=basics_columns.event_row,
    field_label_names=selectable.EVENT,
    field_labels=selectable.event_labels,
    validate=listed(metadata_of(texts.dns_subdomain)),
)

DEPLOYMENT = KindSpec(
    resource=resource_of(apps.Deployment),
    singular="deployment",
    schema="io.k8s.api.apps.v1.Deployment",
    short_names=("deploy",),
    categories=_ALL,
    subresources=(_SCALE, _status("Deployment")),
    has_generation=True,
    has_status=True,
    columns=workloads_columns.DEPLOYMENT,
    row=workloads_columns.deployment_row,
    default=workloads.default_deployment,
    prepare_create=prepare.drop_status,
    prepare_update=prepare.keep_status,
    prepare_status=prepare.only_status_and_no_labels,
    validate=listed(metadata_of(texts.dns_subdomain), workload_rules.deployment_rules),
    validate_update=listed_update(workload_rules.selector_update_rules),
    warnings=unserved.template_warnings("spec", "template"),
)

REPLICA_SET = KindSpec(
    resource=resource_of(apps.ReplicaSet),
    singular="replicaset",
    schema="io.k8s.api.apps.v1.ReplicaSet",
    short_names=("rs",),
    categories=_ALL,
    subresources=(_SCALE, _status("ReplicaSet")),
    has_generation=True,
    has_status=True,
    columns=workloads_columns.REPLICA_SET,
    row=workloads_columns.replica_set_row,
    field_label_names=selectable.REPLICA_SET,
    field_labels=selectable.replica_set_labels,
    default=workloads.default_replica_set,
    prepare_create=prepare.drop_status,
    prepare_update=prepare.keep_status,
    prepare_status=prepare.only_status,
    validate=listed(metadata_of(texts.dns_subdomain), workload_rules.replica_set_rules),
    validate_update=listed_update(workload_rules.selector_update_rules),
    warnings=unserved.template_warnings("spec", "template"),
)

DAEMON_SET = KindSpec(
    resource=resource_of(apps.DaemonSet),
    singular="daemonset",
    schema="io.k8s.api.apps.v1.DaemonSet",
    short_names=("ds",),
    categories=_ALL,
    subresources=(_status("DaemonSet"),),
    has_generation=True,
    has_status=True,
    columns=workloads_columns.DAEMON_SET,
    row=workloads_columns.daemon_set_row,
    default=workloads.default_daemon_set,
    prepare_create=prepare.drop_status,
    prepare_update=prepare.keep_status,
    prepare_status=prepare.only_status,
    validate=listed(metadata_of(texts.dns_subdomain), workload_rules.daemon_set_rules),
    validate_update=listed_update(workload_rules.selector_update_rules),
    warnings=unserved.template_warnings("spec", "template"),
)

ENDPOINT_SLICE = KindSpec(
    resource=resource_of(discovery.EndpointSlice),
    singular="endpointslice",
    schema="io.k8s.api.discovery.v1.EndpointSlice",
    has_generation=True,
    columns=services_columns.ENDPOINT_SLICE,
    row=services_columns.endpoint_slice_row,
    default=networking.default_endpoint_slice,
    validate=listed(metadata_of(texts.dns_subdomain), endpoint_rules.endpoint_slice_rules),
    validate_update=listed_update(endpoint_rules.endpoint_slice_update_rules),
)

LEASE = KindSpec(
    resource=resource_of(coordination_types.Lease),
    singular="lease",
    schema="io.k8s.api.coordination.v1.Lease",
    allow_create_on_update=True,
    allow_unconditional_update=False,
    columns=basics_columns.LEASE,
    row=basics_columns.lease_row,
    validate=listed(metadata_of(texts.dns_subdomain), basics_rules.lease_rules),
)

INGRESS_CLASS = KindSpec(
    resource=resource_of(networking_types.IngressClass),
    singular="ingressclass",
    schema="io.k8s.api.networking.v1.IngressClass",
    has_generation=True,
    columns=networking_columns.INGRESS_CLASS,
    row=networking_columns.ingress_class_row,
    default=networking.default_ingress_class,
    validate=listed(metadata_of(texts.dns_subdomain), network_rules.ingress_class_rules),
    validate_update=listed_update(network_rules.ingress_class_update_rules),
)

INGRESS = KindSpec(
    resource=resource_of(networking_types.Ingress),
    singular="ingress",
    schema="io.k8s.api.networking.v1.Ingress",
    short_names=("ing",),
    subresources=(_status("Ingress"),),
    has_generation=True,
    has_status=True,
    columns=networking_columns.INGRESS,
    row=networking_columns.ingress_row,
    admit=_admit_ingress,
    prepare_create=prepare.drop_status,
    prepare_update=prepare.keep_status,
    prepare_status=prepare.only_status,
    validate=listed(metadata_of(texts.dns_subdomain), network_rules.ingress_rules),
    validate_create=listed(network_rules.ingress_create_rules),
    warnings=network_rules.ingress_warnings,
)

NETWORK_POLICY = KindSpec(
    resource=resource_of(networking_types.NetworkPolicy),
    singular="networkpolicy",
    schema="io.k8s.api.networking.v1.NetworkPolicy",
    short_names=("netpol",),
    has_generation=True,
    columns=networking_columns.NETWORK_POLICY,
    row=networking_columns.network_policy_row,
    default=networking.default_network_policy,
    validate=listed(metadata_of(texts.dns_subdomain), network_rules.network_policy_rules),
)

KINDS: tuple[KindSpec, ...] = (
    NAMESPACE,
    NODE,
    POD,
    SERVICE,
    ENDPOINTS,
    CONFIG_MAP,
    SECRET,
    SERVICE_ACCOUNT,
    EVENT,
    DEPLOYMENT,
    REPLICA_SET,
    DAEMON_SET,
    *WORK,
    AUTOSCALER,
    AUTOSCALER_V1,
    *STORAGE,
    CLUSTER_NETWORK_POLICY,
    ENDPOINT_SLICE,
    LEASE,
    INGRESS_CLASS,
    INGRESS,
    NETWORK_POLICY,
    *ADDRESSES,
    *ACCESS,
    DEFINITION,
)
"""Every kind served, the core group first, as discovery lists them."""
