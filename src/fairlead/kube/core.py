"""The other core/v1 kinds: namespaces, nodes, services, endpoints, configuration, events. Source: core/v1 types.go."""

from fairlead.kube.base import Wire
from fairlead.kube.containers import IntOrString, Quantity
from fairlead.kube.meta import Condition, KubeObject, ObjectReference
from fairlead.kube.pods import Pod, PodSpec, PodStatus, PodTemplateSpec

__all__ = [
    "Binding",
    "ConfigMap",
    "EndpointAddress",
    "EndpointPort",
    "EndpointSubset",
    "Endpoints",
    "Event",
    "EventSource",
    "LoadBalancerIngress",
    "LoadBalancerStatus",
    "Namespace",
    "NamespaceSpec",
    "NamespaceStatus",
    "Node",
    "NodeAddress",
    "NodeSpec",
    "NodeStatus",
    "Pod",
    "PodSpec",
    "PodStatus",
    "PodTemplateSpec",
    "Secret",
    "Service",
    "ServiceAccount",
    "ServicePort",
    "ServiceSpec",
    "ServiceStatus",
    "Taint",
]


class NamespaceSpec(Wire, frozen=True):
    """What keeps a namespace from being removed."""

    finalizers: tuple[str, ...] = ()


class NamespaceStatus(Wire, frozen=True):
    """`phase` is Active or Terminating."""

    phase: str = ""
    conditions: tuple[Condition, ...] = ()


class Namespace(KubeObject, frozen=True):
    """A room for names."""

    spec: NamespaceSpec = NamespaceSpec()
    status: NamespaceStatus = NamespaceStatus()


class Taint(Wire, frozen=True):
    """What keeps pods off a node; `effect` is NoSchedule, PreferNoSchedule or NoExecute."""

    key: str = ""
    value: str = ""
    effect: str = ""
    time_added: str | None = None


class NodeSpec(Wire, frozen=True):
    """What the administrator wants of a node."""

    pod_cidr: str = ""
    pod_cidrs: tuple[str, ...] = ()
    provider_id: str = ""
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeAddress(Wire, frozen=True):
    """`type` is InternalIP, ExternalIP, Hostname, InternalDNS or ExternalDNS."""

    type: str = ""
    address: str = ""


class NodeStatus(Wire, frozen=True):
    """What the node says of itself."""

    capacity: dict[str, Quantity] = {}
    allocatable: dict[str, Quantity] = {}
    conditions: tuple[Condition, ...] = ()
    addresses: tuple[NodeAddress, ...] = ()


class Node(KubeObject, frozen=True):
    """One machine."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class ServicePort(Wire, frozen=True):
    """One port of a service; `target_port` is a number or a container port's name."""

    name: str = ""
    protocol: str = "TCP"
    app_protocol: str | None = None
    port: int = 0
    target_port: IntOrString | None = None
    node_port: int = 0


class ClientIPConfig(Wire, frozen=True):
    """How long a client stays with its backend, in seconds."""

    timeout_seconds: int | None = None


class SessionAffinityConfig(Wire, frozen=True):
    """Settings of session affinity."""

    client_ip: ClientIPConfig | None = None


class ServiceSpec(Wire, frozen=True):
    """How pods are reached under one name."""

    ports: tuple[ServicePort, ...] = ()
    selector: dict[str, str] = {}
    cluster_ip: str = ""
    cluster_ips: tuple[str, ...] = ()
    type: str = "ClusterIP"
    external_ips: tuple[str, ...] = ()
    session_affinity: str = "None"
    session_affinity_config: SessionAffinityConfig | None = None
    load_balancer_ip: str = ""
    load_balancer_source_ranges: tuple[str, ...] = ()
    load_balancer_class: str | None = None
    external_name: str = ""
    external_traffic_policy: str = ""
    internal_traffic_policy: str | None = None
    health_check_node_port: int = 0
    publish_not_ready_addresses: bool = False
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str | None = None
    allocate_load_balancer_node_ports: bool | None = None
    traffic_distribution: str | None = None


class LoadBalancerIngress(Wire, frozen=True):
    """An address of a load balancer; `ip_mode` is VIP or Proxy."""

    ip: str = ""
    hostname: str = ""
    ip_mode: str | None = None


class LoadBalancerStatus(Wire, frozen=True):
    """The addresses a load balancer gave."""

    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Wire, frozen=True):
    """What came of a service."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()
    conditions: tuple[Condition, ...] = ()


class Service(KubeObject, frozen=True):
    """A name and addresses for pods."""

    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class EndpointAddress(Wire, frozen=True):
    """One address behind a service."""

    ip: str = ""
    hostname: str = ""
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointPort(Wire, frozen=True):
    """One port behind a service."""

    name: str = ""
    port: int = 0
    protocol: str = "TCP"
    app_protocol: str | None = None


class EndpointSubset(Wire, frozen=True):
    """Addresses that share ports."""

    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Endpoints(KubeObject, frozen=True):
    """What is behind a service, in one object."""

    subsets: tuple[EndpointSubset, ...] = ()


class ConfigMap(KubeObject, frozen=True):
    """Settings as text, or as base64 in `binary_data`."""

    data: dict[str, str] = {}
    binary_data: dict[str, str] = {}
    immutable: bool | None = None


class Secret(KubeObject, frozen=True):
    """Secrets as base64."""

    data: dict[str, str] = {}
    type: str = ""
    immutable: bool | None = None


class ServiceAccount(KubeObject, frozen=True):
    """An identity for pods."""

    automount_service_account_token: bool | None = None


class EventSource(Wire, frozen=True):
    """Who reports."""

    component: str = ""
    host: str = ""


class Event(KubeObject, frozen=True):
    """Something that happened to an object."""

    involved_object: ObjectReference = ObjectReference()
    reason: str = ""
    message: str = ""
    source: EventSource = EventSource()
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    event_time: str | None = None
    count: int = 0
    type: str = ""
    action: str = ""
    reporting_component: str = ""
    reporting_instance: str = ""


class Binding(KubeObject, frozen=True):
    """A pod's node, as the scheduler decided."""

    target: ObjectReference = ObjectReference()
