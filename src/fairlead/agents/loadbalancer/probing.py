"""Whether nodes answer: the health check that a load balancer makes of each, again and again.

Comes in: which node, address and port to ask. Goes out: news, when an answer changes. Two ports are asked: the health
page of the node's proxy (kube-proxy's 10256, KEP-3836), which speaks for all Services, and the healthCheckNodePort of a
Service with policy Local. A page that never answered is no evidence against a node; a healthCheckNodePort that does
not answer yet is.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

from msgspec import Struct

from fairlead.agents.lines import log
from fairlead.net import Address

PROXY_HEALTH_PORT = 10256


class Probe(Struct, frozen=True):
    """One thing to ask: a node's page; `port` 0 is the node as a whole."""

    node: str
    port: int


class ProbeSettings(Struct, frozen=True, kw_only=True):
    """How often to ask, how long to wait for an answer, both in seconds, and how many misses make a node dead."""

    interval: float = 0.5
    patience: float = 0.5
    misses: int = 2


class Probing:
    """The probes there should be, and what they found."""

    def __init__(self, settings: ProbeSettings, news: Callable[[], None]) -> None:
        self._settings = settings
        self._news = news
        self._tasks: dict[Probe, tuple[Address, asyncio.Task[None]]] = {}
        self._found: dict[Probe, bool] = {}

    def healthy(self, node: str, port: int) -> bool:
        """Whether a node answers, as far as is known."""
        return self._found.get(Probe(node, port), port == 0)

    def want(self, probes: Mapping[Probe, Address]) -> None:
        """Ask these from now on, and no others."""
        for probe in list(self._tasks):
            address, task = self._tasks[probe]
            if probes.get(probe) != address:
                task.cancel()
                del self._tasks[probe]
                self._found.pop(probe, None)
        for probe, address in probes.items():
            if probe not in self._tasks:
                self._tasks[probe] = (address, asyncio.create_task(self._ask_again(probe, address)))

    def close(self) -> None:
        """Stop asking."""
        self.want({})

    async def _ask_again(self, probe: Probe, address: Address) -> None:
        settings, missed = self._settings, 0
        while True:
            answered = await ask(address, probe.port or PROXY_HEALTH_PORT, settings.patience)
            missed = 0 if answered else missed + 1
            known = self._found.get(probe)
            if answered and known is not True:
                self._note(probe, healthy=True)
            elif not answered and missed >= settings.misses and known is True:
                self._note(probe, healthy=False)
            await asyncio.sleep(settings.interval)

    def _note(self, probe: Probe, *, healthy: bool) -> None:
        self._found[probe] = healthy
        log(event="health", node=probe.node, port=probe.port or PROXY_HEALTH_PORT, healthy=healthy)
        self._news()


async def ask(address: Address, port: int, patience: float) -> bool:
    """Whether a GET to a port is answered with 200 within so many seconds."""
    writer = None
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(str(address), port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")
            return b" 200 " in await reader.readline()
    except (OSError, TimeoutError):
        return False
    finally:
        if writer is not None:
            with suppress(OSError):
                writer.close()
