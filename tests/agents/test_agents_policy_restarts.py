"""Do policies stay enforced while no agent is there, and does none that starts open a window or lose a packet?

Real agents on one node with three pods, one of which may talk to another and one of which never may, as they try again
and again. Every policy that comes says the same as the one that goes.
"""

import asyncio
import os
import re
import select
import signal
import socket
import subprocess
import threading
from collections.abc import AsyncIterator

import pytest
from agent_machine import Machine, World

from fairlead.drivers.netns import entered, new_namespace, open_socket, write_sysctls
from fairlead.kube.documents import Document

pytestmark = pytest.mark.kernel
WEB, FRIEND, STRANGER = "10.244.1.2", "10.244.1.3", "10.244.1.4"
DEADLINE = 20.0


class Pods:
    """Three pods' namespaces, and a thread that asks one of them on and on, by a new flow each time."""

    def __init__(self, node: int) -> None:
        self._hosts = {address: new_namespace() for address in (WEB, FRIEND, STRANGER)}
        write_sysctls(node, {"net/ipv4/ip_forward": "1"})
        for number, (address, host) in enumerate(self._hosts.items()):
            there = f"/proc/{os.getpid()}/fd/{host}"
            _ip(node, f"link add p{number} type veth peer name eth0 netns {there}", f"link set p{number} up")
            _ip(
                host,
                "link set eth0 up",
                f"address add {address}/32 dev eth0",
                "route add 169.254.1.1 dev eth0",
                "route add default via 169.254.1.1 dev eth0",
            )
            _ip(node, f"address add 169.254.1.1/32 dev p{number}", f"route add {address} dev p{number}")
        self._server = open_socket(self._hosts[WEB], socket.AF_INET, socket.SOCK_DGRAM)
        self._server.bind((WEB, 8080))
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._answer, self._ask_on)]
        self.answered = self.unanswered = self.leaked = 0
        self._held = self._open(FRIEND)

    def start(self) -> None:
        for each in self._threads:
            each.start()

    def end(self) -> None:
        self._ended.set()
        for each in self._threads:
            if each.is_alive():
                each.join()

    def close(self) -> None:
        for each in (self._server, self._held):
            each.close()
        for host in self._hosts.values():
            os.close(host)

    async def go_on(self, more: int = 30) -> None:
        """Wait until so many more flows were answered, or something is wrong."""
        enough = self.answered + more
        while self.answered < enough and not self.unanswered:  # noqa: ASYNC110 - a thread counts
            await asyncio.sleep(0.005)

    def reaches(self, address: str) -> bool:
        """Whether a pod is answered, at the latest when another one is that asks later."""
        with self._open(address) as asking:
            asking.send(b"?")
            return bool(select.select([asking], [], [], 0.05)[0])

    def holds(self) -> bool:
        """Whether a flow that is as old as the pods is still answered."""
        self._held.send(b"?")
        return bool(select.select([self._held], [], [], DEADLINE)[0]) and bool(self._held.recv(10))

    def _open(self, address: str) -> socket.socket:
        opened = open_socket(self._hosts[address], socket.AF_INET, socket.SOCK_DGRAM)
        opened.connect((WEB, 8080))
        return opened

    def _answer(self) -> None:
        while not self._ended.is_set():
            if select.select([self._server], [], [], 0.1)[0]:
                _, peer = self._server.recvfrom(10)
                self._server.sendto(b"!", peer)

    def _ask_on(self) -> None:
        while not self._ended.is_set():
            with self._open(FRIEND) as allowed, self._open(STRANGER) as denied:
                denied.send(b"?")
                allowed.send(b"?")
                if select.select([allowed], [], [], DEADLINE)[0]:
                    self.answered += 1
                else:
                    self.unanswered += 1
                self.leaked += bool(select.select([denied], [], [], 0)[0])


def _ip(namespace: int, *lines: str) -> None:
    with entered(namespace):
        for line in lines:
            subprocess.run(["ip", *line.split()], check=True)


def a_pod(name: str, address: str) -> Document:
    return {
        "metadata": {"namespace": "shop", "name": name, "labels": {"app": name}},
        "spec": {"nodeName": "node-1"},
        "status": {"phase": "Running", "podIPs": [{"ip": address}]},
    }


async def put_policy(world: World, number: int) -> None:
    """A policy that says the same whatever its number."""
    friend: Document = {"podSelector": {"matchLabels": {"app": "friend"}}}
    spec: Document = {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"from": [friend]}]}
    await world.put("networkpolicies", {"metadata": {"namespace": "shop", "name": f"policy-{number}"}, "spec": spec})


async def replace_policy(world: World, number: int) -> None:
    await put_policy(world, number)
    await world.remove("networkpolicies", f"policy-{number - 1}")


def profiles(machine: Machine) -> set[str]:
    return set(re.findall(r"chain (ingress-\w+)", machine.run("nft", "list", "chains", "ip")))


async def wait_for_another_profile(machine: Machine, former: set[str]) -> None:
    """Wait until everything of the change is done, the removal of what was there before too."""
    async with asyncio.timeout(30):
        while len(found := profiles(machine)) != 1 or found == former:  # noqa: ASYNC110 - only the kernel can tell
            await asyncio.sleep(0.01)


@pytest.fixture
async def pods(machine: Machine) -> AsyncIterator[Pods]:
    await machine.world.put("namespaces", {"metadata": {"name": "shop"}})
    for name, address in (("web", WEB), ("friend", FRIEND), ("stranger", STRANGER)):
        await machine.world.put("pods", a_pod(name, address))
    pods = Pods(machine.namespace)
    yield pods
    pods.end()
    pods.close()


async def test_without_an_agent_policies_stay_and_one_that_starts_opens_no_window(machine: Machine, pods: Pods) -> None:
    await put_policy(machine.world, 0)
    agent = machine.start_agent()
    await wait_for_another_profile(machine, set())
    pods.start()
    assert pods.holds()
    for number, end in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGKILL), 1):
        agent.send_signal(end)
        await asyncio.to_thread(agent.wait, 10)
        before = profiles(machine)
        await pods.go_on()
        await replace_policy(machine.world, number)
        agent = machine.start_agent()
        await wait_for_another_profile(machine, before)
        await pods.go_on()
        assert await asyncio.to_thread(pods.holds)
    assert (pods.unanswered, pods.leaked) == (0, 0)
    assert not pods.reaches(STRANGER)


async def test_an_agent_killed_amid_changes_leaves_no_window_and_the_next_one_tidies_up(
    machine: Machine, pods: Pods
) -> None:
    await put_policy(machine.world, 0)
    agent = machine.start_agent()
    await wait_for_another_profile(machine, set())
    pods.start()
    for number in range(1, 61):
        await replace_policy(machine.world, number)
        await pods.go_on(number % 7)
        if number % 20 == 0:
            agent.kill()
            await asyncio.to_thread(agent.wait, 10)
            await pods.go_on()
            agent = machine.start_agent()
            await machine.wait_for_answer("http://127.0.0.1:10249/healthz", "200")
    before = profiles(machine)
    await replace_policy(machine.world, 61)
    await wait_for_another_profile(machine, before)
    assert await asyncio.to_thread(pods.holds)
    assert (pods.unanswered, pods.leaked) == (0, 0)
    assert not pods.reaches(STRANGER)


async def test_each_agent_begins_at_a_generation_that_nobody_can_have_been_at(machine: Machine, pods: Pods) -> None:
    """Connections keep the number of rules that are gone; an agent that makes the table anew must not come to it."""
    await put_policy(machine.world, 0)
    found: list[int] = []
    for _ in range(2):
        agent = machine.start_agent()
        await wait_for_another_profile(machine, set())
        listed = machine.run("nft", "list", "set", "ip", "fairlead-policy", "judged")
        found += (int(mark, 16) for mark in re.findall(r"0x[0-9a-f]+", listed))
        agent.kill()
        await asyncio.to_thread(agent.wait, 10)
        machine.run("nft", "flush", "ruleset")
    first, second = found
    assert abs(first - second) > 10_000
