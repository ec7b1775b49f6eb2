"""The node agent as a program: watches in, transactions out.

Comes in: a kubeconfig and the node's name. Goes out: rows in the nftables of the network namespace it runs in. Rows
stay when it ends; when it starts it lists them once and applies only the difference.
"""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from fairlead.agents.node.machine import NodeMachine, Round
from fairlead.agents.node.staleness import stale_flows
from fairlead.drivers.collection import collection_paused, settle_memory
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.kubeapi import ApiError, Change, HttpTransport, KubeClient
from fairlead.drivers.netlink.conntrack import ConntrackSocket
from fairlead.drivers.netlink.nftables import NftError, NftSocket, open_nft_socket
from fairlead.kube.core import Node, Service
from fairlead.kube.discovery import EndpointSliceOutline
from fairlead.model import Finding
from fairlead.net import Family, Prefix, parse_prefix
from fairlead.nft.transactions import Transaction
from fairlead.render.service_layout import TABLE
from fairlead.render.services import ServiceRows

_RETRY_SECONDS = 1.0
T = TypeVar("T", Service, EndpointSliceOutline, Node)


class NodeAgentConfig(Struct, frozen=True, kw_only=True):
    """Which node this is, how to reach the API server, and which addresses are local.

    Without `pod_prefixes` the Node object's podCIDRs are taken once it has some.
    """

    node: str
    kubeconfig: Path
    pod_prefixes: tuple[Prefix, ...] = ()
    service_prefix: Prefix | None = None


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
    """One node's service proxy: follows three kinds, and keeps the kernel at what they mean."""

    def __init__(self, config: NodeAgentConfig, client: KubeClient, nft: NftSocket) -> None:
        self._config = config
        self._client = client
        self._nft = nft
        self._machine = NodeMachine(config.node)
        self._rows: ServiceRows | None = None
        self._pod_prefixes = config.pod_prefixes
        self._news = asyncio.Event()
        self._told: set[Finding] = set()
        self._conntrack: ConntrackSocket | None = None
        self._complaints: set[str] = set()

    async def run(self) -> None:
        """Follow and program for ever."""
        client, machine = self._client, self._machine
        services = client.reflect(Service, labels="!service.kubernetes.io/service-proxy-name", told=_tell)
        slices = client.reflect(EndpointSliceOutline, labels="!service.kubernetes.io/headless", told=_tell)
        nodes = client.reflect(Node, fields=f"metadata.name={self._config.node}", told=_tell)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(services, machine.take_services))
            tasks.create_task(self._follow(slices, machine.take_slices))
            tasks.create_task(self._follow(nodes, self._take_nodes))
            tasks.create_task(self._program())

    async def _follow(self, changes: AsyncIterable[Change[T]], take: Callable[[Change[T]], None]) -> None:
        async for change in changes:
            with collection_paused():
                take(change)
            del change  # a list of everything is large, and the next change may be long in coming
            self._news.set()

    def _take_nodes(self, change: Change[Node]) -> None:
        self._machine.take_nodes(change)
        cidrs = self._machine.pod_cidrs
        if self._config.pod_prefixes or not cidrs:
            return
        prefixes = tuple(parse_prefix(cidr) for cidr in cidrs)
        if prefixes != self._pod_prefixes:
            self._pod_prefixes = prefixes
            self._rows = None  # the constant rules name the prefixes: compare the whole table anew

    async def _program(self) -> None:
        """Take everything that is queued, then do one round, without a pause, so that a change is followed at once."""
        while True:
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(0)  # let the watches hand over what already lies in their buffers
            if not self._machine.synced or (self._rows is not None and not self._machine.pending):
                continue
            first = self._rows is None
            try:
                with collection_paused():
                    self._round()
                    if first:
                        settle_memory()
            except NftError as error:
                log(event="refused", error=str(error))
                await self._recover()

    def _round(self) -> None:
        started = time.perf_counter()
        found = self._machine.round()
        transaction = self._begin() if self._rows is None else self._rows.replace(found.changes)
        rendered = time.perf_counter()
        if transaction:
            self._nft.apply(transaction)
        done = time.perf_counter()
        self._forget_stale(found)
        for finding in found.findings:
            if finding not in self._told:
                self._told.add(finding)
                origin, severity = str(finding.origin), finding.severity.value
                log(event="finding", severity=severity, object=origin, message=finding.message, remedy=finding.remedy)
        if transaction:
            log(
                event="programmed",
                services=found.services,
                frontends=len(found.changes),
                total=len(self._machine.frontends()),
                python_ms=f"{(rendered - started) * 1000:.2f}",
                kernel_ms=f"{(done - rendered) * 1000:.2f}",
            )

    def _forget_stale(self, found: Round) -> None:
        """End UDP flows that lead to endpoints which are gone; rows come first, so that new flows are right."""
        if not found.udp:
            return
        try:
            self._conntrack = self._conntrack or ConntrackSocket()
            stale = stale_flows(found.udp, self._conntrack.udp_flows(Family.IPV4))
            if stale:
                log(event="forgot", flows=self._conntrack.forget(stale, Family.IPV4))
        except FairleadError as error:
            if self._conntrack is not None:
                self._conntrack.close()
                self._conntrack = None
            if str(error) not in self._complaints:
                self._complaints.add(str(error))
                log(event="conntrack", error=str(error))

    def _begin(self) -> Transaction:
        """The transaction from what the kernel holds, perhaps of an earlier life, to every frontend there is."""
        rows = self._rows = ServiceRows(Family.IPV4, self._pod_prefixes, self._config.service_prefix)
        bare, everything = rows.base(), rows.replace(self._machine.frontends())
        listed = self._nft.list_table(everything.family, TABLE)
        if listed is not None:
            return rows.adopt(listed)
        self._nft.apply(bare)
        return everything

    async def _recover(self) -> None:
        """Read the kernel's state again and apply the difference until it is taken; rows in place stay in place."""
        rows = self._rows
        assert rows is not None
        family = rows.replace({}).family
        while True:
            try:
                self._nft.apply(rows.adopt(self._nft.list_table(family, TABLE)))
            except FairleadError as error:
                log(event="refused", error=str(error), again_in=f"{_RETRY_SECONDS}s")
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                log(event="recovered", total=len(self._machine.frontends()))
                return


def _tell(error: ApiError) -> None:
    log(event="waiting", error=str(error))


def log(**words: object) -> None:
    """One canonical line on standard error."""
    sys.stderr.write(" ".join(f"{key}={_quoted(value)}" for key, value in words.items()) + "\n")
    sys.stderr.flush()


def _quoted(value: object) -> str:
    text = str(value)
    return f'"{text}"' if " " in text or not text else text
