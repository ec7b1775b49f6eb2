"""Objects read without most of their fields, for whoever must keep very many. Source: core/v1 types.go."""

from fairlead.kube.base import Wire
from fairlead.kube.containers import ContainerPort
from fairlead.kube.meta import KubeObject
from fairlead.kube.pods import PodIP


class ContainerOutline(Wire, frozen=True):
    """The ports a container names, and whether it stays."""

    ports: tuple[ContainerPort, ...] = ()
    restart_policy: str | None = None


class PodSpecOutline(Wire, frozen=True):
    """Where a pod runs."""

    containers: tuple[ContainerOutline, ...] = ()
    init_containers: tuple[ContainerOutline, ...] = ()
    node_name: str = ""
    host_network: bool = False


class PodStatusOutline(Wire, frozen=True):
    """Where a pod is reached, while it has not ended."""

    phase: str = ""
    pod_ip: str = ""
    pod_ips: tuple[PodIP, ...] = ()


class PodOutline(KubeObject, frozen=True):
    """A pod read without what network policies do not need: ten thousand must fit."""

    spec: PodSpecOutline = PodSpecOutline()
    status: PodStatusOutline = PodStatusOutline()
