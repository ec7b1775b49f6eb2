"""Does the load balancer notice who answers, who no longer does, and who never did?"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fairlead.agents.loadbalancer import probing
from fairlead.agents.loadbalancer.probing import Answer, Probe, ProbeSettings, Probing, ask
from fairlead.agents.pages import Binding, Page, serve
from fairlead.net import Address, parse_address

HERE = parse_address("127.0.0.1")
FAST = ProbeSettings(interval=0.01, local_interval=0.01, patience=0.5, misses=2)


class Server:
    """A page on loopback whose status one can choose, or that one can take away."""

    def __init__(self) -> None:
        self.status = 200
        self.asked = 0
        self.port = 0
        self._servers: list[asyncio.Server] = []

    async def open(self) -> None:
        self._servers = [*await serve([Binding("127.0.0.1", self.port)], self._page)]
        self.port = self._servers[0].sockets[0].getsockname()[1]

    async def close(self) -> None:
        for server in self._servers:
            server.close()
            await server.wait_closed()

    async def _page(self, path: str) -> Page:
        self.asked += 1
        return Page(b"", status=self.status)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.open()
    yield server
    await server.close()


@asynccontextmanager
async def asking(port: int) -> AsyncGenerator[tuple[Probing, asyncio.Event]]:
    news = asyncio.Event()
    asked = Probing(FAST, news.set)
    asked.want({Probe("node-1", port): HERE})
    try:
        yield asked, news
    finally:
        asked.close()


async def heard(news: asyncio.Event) -> None:
    async with asyncio.timeout(5):
        await news.wait()
    news.clear()


async def test_a_health_check_is_healthy_once_it_answered_and_until_it_does_not(server: Server) -> None:
    async with asking(server.port) as (asked, news):
        assert not asked.healthy("node-1", server.port), "silence is no proof of a pod"
        await heard(news)
        assert asked.healthy("node-1", server.port)
        server.status = 503
        await heard(news)
        assert not asked.healthy("node-1", server.port)
        server.status = 200
        await heard(news)
        assert asked.healthy("node-1", server.port)


async def test_who_answered_last_is_known_until_nobody_asks(server: Server) -> None:
    async with asking(server.port) as (asked, news):
        assert not asked.lately("node-1", server.port)
        await heard(news)
        server.status = 503
        await heard(news)
        assert (asked.healthy("node-1", server.port), asked.lately("node-1", server.port)) == (False, True)
        asked.want({})
        assert not asked.lately("node-1", server.port)


async def test_one_missed_answer_changes_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([Answer.YES, Answer.SILENCE, Answer.YES, Answer.SILENCE, Answer.YES])
    done = asyncio.Event()

    async def answer(*_: object) -> Answer:
        if (found := next(answers, None)) is None:
            done.set()
            return Answer.YES
        return found

    monkeypatch.setattr(probing, "ask", answer)
    changes = 0

    def count() -> None:
        nonlocal changes
        changes += 1

    asked = Probing(FAST, count)
    asked.want({Probe("node-1", 1): HERE})
    async with asyncio.timeout(5):
        await done.wait()
    asked.close()
    assert changes == 1, "only the first answer is news"


async def test_a_node_whose_page_never_answered_counts_as_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = asyncio.Event()

    async def nothing(*_: object) -> Answer:
        tried.set()
        return Answer.SILENCE

    monkeypatch.setattr(probing, "ask", nothing)
    async with asking(0) as (asked, _):
        async with asyncio.timeout(5):
            await tried.wait()
        assert asked.healthy("node-1", 0)
        assert asked.healthy("node-9", 0)


async def test_a_probe_that_is_not_wanted_any_more_is_forgotten(server: Server) -> None:
    async with asking(server.port) as (asked, news):
        await heard(news)
        asked.want({})
        assert not asked.healthy("node-1", server.port)


async def test_a_host_that_takes_a_connection_and_says_nothing_is_not_waited_for(server: Server) -> None:
    mute = await asyncio.start_server(lambda reader, writer: asyncio.sleep(5), "127.0.0.1", 0)
    port = mute.sockets[0].getsockname()[1]
    assert await ask(HERE, port, 0.05) is Answer.SILENCE
    assert await ask(HERE, server.port, 1) is Answer.YES
    server.status = 503
    assert await ask(HERE, server.port, 1) is Answer.NO
    mute.close()


async def test_a_node_that_falls_silent_is_dead_unless_all_are(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    silent: set[str] = set()

    async def answer(address: Address, *_: object) -> Answer:
        return Answer.SILENCE if str(address) in silent else Answer.YES

    monkeypatch.setattr(probing, "ask", answer)
    news = asyncio.Event()
    asked = Probing(FAST, news.set)
    asked.want({Probe("node-1", 1): HERE, Probe("node-2", 1): parse_address("127.0.0.2")})
    async with asyncio.timeout(5):
        while not (asked.healthy("node-1", 1) and asked.healthy("node-2", 1)):
            await heard(news)
        silent.add("127.0.0.1")
        await heard(news)
        assert (asked.healthy("node-1", 1), asked.healthy("node-2", 1)) == (False, True)
        silent.add("127.0.0.2")
        await heard(news)
        assert (asked.healthy("node-1", 1), asked.healthy("node-2", 1)) == (True, True), "rather we are deaf"
    asked.close()


async def test_a_node_without_pods_stays_one_when_it_falls_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([Answer.NO, Answer.SILENCE, Answer.SILENCE, Answer.SILENCE])
    done = asyncio.Event()

    async def answer(*_: object) -> Answer:
        found = next(answers, None)
        if found is None:
            done.set()
        return found or Answer.SILENCE

    monkeypatch.setattr(probing, "ask", answer)
    async with asking(1) as (asked, _):
        async with asyncio.timeout(5):
            await done.wait()
        assert not asked.healthy("node-1", 1)
