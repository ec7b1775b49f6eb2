"""Announcing addresses to routers: peers, advertisements and Services come in, a configuration of ExaBGP goes out.

A peer that is wrongly configured is left out and told of, as its last good configuration was; the others go on.
"""

import asyncio
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from fairlead.agents.events import Notice, notice_of
from fairlead.agents.lines import log
from fairlead.agents.loadbalancer.bgp_config import compile_peer, render_exabgp
from fairlead.agents.loadbalancer.following import World
from fairlead.agents.loadbalancer.peering import Peering
from fairlead.agents.loadbalancer.speaker_following import SpeakerWorld
from fairlead.agents.loadbalancer.speaker_statuses import Statuses
from fairlead.compile.announcements import compile_route_announcements
from fairlead.compile.loadbalancers import selects
from fairlead.drivers.bgpd import Bgpd
from fairlead.drivers.kubeapi import ApiError, KubeClient
from fairlead.drivers.sessions import Session, established
from fairlead.kube.core import Secret
from fairlead.kube.documents import text_at
from fairlead.kube.metallb import BGPPeer
from fairlead.kube.resources import resource_of
from fairlead.model import Finding, Origin, Severity
from fairlead.model.announcements import Peer, RouteAnnouncement
from fairlead.model.loadbalancers import Pool, ServiceKey
from fairlead.net import parse_address

_LOOK_SECONDS, _SETTLE_SECONDS = 2.0, 0.1

_CHATTER = ("welcome", "advice", "statistics")
"""What ExaBGP's lines of no news start with."""


class Routers:
    """The peers of one node."""

    def __init__(
        self,
        node: str,
        world: World,
        more: SpeakerWorld,
        client: KubeClient,
        tell: Callable[[Notice], None],
        statuses: Statuses,
    ) -> None:
        self._node, self._world, self._more, self._client, self._tell = node, world, more, client, tell
        self._bgpd = Bgpd(self._heard)
        self._touched = asyncio.Event()
        self._touched.set()
        self._good: dict[str, Peer] = {}
        self._told: set[Finding] = set()
        self._running = ""
        self._statuses = statuses
        self._peering = Peering(node)
        self.pools: tuple[Pool, ...] = ()
        self.wrong_pools = ""
        """What is wrong with the pools; `pools` are the last good ones."""

    def touch(self) -> None:
        """Something changed."""
        self._touched.set()

    async def run(self) -> None:
        """Keep ExaBGP configured as the cluster has it, for ever; ends it when cancelled."""
        try:
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._touched.wait(), _LOOK_SECONDS)
                    await asyncio.sleep(_SETTLE_SECONDS)
                self._touched.clear()
                peers = await self._peers()
                self._watch(peers)
                text = self._render(peers)
                if text != self._running or (text and self._bgpd.pid is None):
                    await self._bgpd.configure(text)
                    self._running = text
                    log(event="bgp", peers=text.count("neighbor "), routes=text.count("  route "))
        finally:
            await self._bgpd.close()

    def _watch(self, peers: list[Peer]) -> None:
        sessions = established() if peers else frozenset[Session]()
        for news in self._peering.step(peers, sessions, time.monotonic()):
            log(event=news.reason, peer=news.peer, message=news.message)
            about = Origin("BGPPeer", self._world.namespace, news.peer)
            self._tell(Notice(about, news.reason, news.message, news.warning))

    def _render(self, peers: list[Peer]) -> str:
        world = self._world
        node = world.nodes.objects.get(self._node)
        aliases = {
            alias.name: alias.value
            for each in self._more.communities.objects.values()
            for alias in each.spec.communities
        }
        services = [kept.service for kept in world.services.objects.values() if kept.service is not None]
        routes = compile_route_announcements(
            services, self.pools, world.bgp.objects.values(), node, self._more.ready(), aliases
        )
        self._statuses.show_routes(_peers_of(routes, peers))
        given = node.status.addresses if node else ()
        addresses = tuple(parse_address(each.address) for each in given if each.type == "InternalIP")
        return render_exabgp(peers, {route for found in routes.values() for route in found}, addresses)

    async def _peers(self) -> list[Peer]:
        node = self._world.nodes.objects.get(self._node)
        labels = node.metadata.labels if node else {}
        objects = self._more.peers.objects
        self._good = {name: peer for name, peer in self._good.items() if name in objects}
        found: list[Peer] = []
        wrong = [self.wrong_pools] if self.wrong_pools else []
        for name, each in sorted(objects.items()):
            if each.spec.node_selectors and not selects(each.spec.node_selectors, labels):
                continue
            peer, findings = compile_peer(each, await self._password(each))
            wrong += [f"{each.origin}: {each.message}" for each in findings if each.severity is Severity.ERROR]
            for finding in set(findings) - self._told:
                self._told.add(finding)
                log(event="finding", object=str(finding.origin), message=finding.message)
                self._tell(notice_of(finding, self._node))
            if peer is not None:
                self._good[name] = peer
            if name in self._good:
                found.append(self._good[name])
        self._statuses.show_configuration("; ".join(wrong))
        return found

    async def _password(self, peer: BGPPeer) -> str:
        spec = peer.spec
        if spec.password_secret is None or not spec.password_secret.name:
            return spec.password
        namespace = spec.password_secret.namespace or peer.metadata.namespace
        try:
            secret = await self._client.get_document(resource_of(Secret), spec.password_secret.name, namespace)
        except ApiError as error:
            log(event="unread", secret=spec.password_secret.name, error=str(error))
            return self._good[peer.metadata.name].password if peer.metadata.name in self._good else ""
        return b64decode(text_at(secret, "data", "password")).decode()

    def _heard(self, line: str) -> None:
        if line.strip() and not line.startswith(_CHATTER):
            log(event="exabgp", line=line)


def _peers_of(
    routes: Mapping[ServiceKey, tuple[RouteAnnouncement, ...]], peers: Iterable[Peer]
) -> dict[ServiceKey, tuple[str, ...]]:
    """The peers that each Service is announced to; an announcement without peers is for all."""
    found = {
        key: tuple(
            sorted(peer.name for peer in peers if any(not route.peers or peer.name in route.peers for route in each))
        )
        for key, each in routes.items()
    }
    return {key: names for key, names in found.items() if names}
