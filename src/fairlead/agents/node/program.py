"""The node agent as a program: watches in, transactions out.

Comes in: a kubeconfig and the node's name. Goes out: rows in the nftables of the network namespace it runs in. Rows
stay when it ends; when it starts it lists them once and applies only the difference.
"""

import asyncio
import secrets
import signal
import time
from collections.abc import AsyncIterable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from fairlead.agents.events import EventWriter
from fairlead.agents.lines import log
from fairlead.agents.node.account import Account
from fairlead.agents.node.denials import DenialNotices
from fairlead.agents.node.flows import FlowCleaning
from fairlead.agents.node.healthchecks import HealthChecks
from fairlead.agents.node.hostsettings import apply_host_settings
from fairlead.agents.node.objects import ServiceObjects
from fairlead.agents.node.policies import PolicyPart
from fairlead.agents.node.policy_denials import PolicyDenials, open_log
from fairlead.agents.node.policy_gate import serve_gate
from fairlead.agents.node.policy_objects import PolicyObjects
from fairlead.agents.node.returning import ReturnHost, ReturnPath
from fairlead.agents.node.services import ServicePart, ServiceSettings
from fairlead.agents.node.tables import Feed, Part
from fairlead.agents.node.upkeep import Upkeep
from fairlead.agents.pages import Binding, keep_serving
from fairlead.drivers.collection import collection_paused, settle_memory
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.graceperiods import GracePeriodsBeside
from fairlead.drivers.kubeapi import ApiError, Change, HttpTransport, KubeClient
from fairlead.drivers.netlink.addresses import local_addresses
from fairlead.drivers.netlink.monitor import RulesetMonitor
from fairlead.drivers.netlink.nflog import LogSocket
from fairlead.drivers.netlink.nftables import NftSocket, open_nft_socket
from fairlead.kube.core import Node
from fairlead.net import Address, Prefix, parse_prefix
from fairlead.render.policy_chains import PolicySettings

_LOOPBACK = (parse_prefix("127.0.0.0/8"), parse_prefix("::1/128"))


class NodeAgentConfig(Struct, frozen=True, kw_only=True):
    """Which node this is, how to reach the API server, and which addresses are local.

    Without `pod_prefixes` the Node object's podCIDRs are taken once it has some. Pages are served at the two bindings;
    None is for not at all.
    """

    node: str
    kubeconfig: Path
    pod_prefixes: tuple[Prefix, ...] = ()
    service_prefixes: tuple[Prefix, ...] = ()
    masquerade_all: bool = False
    """Whether every client of a ClusterIP is masqueraded, local pods too."""
    node_port_prefixes: tuple[Prefix, ...] = ()
    """Node ports open on the node's addresses inside; without any, on its primary addresses."""
    healthz: Binding | None = None
    metrics: Binding | None = None
    policies: PolicySettings | None = PolicySettings()
    """How network policies are enforced, None for not at all: then another agent does."""
    policy_gate: Path | None = None
    """The socket at which who starts pods waits until they are isolated."""
    host_settings: bool = True
    """Whether to make the kernel settings that kube-proxy makes."""
    return_through: tuple[ReturnHost, ...] = ()
    """Hosts of external load balancers: what answers their clients goes back through them."""


async def main(config: NodeAgentConfig) -> None:
    """Run until SIGTERM or SIGINT; rows stay. Raises FairleadError when kubeconfig or kernel cannot be used at all."""
    transport = HttpTransport.from_kubeconfig(config.kubeconfig)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with open_nft_socket() as nft:
        if config.host_settings:
            apply_host_settings()
        agent = asyncio.create_task(NodeAgent(config, KubeClient(transport), nft).run())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([agent, stopped], return_when=asyncio.FIRST_COMPLETED)
        agent.cancel()
        with suppress(asyncio.CancelledError):
            await agent
    await transport.close()


class NodeAgent:
    """One node's agent: follows what its parts ask for, and keeps the kernel at what they mean."""

    def __init__(self, config: NodeAgentConfig, client: KubeClient, nft: NftSocket) -> None:
        self._client = client
        self._nft = nft
        self._news = asyncio.Event()
        self._config = config
        objects = ServiceObjects(config.node, self._opens_on if config.node_port_prefixes else None)
        self._events = EventWriter(client, config.node, time.time, objects.uid_of)
        tell = self._events.tell
        self._account = Account(objects, tell, _shown(config), time.time)
        self._checks = HealthChecks(objects, lambda: self._account.health.healthy(time.time()), tell, config.node)
        settings = ServiceSettings(
            pod_prefixes=config.pod_prefixes,
            service_prefixes=config.service_prefixes,
            masquerade_all=config.masquerade_all,
        )
        self._parts: Sequence[Part] = (ServicePart(objects, settings, FlowCleaning(self._account.counts).forget),)
        self._policies: PolicyPart | None = None
        self._packets: LogSocket | None = None
        if config.policies is not None:
            self._packets, enforced = open_log(config.policies)
            first = secrets.randbits(32)  # most likely no connection here was ever judged by this generation
            part = self._policies = PolicyPart(PolicyObjects(config.node), enforced, first)
            self._parts = (*self._parts, part)
            notices = DenialNotices(part.pods_at, tell, time.monotonic)
            counts = self._account.counts.denied
            self._denials = PolicyDenials(part.policies_of, part.judged, notices, time.monotonic, counts)
        self._tables = tuple(table for part in self._parts for table in part.tables())
        graces = GracePeriodsBeside(self._news.set)
        self._upkeeps = [Upkeep(table, nft, self._account, graces) for table in self._tables]
        self._return_path = ReturnPath(config.return_through, nft)

    async def run(self) -> None:
        """Follow and program for ever."""
        self._return_path.apply()
        async with asyncio.TaskGroup() as tasks:
            for feed, takers in _shared([feed for part in self._parts for feed in part.feeds()]):
                changes = self._client.reflect_kept(
                    feed.cls, feed.keep, labels=feed.labels, fields=feed.fields, told=self._teller(feed)
                )
                tasks.create_task(self._follow(changes, takers))
            tasks.create_task(self._program())
            tasks.create_task(self._events.run())
            tasks.create_task(self._return_path.keep())
            tasks.create_task(self._checks.run())
            if self._policies is not None and self._config.policy_gate is not None:
                tasks.create_task(serve_gate(self._config.policy_gate, self._policies, self._news.set))
            if self._packets is not None:
                self._listen_to_denials(self._packets)
            for what, binding, pages in (
                ("health", self._config.healthz, self._account.health_page),
                ("metrics", self._config.metrics, self._account.metrics_page),
            ):
                if binding is not None:
                    tasks.create_task(keep_serving(what, binding, pages))
            self._listen()

    def _teller(self, feed: Feed[Any, Any]) -> Callable[[ApiError], None]:
        """Who hears of a feed's trouble; that the API server has or shows no such kind is none where it may be so."""

        def tell(error: ApiError) -> None:
            if feed.absent is not None and error.status in (403, 404):
                feed.absent()
                self._news.set()
            else:
                log(event="waiting", error=str(error))

        return tell

    async def _follow(self, changes: AsyncIterable[Change[Any]], takers: list[Callable[[Change[Any]], None]]) -> None:
        async for change in changes:
            with collection_paused():
                for take in takers:
                    take(change)
            del change  # a list of everything is large, and the next change may be long in coming
            self._account.heard(self._tables)
            self._news.set()

    def _listen(self) -> None:
        """Hear of what others do to the tables, from before anything is programmed."""
        try:
            monitor = RulesetMonitor(self._nft.port)
        except FairleadError as error:
            log(event="deaf", error=str(error))
            return
        asyncio.get_running_loop().add_reader(monitor, self._heard, monitor)

    def _listen_to_denials(self, packets: LogSocket) -> None:
        asyncio.get_running_loop().add_reader(packets, lambda: self._denials.take(packets.read()))

    def _opens_on(self, node: Node) -> tuple[Address, ...]:
        """The machine's own addresses inside the prefixes for node ports, never those of loopback."""
        prefixes = self._config.node_port_prefixes
        return tuple(
            address
            for address in local_addresses()
            if any(address in prefix for prefix in prefixes) and not any(address in each for each in _LOOPBACK)
        )

    def _heard(self, monitor: RulesetMonitor) -> None:
        """Doubt the tables that somebody else wrote into; after a loss, all."""
        touched = monitor.read()
        if touched.lost or any(name == self._return_path.table for _, name in touched.tables):
            self._return_path.apply()
        for upkeep in self._upkeeps:
            if upkeep.table.synced and (touched.lost or (upkeep.table.family, upkeep.table.name) in touched.tables):
                upkeep.doubt("touched")
                log(event="touched", table=upkeep.table.label, by=",".join(sorted(touched.writers)) or "unknown")
                self._news.set()

    async def _program(self) -> None:
        """Take everything that is queued, then do one round, without a pause, so that a change is followed at once."""
        loop = asyncio.get_running_loop()
        alarm = loop.call_soon(self._news.set)
        settled = False
        while True:
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(0)  # let the watches hand over what already lies in their buffers
            with collection_paused():
                for upkeep in self._upkeeps:
                    upkeep.attend(loop.time())
            self._account.settled(self._upkeeps)
            if not settled and any(table.synced for table in self._tables):
                settled = True
                settle_memory()
            alarm.cancel()
            times = [when for upkeep in self._upkeeps if (when := upkeep.next_time()) is not None]
            if times:
                alarm = loop.call_at(min(times), self._news.set)


def _shared(feeds: list[Feed[Any, Any]]) -> list[tuple[Feed[Any, Any], list[Callable[[Change[Any]], None]]]]:
    """Feeds of the same objects as one, with everybody who takes them."""
    found: dict[tuple[object, ...], tuple[Feed[Any, Any], list[Callable[[Change[Any]], None]]]] = {}
    for feed in feeds:
        _, takers = found.setdefault((feed.cls, feed.keep, feed.labels, feed.fields), (feed, []))
        takers.append(feed.take)
    return list(found.values())


def _shown(config: NodeAgentConfig) -> bytes:
    """The configuration, as the page /configz shows it."""
    shown = {
        "mode": "nftables",
        "hostnameOverride": config.node,
        "clientConnection": {"kubeconfig": str(config.kubeconfig)},
        "healthzBindAddress": str(config.healthz or ""),
        "metricsBindAddress": str(config.metrics or ""),
        "nodePortAddresses": [str(prefix) for prefix in config.node_port_prefixes] or ["primary"],
        "nftables": {"masqueradeAll": config.masquerade_all},
        "podCIDRs": [str(prefix) for prefix in config.pod_prefixes],
        "serviceCIDRs": [str(prefix) for prefix in config.service_prefixes],
    }
    return msgspec.json.encode({"kubeproxy.config.k8s.io": shown})
