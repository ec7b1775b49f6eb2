"""The row of the table of kinds for ClusterNetworkPolicy."""

from fairlead.cluster.apiserver.kinds import prepare
from fairlead.cluster.apiserver.kinds.columns import networking as columns
from fairlead.cluster.apiserver.kinds.spec import KindSpec, Subresource
from fairlead.cluster.apiserver.kinds.validation import texts
from fairlead.cluster.apiserver.kinds.validation.cluster_policies import cluster_policy_rules
from fairlead.cluster.apiserver.kinds.validation.fields import listed, metadata_of
from fairlead.kube.policy import ClusterNetworkPolicy
from fairlead.kube.resources import resource_of

CLUSTER_NETWORK_POLICY = KindSpec(
    resource=resource_of(ClusterNetworkPolicy),
    singular="clusternetworkpolicy",
    schema="io.k8s.networking.policy.v1alpha2.ClusterNetworkPolicy",
    short_names=("cnp",),
    subresources=(Subresource(name="status", kind="ClusterNetworkPolicy", verbs=("get", "patch", "update")),),
    has_generation=True,
    has_status=True,
    columns=columns.CLUSTER_NETWORK_POLICY,
    row=columns.cluster_network_policy_row,
    prepare_create=prepare.drop_status,
    prepare_update=prepare.keep_status,
    prepare_status=prepare.only_status,
    validate=listed(metadata_of(texts.dns_subdomain), cluster_policy_rules),
)
