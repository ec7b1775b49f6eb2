"""Does the policy part keep the agent's contract: nothing before everything is known, trouble that opens nothing?"""

import asyncio
from pathlib import Path

import msgspec

from fairlead.agents.node.policies import PolicyPart, PolicyTable
from fairlead.agents.node.policy_gate import serve_gate
from fairlead.agents.node.policy_objects import (
    CLUSTER_POLICIES,
    PolicyObjects,
    keep_namespace,
    keep_network_policy,
    keep_pod,
)
from fairlead.agents.node.tables import Outcome
from fairlead.drivers.kubeapi import Applied, Deleted, Replaced
from fairlead.kube.core import Namespace
from fairlead.kube.networking import NetworkPolicy
from fairlead.kube.outlines import PodOutline
from fairlead.model import Origin
from fairlead.net import parse_address
from fairlead.nft.apply import apply_transaction
from fairlead.nft.tables import TableContents
from fairlead.nft.transactions import (
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    DeleteChain,
    DeleteElements,
    ReplaceElements,
    Transaction,
)
from fairlead.render.policy_chains import PolicySettings

POLICY = Origin("NetworkPolicy", "n", "p")


def pod(name: str, address: str = "", node: str = "node-1", **labels: str) -> PodOutline:
    addresses = [{"ip": address}] if address else []
    document = {
        "metadata": {"name": name, "namespace": "n", "labels": labels},
        "spec": {"nodeName": node},
        "status": {"podIPs": addresses},
    }
    return msgspec.convert(document, PodOutline)


def policy(**spec: object) -> NetworkPolicy:
    document = {"metadata": {"name": "p", "namespace": "n"}, "spec": {"podSelector": {}, **spec}}
    return msgspec.convert(document, NetworkPolicy)


class Agent:
    """A part, and a kernel table that takes its transactions."""

    def __init__(self) -> None:
        self.objects = PolicyObjects("node-1")
        self.part = PolicyPart(self.objects, PolicySettings(), 1)
        self.table: PolicyTable = self.part.tables()[0]  # pyright: ignore[reportAttributeAccessIssue] - it makes these
        self.kernel: TableContents | None = None

    def list_all(self, *pods: PodOutline, policies: tuple[NetworkPolicy, ...] = ()) -> None:
        self.objects.take_network_policies(Replaced(tuple(map(keep_network_policy, policies))))
        self.objects.take_pods(Replaced(tuple(map(keep_pod, pods))))
        self.objects.take_namespaces(Replaced((keep_namespace(Namespace()),)))
        self.objects.absent(CLUSTER_POLICIES)

    def begin(self) -> Transaction:
        return self._carry_out(self.table.begin(self.kernel))

    def round(self) -> Transaction:
        return self._carry_out(self.table.round())

    def _carry_out(self, outcome: Outcome) -> Transaction:
        for transaction in filter(None, outcome.transactions()):
            self.kernel = apply_transaction(self.kernel, transaction)
        self.part.tables()[1].round()
        for table in self.part.tables():
            table.programmed()
        return outcome.transaction

    def allows(self) -> int:
        """How many rules of profiles let something pass."""
        assert self.kernel is not None
        chains = [each for name, each in self.kernel.chains.items() if name.startswith("ingress-")]
        return sum(len(each.rules) for each in chains) - len(chains)


def test_nothing_is_programmed_before_every_kind_was_listed():
    agent = Agent()
    agent.objects.take_network_policies(Replaced((keep_network_policy(policy()),)))
    agent.objects.take_pods(Replaced((keep_pod(pod("a", "10.0.0.1")),)))
    assert not agent.table.synced
    agent.objects.take_namespaces(Replaced(()))
    assert not agent.table.synced
    agent.objects.absent(CLUSTER_POLICIES)
    assert agent.table.synced
    assert agent.begin()


def test_without_a_policy_for_a_pod_here_there_is_no_table():
    agent = Agent()
    agent.list_all(pod("a", "10.0.0.1"), pod("b", "10.0.1.1", "node-2", app="b"))
    assert not agent.begin()
    agent.objects.take_network_policies(Applied(keep_network_policy(policy(podSelector={"matchLabels": {"app": "b"}}))))
    assert not agent.round()
    agent.objects.take_network_policies(Applied(keep_network_policy(policy())))
    assert agent.round()
    agent.objects.take_network_policies(Deleted(keep_network_policy(policy())))
    assert agent.round()
    assert agent.kernel is not None


def test_changes_of_several_rounds_are_one_in_stages():
    """Decision 0014: what is new is there before anything leads to it, what is gone goes when nothing does."""
    agent = Agent()
    agent.list_all(pod("a", "10.0.0.1"), policies=(policy(),))
    agent.begin()
    other = agent.part.tables()[1]  # it looks first, and hands over what it found
    for ingress in ([{}], [{"from": [{"podSelector": {}}]}]):
        agent.objects.take_network_policies(Applied(keep_network_policy(policy(ingress=ingress))))
        other.round()
    outcome = agent.table.round()
    before, rows, after = (set(map(type, each.commands)) for each in outcome.transactions())
    assert before == {AddSet, AddElements, AddChain, AddRule}
    assert rows == {ReplaceElements, AddElements}
    assert after == {DeleteChain, DeleteElements, ReplaceElements}
    for transaction in outcome.transactions():
        agent.kernel = apply_transaction(agent.kernel, transaction)
    assert not agent.round()
    assert agent.allows() == 1


def test_a_pod_that_changes_while_a_change_is_under_way_is_not_taken_for_programmed():
    agent = Agent()
    agent.list_all(pod("a", "10.0.0.1"), policies=(policy(),))
    agent.begin()
    address = parse_address("10.0.0.1")
    agent.objects.take_network_policies(Applied(keep_network_policy(policy(ingress=[{}]))))
    agent.table.round()
    assert not agent.table.holds(address)
    agent.objects.take_network_policies(Applied(keep_network_policy(policy())))
    agent.part.tables()[1].round()
    agent.table.programmed()
    assert not agent.table.holds(address)
    agent.table.round()
    agent.table.programmed()
    assert agent.table.holds(address)


def test_a_policy_that_the_kernel_refuses_goes_on_isolating_and_allows_nothing():
    agent = Agent()
    agent.list_all(pod("a", "10.0.0.1"), policies=(policy(ingress=[{"from": [{"podSelector": {}}]}]),))
    agent.begin()
    assert agent.allows() == 1
    agent.table.withhold({POLICY})
    agent.round()
    assert agent.table.withheld() == {POLICY}
    assert agent.allows() == 0
    assert agent.kernel is not None
    assert agent.kernel.sets["ingress"].rows
    agent.table.admit({POLICY})
    agent.round()
    assert agent.allows() == 1


def test_a_policy_that_changes_is_let_in_again_and_is_a_suspect_until_the_kernel_agrees():
    agent = Agent()
    agent.list_all(pod("a", "10.0.0.1"), policies=(policy(),))
    agent.begin()
    agent.table.withhold({POLICY})
    agent.objects.take_network_policies(Applied(keep_network_policy(policy(ingress=[{}]))))
    assert agent.table.withheld() == set()
    agent.table.round()
    assert agent.table.suspects() == {POLICY}
    agent.table.programmed()
    assert agent.table.suspects() == set()


def test_a_mistake_is_told_once_and_again_after_a_change():
    agent = Agent()
    agent.list_all(pod("a", "10.0.0.1"), policies=(policy(ingress=[{"from": [{}]}]),))
    (finding,) = agent.table.begin(None).findings
    assert finding.origin.field == "spec.ingress[0].from[0]"
    agent.objects.take_pods(Applied(keep_pod(pod("b", "10.0.0.2"))))
    assert agent.table.round().findings == ()


async def test_the_gate_opens_when_the_kernel_holds_the_pod(tmp_path: Path):
    agent = Agent()
    agent.list_all(pod("a"), policies=(policy(),))
    agent.begin()
    asked = asyncio.Event()
    gate = asyncio.create_task(serve_gate(tmp_path / "gate", agent.part, asked.set))
    try:
        async with asyncio.timeout(20):
            while not (tmp_path / "gate").exists():  # noqa: ASYNC110 - only the file system can tell
                await asyncio.sleep(0.01)
            reader, writer = await asyncio.open_unix_connection(tmp_path / "gate")
            writer.write(msgspec.json.encode(pod("a", "10.0.0.9")) + b"\n")
            answer = asyncio.create_task(reader.readline())
            await asked.wait()
            assert not answer.done()
            assert agent.kernel is None
            assert agent.round()
            assert await answer == b'{"programmed": true}\n'
            writer.close()
    finally:
        gate.cancel()
    assert agent.kernel is not None
    assert agent.kernel.sets["ingress"].rows


async def test_a_pod_that_no_policy_selects_passes_the_gate_at_once():
    agent = Agent()
    agent.list_all(policies=(policy(podSelector={"matchLabels": {"app": "b"}}),))
    agent.begin()
    compiled = keep_pod(pod("a", "10.0.0.9")).pod
    assert compiled is not None

    def news() -> None:
        agent.round()

    await asyncio.wait_for(agent.part.admit(compiled, news), 20)
