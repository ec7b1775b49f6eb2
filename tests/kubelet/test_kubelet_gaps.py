"""Does the kubelet rest when nothing is due, keep what has ended over its own restart, and give lines out whole?"""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from fairlead.cluster.apiserver.bootstrap import create_first_objects
from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.cluster.apiserver.loopback import InProcessTransport
from fairlead.cluster.apiserver.store import MemoryLog
from fairlead.cluster.kubelet.commands import (
    ContainerEnded,
    ContainerStarted,
    PodSeen,
    Prepared,
    Probed,
    StartContainer,
    Tell,
    Tick,
)
from fairlead.cluster.kubelet.logserver import LogFile, start_log_server
from fairlead.cluster.kubelet.machine import PodMachine
from fairlead.cluster.kubelet.nodes import NodeReporter
from fairlead.cluster.kubelet.probes import Outcome, ProbeKind
from fairlead.cluster.topology import NodeNetwork
from fairlead.drivers.kubeapi import KubeClient, Replaced
from fairlead.kube.containers import Container, Probe, TCPSocketAction
from fairlead.kube.core import Node
from fairlead.kube.documents import Document, value_at
from fairlead.kube.meta import ObjectMeta
from fairlead.kube.pods import ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodSpec, PodStatus
from fairlead.net import parse_address, parse_prefix

START = 1_000_000.0
META = ObjectMeta(name="web", namespace="shop", uid="u1")


def _prepared(spec: PodSpec) -> PodMachine:
    machine = PodMachine(Pod(metadata=META, spec=spec), ("172.18.0.2",), START)
    machine.step(Tick(), START)
    machine.step(Prepared(("10.244.1.2",)), START)
    return machine


def test_nothing_is_due_while_an_init_container_works() -> None:
    machine = _prepared(PodSpec(init_containers=(Container(name="i"),), containers=(Container(name="c"),)))
    machine.step(ContainerStarted("i"), START + 1)
    assert machine.next_due() is None


def test_the_wait_of_a_failed_init_container_is_what_is_due() -> None:
    machine = _prepared(PodSpec(init_containers=(Container(name="i"),), containers=(Container(name="c"),)))
    for _ in range(2):
        machine.step(ContainerStarted("i"), START + 1)
        machine.step(ContainerEnded("i", 1), START + 1)
    assert machine.next_due() == START + 11


def test_a_pod_past_its_deadline_looks_no_more() -> None:
    probe = Probe(tcp_socket=TCPSocketAction(port=80))
    spec = PodSpec(containers=(Container(name="c", readiness_probe=probe),), active_deadline_seconds=5)
    machine = _prepared(spec)
    machine.step(ContainerStarted("c"), START)
    machine.step(Probed("c", 0, ProbeKind.READINESS, Outcome.SUCCESS), START)
    machine.step(Tick(), START + 6)
    machine.step(Tick(), START + 20)
    assert machine.next_due() == START + 36


def _after_restart(policy: str, code: int, phase: str) -> tuple[PodMachine, list[str]]:
    ended = ContainerState(terminated=ContainerStateTerminated(exit_code=code, reason="Error"))
    status = PodStatus(phase=phase, container_statuses=(ContainerStatus(name="c", state=ended),))
    spec = PodSpec(containers=(Container(name="c"), Container(name="d")), restart_policy=policy)
    pod = Pod(metadata=META, spec=spec, status=status)
    machine = PodMachine(pod, ("172.18.0.2",), START)
    machine.step(PodSeen(pod), START)
    commands = machine.step(Prepared(("10.244.1.2",)), START)
    return machine, [each.container.name for each in commands if isinstance(each, StartContainer)]


def test_what_may_not_restart_stays_ended_when_the_kubelet_restarts() -> None:
    machine, started = _after_restart("Never", 1, "Running")
    assert started == ["d"]
    assert machine.runs["c"].exit_code == 1
    assert value_at(machine.runs["c"].state({}), "terminated", "exitCode") == 1


def test_what_failed_and_may_restart_does_when_the_kubelet_restarts() -> None:
    assert _after_restart("OnFailure", 1, "Running")[1] == ["c", "d"]


def test_a_failed_pod_still_shows_how_it_ended_when_the_kubelet_restarts() -> None:
    machine, started = _after_restart("OnFailure", 3, "Failed")
    assert started == []
    assert value_at(machine.runs["c"].state({}), "terminated", "exitCode") == 3


def test_images_are_said_to_be_there_before_a_container_is_created() -> None:
    machine = _prepared(PodSpec(containers=(Container(name="c", image="shop/web:1"),)))
    told = [each for each in machine.step(ContainerStarted("c"), START) if isinstance(each, Tell)]
    assert [each.reason for each in told] == ["Pulled", "Created", "Started"]
    assert told[0].message == 'Container image "shop/web:1" already present on machine'


async def test_a_carriage_return_does_not_split_a_line(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_bytes(b"2026-11-23T00:00:00.0Z stdout F 10%\r20% of all done\n")
    runner = await start_log_server(tmp_path / "s", lambda _a, _b, _c, _d: LogFile(log, live=False))
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(tmp_path / "s"))) as session,
            session.get("http://kubelet/logs/shop/web/c") as answer,
        ):
            assert await answer.read() == b"10%\r20% of all done\n"
    finally:
        await runner.cleanup()


async def test_nobody_looks_at_a_log_whose_follower_has_gone(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_bytes(b"2026-11-23T00:00:00.0Z stdout F hello\n")

    runner = await start_log_server(tmp_path / "s", lambda _a, _b, _c, _d: LogFile(log, live=True))
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(tmp_path / "s"))) as session,
            session.get("http://kubelet/logs/shop/web/c?follow=true") as answer,
        ):
            assert await answer.content.readline() == b"hello\n"
            serving = {task for task in asyncio.all_tasks() if "RequestHandler.start" in repr(task.get_coro())}
        assert serving
        _, left = await asyncio.wait(serving, timeout=3)
        assert not left
    finally:
        await runner.cleanup()


async def test_a_node_that_was_given_up_says_with_its_next_lease_that_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fairlead.cluster.kubelet.nodes._EVERY", 0.02)
    monkeypatch.setattr("fairlead.cluster.kubelet.nodes._STATUS_EVERY", 1_000_000)
    server = ApiServer(MemoryLog(), KINDS, service_ranges=(parse_prefix("10.96.0.0/16"),))
    await create_first_objects(server, service_address="10.96.0.1", api_address="172.18.0.1", api_port=6443)
    client = KubeClient(InProcessTransport(server))
    address = parse_address("172.18.0.2")
    network = NodeNetwork("node-1", -1, (address,), (parse_prefix("10.244.1.0/24"),))
    reporter = asyncio.create_task(NodeReporter(client, network, lambda _: None).run())

    async def until_ready() -> None:
        async with asyncio.timeout(5):
            async for change in client.reflect(Node):
                nodes = change.items if isinstance(change, Replaced) else (change.object,)
                if any(
                    (each.type, each.status) == ("Ready", "True") for node in nodes for each in node.status.conditions
                ):
                    return

    try:
        await until_ready()
        unknown: Document = {"type": "Ready", "status": "Unknown", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        await client.patch(Node, "node-1", "", {"status": {"conditions": [unknown]}}, subresource="status")
        await until_ready()
    finally:
        reporter.cancel()
        server.close()
