"""ClusterNetworkPolicy: what an administrator says of all namespaces' traffic. Source: network-policy-api v0.2.0,
apis/v1alpha2/clusternetworkpolicy_types.go.
"""

from fairlead.kube.base import Wire
from fairlead.kube.meta import KubeObject, LabelSelector


class NamespacedPod(Wire, frozen=True):
    """Pods by their namespace's labels and their own; empty selectors mean all."""

    namespace_selector: LabelSelector = LabelSelector()
    pod_selector: LabelSelector = LabelSelector()


class ClusterNetworkPolicySubject(Wire, frozen=True):
    """Whom a policy is about: exactly one of the two."""

    namespaces: LabelSelector | None = None
    pods: NamespacedPod | None = None


class DestinationPortRange(Wire, frozen=True):
    """Both included."""

    start: int = 0
    end: int = 0


class DestinationPort(Wire, frozen=True):
    """A number or a range."""

    number: int | None = None
    range: DestinationPortRange | None = None


class PortedProtocol(Wire, frozen=True):
    """A protocol with ports; without, all of them."""

    destination_port: DestinationPort | None = None


class ClusterNetworkPolicyProtocol(Wire, frozen=True):
    """Exactly one of these."""

    tcp: PortedProtocol | None = None
    udp: PortedProtocol | None = None
    sctp: PortedProtocol | None = None
    destination_named_port: str = ""


class ClusterNetworkPolicyPeer(Wire, frozen=True):
    """Exactly one of these; `nodes` and `domain_names` are experimental and understood by nobody here."""

    namespaces: LabelSelector | None = None
    pods: NamespacedPod | None = None
    networks: tuple[str, ...] = ()
    nodes: LabelSelector | None = None
    domain_names: tuple[str, ...] = ()


class ClusterNetworkPolicyIngressRule(Wire, frozen=True):
    """`action` is Accept, Deny or Pass."""

    name: str = ""
    action: str = ""
    from_: tuple[ClusterNetworkPolicyPeer, ...] = ()
    protocols: tuple[ClusterNetworkPolicyProtocol, ...] | None = None


class ClusterNetworkPolicyEgressRule(Wire, frozen=True):
    """`action` is Accept, Deny or Pass."""

    name: str = ""
    action: str = ""
    to: tuple[ClusterNetworkPolicyPeer, ...] = ()
    protocols: tuple[ClusterNetworkPolicyProtocol, ...] | None = None


class ClusterNetworkPolicySpec(Wire, frozen=True):
    """`tier` is Admin or Baseline; the lower `priority` is asked first."""

    tier: str = ""
    priority: int = 0
    subject: ClusterNetworkPolicySubject = ClusterNetworkPolicySubject()
    ingress: tuple[ClusterNetworkPolicyIngressRule, ...] = ()
    egress: tuple[ClusterNetworkPolicyEgressRule, ...] = ()


class ClusterNetworkPolicy(KubeObject, frozen=True):
    """Rules of the administrator, before and after those of the namespaces."""

    spec: ClusterNetworkPolicySpec = ClusterNetworkPolicySpec()
