"""Waiting, before a pod's first process, until the node's agent has isolated the pod as its policies say.

Comes in: a pod that has its network, and the agent's socket (`fairlead.agents.node.policy_gate`). Goes out: nothing
once the pod may start, an error where it must not. Where no agent answers in time a node without a policy table lets
its pods start, and one that has a table does not: somebody meant pods to be isolated there.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from fairlead.cluster.topology import NodeNetwork
from fairlead.drivers.netlink.nftables import open_nft_socket
from fairlead.drivers.netns import entered
from fairlead.kube.outlines import ContainerOutline, PodOutline, PodSpecOutline, PodStatusOutline
from fairlead.kube.pods import Pod, PodIP
from fairlead.nft.objects import TableFamily
from fairlead.render.policy_chains import TABLE

_PATIENCE = 5.0
_PAUSE = 0.02


class NotIsolatedError(Exception):
    """The pod must not start, since nobody says that it is isolated."""


def gate_of(sockets: Path, node: str) -> Path:
    """The socket of a node's agent."""
    return sockets / f"policies-{node}"


async def wait_until_isolated(
    sockets: Path, pod: Pod, node: NodeNetwork, addresses: Sequence[str], patience: float = _PATIENCE
) -> None:
    """Return once the pod may start. Raises NotIsolatedError."""
    request = msgspec.json.encode(_outline(pod, node, addresses)) + b"\n"
    try:
        async with asyncio.timeout(patience):
            while True:
                try:
                    return await _ask(gate_of(sockets, node.name), request)
                except FileNotFoundError:
                    break  # an agent listens from its first moment on: there is none
                except (OSError, EOFError):
                    await asyncio.sleep(_PAUSE)  # the agent is starting again
    except TimeoutError:
        pass
    if _has_policy_table(node):
        raise NotIsolatedError(f"the agent of {node.name} does not say that the pod's network policies are in place")
    return None


async def _ask(gate: Path, request: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(gate)
    try:
        writer.write(request)
        await writer.drain()
        await reader.readuntil(b"\n")
    finally:
        writer.close()


def _outline(pod: Pod, node: NodeNetwork, addresses: Sequence[str]) -> PodOutline:
    spec = PodSpecOutline(
        containers=tuple(ContainerOutline(ports=each.ports) for each in pod.spec.containers),
        init_containers=tuple(
            ContainerOutline(ports=each.ports, restart_policy=each.restart_policy) for each in pod.spec.init_containers
        ),
        node_name=node.name,
    )
    status = PodStatusOutline(pod_ips=tuple(PodIP(ip=address) for address in addresses))
    return PodOutline(metadata=pod.metadata, spec=spec, status=status)


def _has_policy_table(node: NodeNetwork) -> bool:
    with entered(node.netns), open_nft_socket() as nft:
        return any(nft.has_table(family, TABLE) for family in (TableFamily.IP, TableFamily.IP6))
