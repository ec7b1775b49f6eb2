"""The load-balancer agent as a program: watches in, addresses in statuses and rows in this host's kernel out.

It does what it is asked to: give addresses (one such agent in a cluster), and be the host of the provider `external`.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from fairlead.agents.events import EventWriter, Notice, notice_of
from fairlead.agents.leases import Leadership, LeaseName
from fairlead.agents.lines import log
from fairlead.agents.loadbalancer.allocation import Allocation, AllocationSettings
from fairlead.agents.loadbalancer.external import External, ExternalSettings
from fairlead.agents.loadbalancer.following import World
from fairlead.agents.loadbalancer.metrics import Metrics
from fairlead.agents.pages import Binding, keep_serving
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.kubeapi import ApiError, HttpTransport, KubeClient
from fairlead.drivers.netlink.nftables import open_nft_socket
from fairlead.model import Finding, Origin
from fairlead.model.loadbalancers import ServiceKey

NAMESPACE = "metallb-system"
_TELL_AGAIN_SECONDS, _REMEMBERED = 600.0, 4096
_LOOK_SECONDS = 0.2


class LostLeaseError(FairleadError):
    """Another agent gives addresses now."""


class LoadBalancerConfig(Struct, frozen=True, kw_only=True):
    """How to reach the API server, where MetalLB's resources are, and what to do; None is for not at all."""

    kubeconfig: Path
    namespace: str = NAMESPACE
    allocation: AllocationSettings | None = AllocationSettings()
    external: ExternalSettings | None = ExternalSettings()
    metrics: Binding | None = None
    host: str = ""
    lease: LeaseName | None = None
    """By which several agents agree on the one that gives addresses; None where there is only one."""


async def main(config: LoadBalancerConfig) -> None:
    """Run until SIGTERM or SIGINT; rows stay. Raises FairleadError when kubeconfig or kernel cannot be used at all."""
    transport = HttpTransport.from_kubeconfig(config.kubeconfig)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    agent = asyncio.create_task(_run(config, KubeClient(transport)))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([agent, stopped], return_when=asyncio.FIRST_COMPLETED)
    agent.cancel()
    with suppress(asyncio.CancelledError):
        await agent
    await transport.close()


async def _run(config: LoadBalancerConfig, client: KubeClient) -> None:
    world = World(config.namespace)

    def uid_of(origin: Origin) -> str:
        kept = world.services.objects.get(ServiceKey(origin.namespace, origin.name))
        return kept.service.metadata.uid if origin.kind == "Service" and kept and kept.service else ""

    host = config.host or socket.gethostname()
    events = EventWriter(client, host, time.time, uid_of, component="fairlead-loadbalancer")
    allocation = external = None
    async with asyncio.TaskGroup() as tasks:
        if config.allocation is not None:
            allocation = Allocation(world, client, config.allocation, events.tell, time.time)
            tasks.create_task(allocate(allocation, client, config.lease, host))
        if config.external is not None:
            told = Told(events.tell, host)
            with open_nft_socket() as nft:
                external = External(world, config.external, nft, told.found)
                tasks.create_task(events.run())
                _serve(tasks, config, allocation, external)
                world.follow(client, tasks)
                await external.run()
        else:
            tasks.create_task(events.run())
            _serve(tasks, config, allocation, external)
            world.follow(client, tasks)


async def allocate(allocation: Allocation, client: KubeClient, lease: LeaseName | None, host: str) -> None:
    """Give addresses, with a lease only while it is ours. Raises LostLeaseError when it no longer is.

    What this agent knows of addresses is then out of date: it ends, and is to be started again.
    """
    if lease is None:
        await allocation.run()
        return
    leadership = Leadership(client, lease, f"{host}-{os.getpid()}", time.monotonic)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(leadership.run())
        await leadership.gained.wait()
        try:
            running = tasks.create_task(allocation.run())
            while leadership.leads:  # noqa: ASYNC110 - that it leads no more is a matter of time, and no event
                await asyncio.sleep(_LOOK_SECONDS)
            running.cancel()
            raise LostLeaseError(f"the lease {lease.namespace}/{lease.name} is another's now", "start the agent again")
        finally:
            with suppress(ApiError):
                await leadership.give_back()


def _serve(
    tasks: asyncio.TaskGroup, config: LoadBalancerConfig, allocation: Allocation | None, external: External | None
) -> None:
    if config.metrics is not None:
        tasks.create_task(keep_serving("metrics", config.metrics, Metrics(allocation, external).page))


class Told:
    """Tells each finding in the log and as an Event, and again when it is found again after a while."""

    def __init__(self, tell: Callable[[Notice], None], host: str) -> None:
        self._tell = tell
        self._host = host
        self._told: dict[Finding, float] = {}

    def found(self, findings: tuple[Finding, ...]) -> None:
        """There is something to tell the authors of objects."""
        now = time.monotonic()
        for finding in findings:
            if now - self._told.get(finding, -_TELL_AGAIN_SECONDS) < _TELL_AGAIN_SECONDS:
                continue
            self._told[finding] = now
            if len(self._told) > _REMEMBERED:
                del self._told[next(iter(self._told))]
            log(event="finding", object=str(finding.origin), message=finding.message, remedy=finding.remedy)
            self._tell(notice_of(finding, self._host))
