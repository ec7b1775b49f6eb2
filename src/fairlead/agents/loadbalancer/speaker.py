"""The speaker of one node: watches and heartbeats in; answers on links, and routes to peers, out.

It reads from Services which addresses they have, and refuses to give any.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from fairlead.agents.events import EventWriter, Notice
from fairlead.agents.lines import log
from fairlead.agents.loadbalancer.bgp import Routers
from fairlead.agents.loadbalancer.following import World
from fairlead.agents.loadbalancer.heartbeat import Heartbeat, HeartbeatSettings, Membership
from fairlead.agents.loadbalancer.l2 import Links
from fairlead.agents.loadbalancer.speaker_following import SpeakerWorld
from fairlead.agents.loadbalancer.speaker_statuses import Statuses
from fairlead.compile.announcements import compile_link_announcements, elect
from fairlead.compile.pools import compile_pools
from fairlead.drivers.interfaces import addressed_interfaces
from fairlead.drivers.kubeapi import HttpTransport, KubeClient
from fairlead.model import Origin
from fairlead.model.announcements import LinkAnnouncement
from fairlead.model.loadbalancers import Pool, ServiceKey
from fairlead.net import Family, parse_address

HEARTBEAT_PORT = 7946
"""That of MetalLB's speakers."""
_SCAN_SECONDS, _SETTLED_SECONDS = 5.0, 1.0
_PRIORITY = -10
"""The nice value of speakers."""


class SpeakerConfig(Struct, frozen=True, kw_only=True):
    """Which node this is, how to reach the API server, and where MetalLB's resources are."""

    node: str
    kubeconfig: Path
    namespace: str = "metallb-system"
    heartbeats: HeartbeatSettings = HeartbeatSettings()
    port: int = HEARTBEAT_PORT


async def main(config: SpeakerConfig) -> None:
    """Announce until SIGTERM or SIGINT, and then no more."""
    with suppress(OSError):  # a busy machine is no reason to be taken for dead; not everybody may ask for it
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    transport = HttpTransport.from_kubeconfig(config.kubeconfig)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    speaker = Speaker(config, KubeClient(transport))
    running = asyncio.create_task(speaker.run())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    speaker.resign()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await transport.close()


class Speaker:
    """Keeps what this node announces as the cluster and the other speakers have it."""

    def __init__(self, config: SpeakerConfig, client: KubeClient) -> None:
        self._config = config
        self._client = client
        self._world = World(config.namespace)
        self._more = SpeakerWorld(config.namespace)
        beats = config.heartbeats
        self._links = Links(time.monotonic, self._conflict, beats.dead_after - beats.interval)
        self._events = EventWriter(client, config.node, time.time, self._uid_of, component="fairlead-speaker")
        self._statuses = Statuses(client, config.node, config.namespace, time.time)
        self._routers = Routers(config.node, self._world, self._more, client, self._events.tell, self._statuses)
        self._pools: tuple[Pool, ...] = ()
        self._announcements: tuple[LinkAnnouncement, ...] = ()
        self._alive: frozenset[str] = frozenset()
        self._dirty = True
        self._heard_wrong = ""
        self._sockets: dict[Family, socket.socket] = {}
        self._peers: tuple[tuple[Family, str], ...] = ()
        self._assigned: dict[ServiceKey, tuple[str, ...]] = {}
        self._members: Membership | None = None
        self._write_again = float("inf")

    async def run(self) -> None:
        """Follow, and announce, for ever."""
        async with asyncio.TaskGroup() as tasks:
            self._world.follow(self._client, tasks)
            self._more.follow(self._client, tasks)
            tasks.create_task(self._events.run())
            await self._world.wait_for_sync()
            await self._more.wait_for_sync()
            for kind in (self._world.services, self._world.pools, self._world.l2, self._world.bgp, self._world.nodes):
                kind.listen(self._changed)
            self._more.listen(self._changed)
            tasks.create_task(self._statuses.run())
            tasks.create_task(self._scan())
            tasks.create_task(self._routers.run())
            await self._beat()

    def resign(self) -> None:
        """Tell the others that this speaker takes part no more, so that they need not wait to find out."""
        self._links.set_mine(())
        self._send(Heartbeat(self._config.node, active=False))
        self._links.close()

    def _changed(self, _: Iterable[object]) -> None:
        self._dirty = True
        self._routers.touch()

    async def _beat(self) -> None:
        for family, kind in ((Family.IPV4, socket.AF_INET), (Family.IPV6, socket.AF_INET6)):
            with suppress(OSError):  # a family that this machine does not speak
                opened = socket.socket(kind, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
                if kind == socket.AF_INET6:
                    opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                opened.bind(("", self._config.port))
                self._sockets[family] = opened
        self._members = members = Membership(self._config.node, self._config.heartbeats, time.monotonic())
        loop = asyncio.get_running_loop()
        for opened in self._sockets.values():
            loop.add_reader(opened.fileno(), self._receive, opened)
        due = loop.time()
        while True:
            connected = self._links.are_connected()
            if not connected:
                members.hold(time.monotonic())
            self._take(members.step(None, time.monotonic()))
            beat = members.heartbeat(time.monotonic())
            if connected:  # the kernel would ask in vain who the others are, and ask again only a second later
                self._send(Heartbeat(beat.node, beat.active, self._links.hardware))
            self._links.tick()
            if time.monotonic() >= self._write_again:  # others may have written after us while it was not settled
                self._write_again = float("inf")
                for key, interfaces in self._assigned.items():
                    self._statuses.show_link(key, interfaces)
            due = max(due + self._config.heartbeats.interval, loop.time())
            await asyncio.sleep(due - loop.time())

    def _send(self, beat: Heartbeat) -> None:
        packed = msgspec.msgpack.encode(beat)
        for family, address in self._peers:
            with suppress(OSError):
                self._sockets[family].sendto(packed, (address, self._config.port))

    def _receive(self, opened: socket.socket) -> None:
        assert self._members is not None
        with suppress(BlockingIOError, OSError):
            while True:
                packed, (source, *_) = opened.recvfrom(2048)
                known = {address for _, address in self._peers}
                if source not in known:
                    continue
                with suppress(msgspec.MsgspecError):
                    beat = msgspec.msgpack.decode(packed, type=Heartbeat)
                    self._links.speakers.update(beat.hardware)
                    self._take(self._members.step(beat, time.monotonic()))

    def _take(self, alive: frozenset[str]) -> None:
        """Elect anew where something changed."""
        changed = alive != self._alive
        if not changed and not self._dirty:
            return
        if self._dirty:
            self._compile()
        self._dirty = False
        listening = self._config.node not in alive
        self._links.set_announcements(self._announcements, listening=listening)
        mine = [each for each in self._announcements if elect(each, alive) == self._config.node]
        self._links.set_mine(each.address for each in mine)
        if changed:
            log(event="members", alive=",".join(sorted(alive)), announcing=len(mine))
            self._alive = alive
            self._links.announce_again()
            self._write_again = time.monotonic() + _SETTLED_SECONDS
        self._tell_assigned(mine)

    def _compile(self) -> None:
        pools, findings = compile_pools(self._world.pools.objects.values())
        wrong = "; ".join(f"{finding.origin}: {finding.message}" for finding in findings)
        if not findings:
            self._pools = pools
        if wrong != self._heard_wrong:
            self._heard_wrong = wrong
            log(event="pools", valid=not wrong, error=wrong)
        nodes = self._world.nodes.objects
        self._peers = tuple(
            (parse_address(each.address).family, each.address)
            for name, node in nodes.items()
            if name != self._config.node
            for each in node.status.addresses[:1]
            if each.type == "InternalIP"
        )
        services = [kept.service for kept in self._world.services.objects.values() if kept.service is not None]
        self._announcements = compile_link_announcements(
            services, self._pools, self._world.l2.objects.values(), nodes.values(), self._more.ready()
        )
        self._routers.pools, self._routers.wrong_pools = self._pools, wrong

    async def _scan(self) -> None:
        while True:
            self._links.open(addressed_interfaces() if self._announcements or self._world.l2.objects else ())
            await asyncio.sleep(_SCAN_SECONDS if self._announcements else 0.5)

    def _tell_assigned(self, mine: list[LinkAnnouncement]) -> None:
        assigned = {each.service: self._links.interfaces_of(each) if each.interfaces else () for each in mine}
        for key in assigned.keys() - self._assigned.keys():
            message = f'announcing from node "{self._config.node}" with protocol "layer2"'
            self._events.tell(
                Notice(Origin("Service", key.namespace, key.name), "nodeAssigned", message, warning=False)
            )
            self._statuses.show_link(key, assigned[key])
        announced = {each.service for each in self._announcements}
        for key in self._assigned.keys() - assigned.keys() - announced:
            self._statuses.show_link(key, None)
        self._assigned = assigned

    def _conflict(self, announcement: LinkAnnouncement, hardware: bytes) -> None:
        key, where = announcement.service, hardware.hex(":")
        message = (
            f"{announcement.address} is already on the network, at {where}; another address, or none there, is needed"
        )
        log(event="conflict", address=str(announcement.address), hardware=where)
        self._events.tell(Notice(Origin("Service", key.namespace, key.name), "AddressConflict", message))

    def _uid_of(self, origin: Origin) -> str:
        kept = self._world.services.objects.get(ServiceKey(origin.namespace, origin.name))
        if origin.kind == "Service":
            return kept.service.metadata.uid if kept and kept.service else ""
        peer = self._more.peers.objects.get(origin.name) if origin.kind == "BGPPeer" else None
        return peer.metadata.uid if peer else ""
