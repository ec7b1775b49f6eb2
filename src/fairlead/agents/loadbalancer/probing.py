"""Whether nodes answer: the health check that a load balancer makes of each, again and again.

Comes in: which node, address and port to ask. Goes out: news, when an answer changes. Two ports are asked: the health
page of the node's proxy (kube-proxy's 10256, KEP-3836), which speaks for all Services, and the healthCheckNodePort of a
Service with policy Local. A page that never answered is no evidence against a node; a healthCheckNodePort that does
not answer yet is. A node that says no is believed at once. One that falls silent is asked again at once, and then taken
for dead; unless all are silent, for then it is more likely that we are deaf.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum

from msgspec import Struct

from fairlead.agents.lines import log
from fairlead.net import Address

PROXY_HEALTH_PORT = 10256
BREATH = 0.05
"""Seconds before a question that met silence is asked again: a refusal comes at once."""


class Probe(Struct, frozen=True):
    """One thing to ask: a node's page; `port` 0 is the node as a whole."""

    node: str
    port: int


class ProbeSettings(Struct, frozen=True, kw_only=True):
    """How often to ask, how long to wait for an answer, both in seconds, and how many silences make a node dead.

    A node is asked for its Services with policy Local more often than for itself: their pods go more often than nodes
    do, and while they still serve.
    """

    interval: float = 0.3
    local_interval: float = 0.2
    patience: float = 0.25
    misses: int = 2


class Answer(Enum):
    """What became of a question."""

    YES = "yes"
    NO = "no"
    SILENCE = "silence"


class Probing:
    """The probes there should be, and what they found."""

    def __init__(self, settings: ProbeSettings, news: Callable[[], None]) -> None:
        self._settings = settings
        self._news = news
        self._tasks: dict[Probe, tuple[Address, asyncio.Task[None]]] = {}
        self._found: dict[Probe, Answer] = {}
        self._last: dict[int, frozenset[str]] = {}

    def healthy(self, node: str, port: int) -> bool:
        """Whether a node answers, as far as is known."""
        found = self._found.get(Probe(node, port))
        if found is Answer.SILENCE:
            return not any(probe.port == port and each is Answer.YES for probe, each in self._found.items())
        return port == 0 if found is None else found is Answer.YES

    def lately(self, node: str, port: int) -> bool:
        """Whether a node was among those that answered yes when last any did."""
        return node in self._last.get(port, ())

    def want(self, probes: Mapping[Probe, Address]) -> None:
        """Ask these from now on, and no others."""
        for probe in list(self._tasks):
            address, task = self._tasks[probe]
            if probes.get(probe) != address:
                task.cancel()
                del self._tasks[probe]
                self._found.pop(probe, None)
        for port in self._last.keys() - {probe.port for probe in probes}:
            del self._last[port]
        for probe, address in probes.items():
            if probe not in self._tasks:
                self._tasks[probe] = (address, asyncio.create_task(self._ask_again(probe, address)))

    def close(self) -> None:
        """Stop asking."""
        self.want({})

    def _remember(self, port: int) -> None:
        yes = frozenset(each.node for each, found in self._found.items() if each.port == port and found is Answer.YES)
        if yes:
            self._last[port] = yes

    async def _ask_again(self, probe: Probe, address: Address) -> None:
        settings, missed = self._settings, 0
        while True:
            answer = await ask(address, probe.port or PROXY_HEALTH_PORT, settings.patience)
            known = self._found.get(probe)
            missed = missed + 1 if answer is Answer.SILENCE else 0
            if answer is Answer.SILENCE and 0 < missed < settings.misses and known is Answer.YES:
                await asyncio.sleep(BREATH)
                continue
            nothing_new = answer is known or (answer is Answer.SILENCE and known is not Answer.YES)
            if not nothing_new:
                self._found[probe] = answer
                self._remember(probe.port)
                log(event="health", node=probe.node, port=probe.port or PROXY_HEALTH_PORT, answer=answer.value)
                self._news()
            await asyncio.sleep(settings.local_interval if probe.port else settings.interval)


async def ask(address: Address, port: int, patience: float) -> Answer:
    """Ask for a page at a port: 200 within so many seconds is yes, another status no, anything else silence."""
    writer = None
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(str(address), port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")
            status = await reader.readline()
            if not status.startswith(b"HTTP/"):
                return Answer.SILENCE
            return Answer.YES if b" 200 " in status else Answer.NO
    except (OSError, TimeoutError):
        return Answer.SILENCE
    finally:
        if writer is not None:
            with suppress(OSError):
                writer.close()
