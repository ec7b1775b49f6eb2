"""What a speaker follows beside what every load-balancer agent does: where ready endpoints are, peers, communities.

Comes in: changes. Goes out: objects by name, and which nodes have ready endpoints of a Service.
"""

import asyncio
from collections.abc import Callable, Iterable

from msgspec import Struct

from fairlead.agents.loadbalancer.following import Followed, follow_kind
from fairlead.drivers.kubeapi import KubeClient
from fairlead.kube.discovery import SERVICE_NAME_LABEL, EndpointSliceOutline
from fairlead.kube.metallb import BGPPeer, Community
from fairlead.model.loadbalancers import ServiceKey


class ReadySlice(Struct, frozen=True):
    """The nodes on which endpoints of one slice are ready."""

    namespace: str
    name: str
    service: str
    nodes: frozenset[str]


def keep_slice(piece: EndpointSliceOutline) -> ReadySlice:
    """Keep only where ready endpoints are."""
    meta = piece.metadata
    nodes = frozenset(each.node_name or "" for each in piece.endpoints if each.conditions.ready is not False)
    return ReadySlice(meta.namespace, meta.name, meta.labels.get(SERVICE_NAME_LABEL, ""), nodes)


class SpeakerWorld:
    """What only speakers need; `namespace` is where MetalLB's resources are."""

    def __init__(self, namespace: str) -> None:
        self.slices: Followed[tuple[str, str], ReadySlice] = Followed(lambda each: (each.namespace, each.name))
        self.peers: Followed[str, BGPPeer] = Followed(
            lambda each: each.metadata.name, lambda each: each.metadata.namespace == namespace
        )
        self.communities: Followed[str, Community] = Followed(
            lambda each: each.metadata.name, lambda each: each.metadata.namespace == namespace
        )

    def follow(self, client: KubeClient, tasks: asyncio.TaskGroup) -> None:
        """Start to follow everything."""
        tasks.create_task(follow_kind(client, EndpointSliceOutline, keep_slice, self.slices))
        tasks.create_task(follow_kind(client, BGPPeer, lambda each: each, self.peers))
        tasks.create_task(follow_kind(client, Community, lambda each: each, self.communities))

    async def wait_for_sync(self) -> None:
        """Wait until every kind was listed once."""
        for each in (self.slices, self.peers, self.communities):
            await each.synced.wait()

    def listen(self, heard: Callable[[Iterable[object]], None]) -> None:
        """Tell of every change from now on."""
        self.slices.listen(heard)
        self.peers.listen(heard)
        self.communities.listen(heard)

    def ready(self) -> dict[ServiceKey, frozenset[str]]:
        """The nodes that have ready endpoints, by Service."""
        found: dict[ServiceKey, frozenset[str]] = {}
        for each in self.slices.objects.values():
            key = ServiceKey(each.namespace, each.service)
            found[key] = found.get(key, frozenset[str]()) | each.nodes
        return found
