"""A pod's host ports to frontends: ports of the node that lead to the one pod, as CNI's portmap plugin opens them.

Comes in: a pod of this node, and the facts of the node. Goes out: frontends of one family. Refuses to know which pods
are this node's, and other pods. Source: core/v1 ContainerPort; containernetworking/plugins, meta/portmap. As there, the
client's address is kept, and a port without a host IP opens on the node's addresses; never on loopback.
"""

from collections.abc import Iterator

from fairlead.compile.services import NodeFacts
from fairlead.kube.containers import ContainerPort
from fairlead.kube.outlines import PodOutline
from fairlead.model import Backend, Frontend, FrontendKey, Masquerade, Origin, Refusal
from fairlead.net import Address, Family, Port, Protocol, parse_address, parse_prefix

_EVERYWHERE = ("", "0.0.0.0", "::")
_LOOPBACK = (parse_prefix("127.0.0.0/8"), parse_prefix("::1/128"))
"""A connection from there cannot leave for a pod: the kernel drops such sources (route_localnet)."""


def has_host_ports(pod: PodOutline) -> bool:
    """Whether a pod has a port to open on its node. One on the node's own network opens its ports itself."""
    return not pod.spec.host_network and any(True for _ in _ports(pod))


def compile_host_ports(pod: PodOutline, node: NodeFacts, family: Family) -> tuple[Frontend, ...]:
    """Return the pod's frontends on its node, none before it has an address of the family or after it ended."""
    backend = _address_of(pod, family)
    if backend is None or not has_host_ports(pod) or pod.status.phase in ("Succeeded", "Failed"):
        return ()
    meta = pod.metadata
    return tuple(
        Frontend(
            key=FrontendKey(address, Protocol[port.protocol or "TCP"], Port(port.host_port or 0)),
            backends=(Backend(backend, Port(port.container_port)),),
            when_empty=Refusal.REJECT,
            masquerade=Masquerade.NEVER,
            origin=Origin("Pod", meta.namespace, meta.name, f"{where}.hostPort"),
        )
        for where, port in _ports(pod)
        for address in _opened(port, node)
        if address.family is family
    )


def _ports(pod: PodOutline) -> Iterator[tuple[str, ContainerPort]]:
    """The ports with a host port, each with its field: those of containers, and of init containers that stay."""
    for kind, containers in (("containers", pod.spec.containers), ("initContainers", pod.spec.init_containers)):
        for number, container in enumerate(containers):
            if kind == "initContainers" and container.restart_policy != "Always":
                continue
            for index, port in enumerate(container.ports):
                if port.host_port and (port.protocol or "TCP") in Protocol.__members__:
                    yield f"spec.{kind}[{number}].ports[{index}]", port


def _opened(port: ContainerPort, node: NodeFacts) -> tuple[Address, ...]:
    if port.host_ip in _EVERYWHERE:
        return node.addresses
    try:
        address = parse_address(port.host_ip)
    except ValueError:
        return ()
    return () if any(address in prefix for prefix in _LOOPBACK) else (address,)


def _address_of(pod: PodOutline, family: Family) -> Address | None:
    for text in (*(each.ip for each in pod.status.pod_ips), pod.status.pod_ip):
        try:
            address = parse_address(text)
        except ValueError:
            continue
        if address.family is family:
            return address
    return None
