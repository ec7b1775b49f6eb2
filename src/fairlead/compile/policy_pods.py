"""A Pod reduced to what policies need of it.

Comes in: a Pod, or an outline of one. Goes out: where it is, its labels, its addresses, the ports it names; nothing for
pods that have no address of their own or have ended. Source: core/v1 types.go; KEP-753 for containers that stay.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from sys import intern

from fairlead.compile.endpoints import parse_ipv4, parse_ipv6
from fairlead.kube.containers import Container, ContainerPort
from fairlead.kube.core import Pod
from fairlead.kube.outlines import ContainerOutline, PodOutline
from fairlead.model.policies import PodPort, PolicyPod
from fairlead.net import Address, Port, Protocol

_ENDED = ("Succeeded", "Failed")


def compile_pod(pod: Pod | PodOutline) -> PolicyPod | None:
    """Return the pod as policies see it, or None where they do not.

    A pod that has ended keeps its address for a while although another may have it by now; one in the host's network
    has its node's. Ports that are named by init containers count where those stay.
    """
    if pod.spec.host_network or pod.status.phase in _ENDED:
        return None
    texts = [each.ip for each in pod.status.pod_ips] or ([pod.status.pod_ip] if pod.status.pod_ip else [])
    addresses = tuple(address for text in texts if (address := _parse(text)) is not None)
    if not addresses:
        return None
    meta = pod.metadata
    labels = _shared_labels(tuple(sorted(meta.labels.items())))
    return PolicyPod(intern(meta.namespace), meta.name, intern(pod.spec.node_name), labels, addresses, _ports(pod))


def _ports(pod: Pod | PodOutline) -> tuple[PodPort, ...]:
    named: list[ContainerPort] = []
    containers: tuple[Container | ContainerOutline, ...] = pod.spec.containers
    for container in containers:
        named += (port for port in container.ports if port.name)
    staying: tuple[Container | ContainerOutline, ...] = pod.spec.init_containers
    for container in staying:
        if container.restart_policy == "Always":
            named += (port for port in container.ports if port.name)
    return _shared_ports(tuple(_named(named))) if named else ()


def _named(ports: Iterable[ContainerPort]) -> Iterator[PodPort]:
    for port in ports:
        protocol = Protocol.__members__.get(port.protocol or "TCP")
        if protocol is not None:
            yield PodPort(port.name, protocol, Port(port.container_port))


def _parse(text: str) -> Address | None:
    return parse_ipv6(text) if ":" in text else parse_ipv4(text)


@lru_cache(maxsize=65536)
def _shared_labels(labels: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The same value for equal labels, which most pods share with others: ten thousand must fit."""
    return labels


@lru_cache(maxsize=4096)
def _shared_ports(ports: tuple[PodPort, ...]) -> tuple[PodPort, ...]:
    return ports
