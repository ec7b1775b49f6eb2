"""The node agent as a program: watches in, transactions out.

Comes in: a kubeconfig and the node's name. Goes out: rows in the nftables of the network namespace it runs in. Rows
stay when it ends; when it starts it lists them once and applies only the difference.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from fairlead.agents.node.events import EventWriter, notice_of
from fairlead.agents.node.flows import FlowCleaning
from fairlead.agents.node.lines import log
from fairlead.agents.node.objects import ServiceObjects
from fairlead.agents.node.services import ServicePart, ServiceSettings
from fairlead.agents.node.tables import Feed, Part, Table
from fairlead.agents.node.upkeep import Upkeep, Work
from fairlead.drivers.collection import collection_paused, settle_memory
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.kubeapi import ApiError, Change, HttpTransport, KubeClient
from fairlead.drivers.netlink.monitor import RulesetMonitor
from fairlead.drivers.netlink.nftables import NftError, NftSocket, open_nft_socket
from fairlead.model import Finding
from fairlead.net import Prefix

_TELL_AGAIN_SECONDS, _REMEMBERED = 600.0, 4096


class NodeAgentConfig(Struct, frozen=True, kw_only=True):
    """Which node this is, how to reach the API server, and which addresses are local.

    Without `pod_prefixes` the Node object's podCIDRs are taken once it has some.
    """

    node: str
    kubeconfig: Path
    pod_prefixes: tuple[Prefix, ...] = ()
    service_prefixes: tuple[Prefix, ...] = ()


async def main(config: NodeAgentConfig) -> None:
    """Run until SIGTERM or SIGINT; rows stay. Raises FairleadError when kubeconfig or kernel cannot be used at all."""
    transport = HttpTransport.from_kubeconfig(config.kubeconfig)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with open_nft_socket() as nft:
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
        self._told: dict[Finding, float] = {}
        self._events = EventWriter(client, config.node, time.time)
        self._settled = False
        objects = ServiceObjects(config.node)
        settings = ServiceSettings(pod_prefixes=config.pod_prefixes, service_prefixes=config.service_prefixes)
        self._parts: Sequence[Part] = (ServicePart(objects, settings, FlowCleaning().forget),)
        self._upkeeps = [Upkeep(table, nft, self) for part in self._parts for table in part.tables()]

    async def run(self) -> None:
        """Follow and program for ever."""
        async with asyncio.TaskGroup() as tasks:
            for feed, takers in _shared([feed for part in self._parts for feed in part.feeds()]):
                changes = self._client.reflect_kept(
                    feed.cls, feed.keep, labels=feed.labels, fields=feed.fields, told=_tell
                )
                tasks.create_task(self._follow(changes, takers))
            tasks.create_task(self._program())
            tasks.create_task(self._events.run())
            self._listen()

    async def _follow(self, changes: AsyncIterable[Change[Any]], takers: list[Callable[[Change[Any]], None]]) -> None:
        async for change in changes:
            with collection_paused():
                for take in takers:
                    take(change)
            del change  # a list of everything is large, and the next change may be long in coming
            self._news.set()

    def _listen(self) -> None:
        """Hear of what others do to the tables, from before anything is programmed."""
        try:
            monitor = RulesetMonitor(self._nft.port)
        except FairleadError as error:
            log(event="deaf", error=str(error))
            return
        asyncio.get_running_loop().add_reader(monitor, self._heard, monitor)

    def _heard(self, monitor: RulesetMonitor) -> None:
        """Doubt the tables that somebody else wrote into; after a loss, all."""
        touched = monitor.read()
        for upkeep in self._upkeeps:
            if upkeep.table.synced and (touched.lost or (upkeep.table.family, upkeep.table.name) in touched.tables):
                upkeep.doubt("touched")
                log(event="touched", table=upkeep.table.label, by=",".join(sorted(touched.writers)) or "unknown")
                self._news.set()

    async def _program(self) -> None:
        """Take everything that is queued, then do one round, without a pause, so that a change is followed at once."""
        loop = asyncio.get_running_loop()
        alarm = loop.call_soon(self._news.set)
        while True:
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(0)  # let the watches hand over what already lies in their buffers
            with collection_paused():
                for upkeep in self._upkeeps:
                    upkeep.attend(loop.time())
            alarm.cancel()
            times = [when for upkeep in self._upkeeps if (when := upkeep.next_time()) is not None]
            if times:
                alarm = loop.call_at(min(times), self._news.set)

    def programmed(self, table: Table, work: Work) -> None:
        """Say what was done, unless it was nothing."""
        if work.outcome.transaction:
            log(
                event="recovered" if work.reason in ("refused", "isolate") else "programmed",
                table=table.label,
                **({"reason": work.reason} if work.reason else {}),
                objects=work.outcome.objects,
                changes=work.outcome.changes,
                total=work.outcome.total,
                python_ms=f"{work.python * 1000:.2f}",
                kernel_ms=f"{work.kernel * 1000:.2f}",
            )
        if not self._settled:
            self._settled = True
            settle_memory()

    def refused(self, table: Table, error: NftError) -> None:
        """Nothing yet: the upkeep says it."""

    def found(self, findings: tuple[Finding, ...]) -> None:
        """Tell each finding, in the log and as an Event, and again when it is found again after a while."""
        now = time.monotonic()
        for finding in findings:
            if now - self._told.get(finding, -_TELL_AGAIN_SECONDS) < _TELL_AGAIN_SECONDS:
                continue
            self._told[finding] = now
            if len(self._told) > _REMEMBERED:
                del self._told[next(iter(self._told))]
            origin, severity = str(finding.origin), finding.severity.value
            log(event="finding", severity=severity, object=origin, message=finding.message, remedy=finding.remedy)
            self._events.tell(notice_of(finding))


def _shared(feeds: list[Feed[Any, Any]]) -> list[tuple[Feed[Any, Any], list[Callable[[Change[Any]], None]]]]:
    """Feeds of the same objects as one, with everybody who takes them."""
    found: dict[tuple[object, ...], tuple[Feed[Any, Any], list[Callable[[Change[Any]], None]]]] = {}
    for feed in feeds:
        _, takers = found.setdefault((feed.cls, feed.keep, feed.labels, feed.fields), (feed, []))
        takers.append(feed.take)
    return list(found.values())


def _tell(error: ApiError) -> None:
    log(event="waiting", error=str(error))
