"""Where each kind lives in the API: group, version, plural, and the paths made of them.

Source: the API conventions, "Resources" (kubernetes/community, api-conventions.md).
"""

from urllib.parse import quote

from msgspec import Struct

from fairlead.kube.apps import ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet
from fairlead.kube.autoscaling import HorizontalPodAutoscaler
from fairlead.kube.batch import CronJob, Job
from fairlead.kube.coordination import Lease
from fairlead.kube.core import (
    ConfigMap,
    Endpoints,
    Event,
    Namespace,
    Node,
    Pod,
    Secret,
    Service,
    ServiceAccount,
)
from fairlead.kube.discovery import EndpointSlice, EndpointSliceOutline
from fairlead.kube.disruption import PodDisruptionBudget
from fairlead.kube.meta import KubeObject
from fairlead.kube.metallb import (
    BFDProfile,
    BGPAdvertisement,
    BGPPeer,
    Community,
    ConfigurationState,
    IPAddressPool,
    L2Advertisement,
    LegacyBGPPeer,
    ServiceBGPStatus,
    ServiceL2Status,
)
from fairlead.kube.networking import Ingress, IngressClass, NetworkPolicy
from fairlead.kube.outlines import PodOutline
from fairlead.kube.policy import ClusterNetworkPolicy
from fairlead.kube.storage import PersistentVolume, PersistentVolumeClaim, StorageClass


class Resource(Struct, frozen=True):
    """A kind's place: `group` is empty for the core group, `plural` is the name in URLs."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """What objects of this kind carry as apiVersion."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def base(self) -> str:
        """The path of the group version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of the collection, of one object, or of its subresource; no namespace means all of them."""
        parts = [self.base]
        if namespace and self.namespaced:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


RESOURCES: dict[type[KubeObject], Resource] = {
    Namespace: Resource("", "v1", "Namespace", "namespaces", False),
    Node: Resource("", "v1", "Node", "nodes", False),
    Pod: Resource("", "v1", "Pod", "pods", True),
    PodOutline: Resource("", "v1", "Pod", "pods", True),
    Service: Resource("", "v1", "Service", "services", True),
    Endpoints: Resource("", "v1", "Endpoints", "endpoints", True),
    ConfigMap: Resource("", "v1", "ConfigMap", "configmaps", True),
    Secret: Resource("", "v1", "Secret", "secrets", True),
    ServiceAccount: Resource("", "v1", "ServiceAccount", "serviceaccounts", True),
    Event: Resource("", "v1", "Event", "events", True),
    Deployment: Resource("apps", "v1", "Deployment", "deployments", True),
    ReplicaSet: Resource("apps", "v1", "ReplicaSet", "replicasets", True),
    DaemonSet: Resource("apps", "v1", "DaemonSet", "daemonsets", True),
    StatefulSet: Resource("apps", "v1", "StatefulSet", "statefulsets", True),
    ControllerRevision: Resource("apps", "v1", "ControllerRevision", "controllerrevisions", True),
    Job: Resource("batch", "v1", "Job", "jobs", True),
    HorizontalPodAutoscaler: Resource("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True),
    CronJob: Resource("batch", "v1", "CronJob", "cronjobs", True),
    ClusterNetworkPolicy: Resource(
        "policy.networking.k8s.io", "v1alpha2", "ClusterNetworkPolicy", "clusternetworkpolicies", False
    ),
    PodDisruptionBudget: Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True),
    PersistentVolumeClaim: Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", True),
    PersistentVolume: Resource("", "v1", "PersistentVolume", "persistentvolumes", False),
    StorageClass: Resource("storage.k8s.io", "v1", "StorageClass", "storageclasses", False),
    Lease: Resource("coordination.k8s.io", "v1", "Lease", "leases", True),
    EndpointSlice: Resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", True),
    EndpointSliceOutline: Resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", True),
    IngressClass: Resource("networking.k8s.io", "v1", "IngressClass", "ingressclasses", False),
    Ingress: Resource("networking.k8s.io", "v1", "Ingress", "ingresses", True),
    NetworkPolicy: Resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True),
    IPAddressPool: Resource("metallb.io", "v1beta1", "IPAddressPool", "ipaddresspools", True),
    L2Advertisement: Resource("metallb.io", "v1beta1", "L2Advertisement", "l2advertisements", True),
    BGPAdvertisement: Resource("metallb.io", "v1beta1", "BGPAdvertisement", "bgpadvertisements", True),
    BGPPeer: Resource("metallb.io", "v1beta2", "BGPPeer", "bgppeers", True),
    LegacyBGPPeer: Resource("metallb.io", "v1beta1", "BGPPeer", "bgppeers", True),
    BFDProfile: Resource("metallb.io", "v1beta1", "BFDProfile", "bfdprofiles", True),
    Community: Resource("metallb.io", "v1beta1", "Community", "communities", True),
    ServiceL2Status: Resource("metallb.io", "v1beta1", "ServiceL2Status", "servicel2statuses", True),
    ServiceBGPStatus: Resource("metallb.io", "v1beta1", "ServiceBGPStatus", "servicebgpstatuses", True),
    ConfigurationState: Resource("metallb.io", "v1beta1", "ConfigurationState", "configurationstates", True),
}

_BY_KIND = {(resource.api_version, resource.kind): resource for resource in RESOURCES.values()}


def resource_of(cls: type[KubeObject]) -> Resource:
    """The place of a typed kind. A kind without one is a bug."""
    return RESOURCES[cls]


def find_resource(api_version: str, kind: str) -> Resource | None:
    """The place of what a manifest calls `api_version` and `kind`, or None where no such kind is known here."""
    return _BY_KIND.get((api_version, kind))
