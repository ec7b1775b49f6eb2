"""Does what the agent has to say become one Event on the object, however often it is said?"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from fairlead.agents.events import EventWriter, Notice, format_time, notice_of, parse_time
from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.cluster.apiserver.loopback import InProcessTransport
from fairlead.cluster.apiserver.store import MemoryLog
from fairlead.drivers.kubeapi import KubeClient
from fairlead.kube.core import Event, Namespace, Service, ServicePort, ServiceSpec
from fairlead.kube.meta import ObjectMeta
from fairlead.model import Finding, Origin, Severity
from fairlead.net import parse_prefix

FINDING = Finding(Severity.ERROR, Origin("Service", "shop", "web", "spec.ports[0].port"), "is taken", "take another")


class Api:
    """An API server with one service, a clock that is set by hand, and agents that come and go."""

    def __init__(self) -> None:
        self.server = ApiServer(MemoryLog(), KINDS, service_ranges=(parse_prefix("10.96.0.0/16"),))
        self.client = KubeClient(InProcessTransport(self.server))
        self.now = 1_800_000_000.0
        self.tasks: list[asyncio.Task[None]] = []

    def uid_of(self, origin: Origin) -> str:
        """Nothing is known without asking."""
        return ""

    def writer(self, node: str = "node-1") -> EventWriter:
        async def pass_time(seconds: float) -> None:
            self.now += seconds
            await asyncio.sleep(0)

        writer = EventWriter(self.client, node, lambda: self.now, self.uid_of, pass_time)
        self.tasks.append(asyncio.create_task(writer.run()))
        return writer

    async def events(self, count: int) -> list[Event]:
        """The events, once there are `count` and nothing is being written."""
        async with asyncio.timeout(10):
            while True:
                found = (await self.client.list(Event, "shop")).items
                if len(found) >= count:
                    return list(found)
                await asyncio.sleep(0.005)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    api = Api()
    await api.client.create(Namespace(metadata=ObjectMeta(name="shop")))
    ports = (ServicePort(name="http", port=80),)
    await api.client.create(Service(metadata=ObjectMeta(name="web", namespace="shop"), spec=ServiceSpec(ports=ports)))
    yield api
    for task in api.tasks:
        task.cancel()
    api.server.close()


async def test_a_finding_becomes_an_event_that_kubectl_describe_shows(api: Api) -> None:
    api.writer().tell(notice_of(FINDING, "node-1"))
    (event,) = await api.events(1)
    service = await api.client.get(Service, "web", "shop")
    assert event.involved_object.uid == service.metadata.uid
    assert (event.involved_object.kind, event.involved_object.api_version) == ("Service", "v1")
    assert event.message == "spec.ports[0].port: is taken; take another"
    assert (event.reason, event.type, event.count) == ("NotProgrammed", "Warning", 1)
    assert (event.source.component, event.source.host) == ("fairlead-node-agent", "node-1")
    assert event.first_timestamp == format_time(api.now)


async def test_an_agent_that_starts_again_and_again_writes_one_event_and_counts_it_up_now_and_then(api: Api) -> None:
    for start in range(20):
        writer = api.writer()
        writer.tell(notice_of(FINDING, "node-1"))
        writer.tell(Notice(FINDING.origin, "Started", f"time {start}"))  # it comes last, so it can be waited for
        await api.events(1 + start + 1)
        api.now += 61  # twenty starts take twenty minutes
    counts = [event.count for event in await api.events(21) if event.reason == "NotProgrammed"]
    assert counts == [2]


async def test_what_all_nodes_say_is_one_event_and_what_one_says_of_itself_names_it(api: Api) -> None:
    here = Finding(Severity.ERROR, FINDING.origin, "is left out on this node")
    for node in ("node-1", "node-2", "node-3"):
        writer = api.writer(node)
        writer.tell(notice_of(FINDING, node))
        writer.tell(notice_of(here, node))
    said = [event.message.removeprefix("spec.ports[0].port: ") for event in await api.events(4)]
    lefts = [f"is left out on node node-{number}" for number in (1, 2, 3)]
    assert sorted(said) == [*lefts, "is taken; take another"]


async def test_much_is_said_slowly(api: Api) -> None:
    started, writer = api.now, api.writer()
    for number in range(40):
        writer.tell(Notice(FINDING.origin, "Much", f"number {number}"))
    assert len(await api.events(40)) == 40
    assert api.now - started >= 15 * 5 - 1


async def test_what_is_said_of_an_object_that_is_gone_is_not_written_and_the_next_is(api: Api) -> None:
    writer = api.writer()
    writer.tell(Notice(Origin("Service", "shop", "gone"), "NotProgrammed", "too late"))
    writer.tell(Notice(Origin("Nonsense", "shop", "gone"), "NotProgrammed", "of no kind"))
    writer.tell(notice_of(FINDING, "node-1"))
    (event,) = await api.events(1)
    assert event.involved_object.name == "web"


def test_times_are_read_as_written() -> None:
    assert parse_time(format_time(1_800_000_000.0)) == 1_800_000_000.0
    assert parse_time(None) == parse_time("soon") == 0.0
