"""Ingress, IngressClass and NetworkPolicy. Source: networking/v1 types.go."""

from fairlead.kube.base import Wire
from fairlead.kube.containers import IntOrString
from fairlead.kube.core import LoadBalancerStatus
from fairlead.kube.meta import KubeObject, LabelSelector


class ServiceBackendPort(Wire, frozen=True):
    """A service's port, by name or by number."""

    name: str = ""
    number: int = 0


class IngressServiceBackend(Wire, frozen=True):
    """A service of the Ingress's namespace."""

    name: str = ""
    port: ServiceBackendPort = ServiceBackendPort()


class TypedLocalObjectReference(Wire, frozen=True):
    """An object of the same namespace, of any kind."""

    api_group: str | None = None
    kind: str = ""
    name: str = ""


class IngressBackend(Wire, frozen=True):
    """Where requests go: a service or a resource."""

    service: IngressServiceBackend | None = None
    resource: TypedLocalObjectReference | None = None


class HTTPIngressPath(Wire, frozen=True):
    """`path_type` is Exact, Prefix or ImplementationSpecific."""

    path: str = ""
    path_type: str | None = None
    backend: IngressBackend = IngressBackend()


class HTTPIngressRuleValue(Wire, frozen=True):
    """The paths of a host."""

    paths: tuple[HTTPIngressPath, ...] = ()


class IngressRule(Wire, frozen=True):
    """A host, or every host when empty, and its paths."""

    host: str = ""
    http: HTTPIngressRuleValue | None = None


class IngressTLS(Wire, frozen=True):
    """Hosts that one Secret's certificate serves."""

    hosts: tuple[str, ...] = ()
    secret_name: str = ""


class IngressSpec(Wire, frozen=True):
    """What is wanted of an Ingress."""

    ingress_class_name: str | None = None
    default_backend: IngressBackend | None = None
    tls: tuple[IngressTLS, ...] = ()
    rules: tuple[IngressRule, ...] = ()


class IngressStatus(Wire, frozen=True):
    """The addresses the controller published."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Ingress(KubeObject, frozen=True):
    """HTTP routes to services."""

    spec: IngressSpec = IngressSpec()
    status: IngressStatus = IngressStatus()


class IngressClassSpec(Wire, frozen=True):
    """Which controller serves the class."""

    controller: str = ""


class IngressClass(KubeObject, frozen=True):
    """A name for a controller."""

    spec: IngressClassSpec = IngressClassSpec()


class IPBlock(Wire, frozen=True):
    """A CIDR block without the blocks in `except_`."""

    cidr: str = ""
    except_: tuple[str, ...] = ()


class NetworkPolicyPeer(Wire, frozen=True):
    """Who is meant: pods by selectors, or a block of addresses. None is "not given", an empty selector is "all"."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IPBlock | None = None


class NetworkPolicyPort(Wire, frozen=True):
    """A port, a range, or all ports of a protocol when `port` is absent."""

    protocol: str | None = None
    port: IntOrString | None = None
    end_port: int | None = None


class NetworkPolicyIngressRule(Wire, frozen=True):
    """From whom and to which ports; empty means all."""

    ports: tuple[NetworkPolicyPort, ...] = ()
    from_: tuple[NetworkPolicyPeer, ...] = ()


class NetworkPolicyEgressRule(Wire, frozen=True):
    """To whom and to which ports; empty means all."""

    ports: tuple[NetworkPolicyPort, ...] = ()
    to: tuple[NetworkPolicyPeer, ...] = ()


class NetworkPolicySpec(Wire, frozen=True):
    """Which pods, and what they may receive and send."""

    pod_selector: LabelSelector = LabelSelector()
    ingress: tuple[NetworkPolicyIngressRule, ...] = ()
    egress: tuple[NetworkPolicyEgressRule, ...] = ()
    policy_types: tuple[str, ...] = ()


class NetworkPolicy(KubeObject, frozen=True):
    """Who may talk to some pods."""

    spec: NetworkPolicySpec = NetworkPolicySpec()
