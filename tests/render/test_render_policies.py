"""Do the rendered rules say what the model says, and do changed rows end where new ones begin?"""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_worlds import (
    NODE_ADDRESSES,
    NODES,
    PORTS,
    Cluster,
    addresses,
    change_something,
    draw_cluster,
)

from fairlead.net import Address, Family, Port, Protocol
from fairlead.nft.apply import apply_transaction
from fairlead.nft.evaluate import Ending, Entry, Packet, Passage, Surroundings, evaluate_packet
from fairlead.nft.tables import TableContents
from fairlead.render.policy_chains import PolicySettings
from fairlead.render.policy_rows import PolicyRows
from fairlead.render.policy_stages import Stages
from fairlead.sim.policies import judge_flow
from fairlead.sim.policy_matching import Dialled, End


def carried_out(table: TableContents | None, stages: Stages) -> TableContents:
    """The table after all stages."""
    for each in filter(None, (stages.before, stages.rows, stages.after)):
        table = apply_transaction(table, each)
    assert table is not None
    return table


DIALLED = [(protocol, port) for protocol in Protocol for port in PORTS]


class Rendered:
    """The tables of both nodes, and a connection's way through them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.machines = {node: cluster.enforced_by(node) for node in NODES}
        self._tables: dict[tuple[str, Family], TableContents] = {}
        for node, machine in self.machines.items():
            changes = machine.round()
            for family in Family:
                rows = PolicyRows(family, PolicySettings(), 1)
                rows.replace(changes)
                self._tables[node, family] = rows.desired()
        self.pods = {each: pod for pod in cluster.pods.values() for each in pod.addresses}

    def end(self, address: Address) -> End:
        return End(address, self.pods.get(address), NODE_ADDRESSES.get(address, ""))

    def passes(self, source: Address, destination: Address, protocol: int, port: int) -> bool:
        """Walk the nodes on the way: that of the source, then that of the destination."""
        ends = self.end(source), self.end(destination)
        nodes = dict.fromkeys(end.pod.node if end.pod else end.node for end in ends)
        packet = Packet(
            source=source,
            destination=destination,
            protocol=protocol,
            source_port=Port(40000),
            destination_port=Port(port),
            icmp_type=8 if protocol in (1, 58) else None,
        )
        return all(self.walk(node, packet).ending is Ending.ACCEPT for node in nodes if node)

    def walk(self, node: str, packet: Packet) -> Passage:
        local = frozenset(each for each, name in NODE_ADDRESSES.items() if name == node)
        entry = Entry.SENT if packet.source in local else Entry.ARRIVES
        table = self._tables[node, packet.source.family]
        return evaluate_packet(table, packet, entry, Surroundings(local=local))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_rules_allow_what_the_model_allows(seed: int):
    random = Random(seed)
    rendered = Rendered(draw_cluster(random, random.randint(1, 6)))
    view = rendered.machines[NODES[0]].index
    everywhere = addresses(rendered.cluster)
    for source in everywhere:
        for destination in random.sample(everywhere, 6):
            if source.family is not destination.family or source == destination:
                continue
            protocol, port = random.choice(DIALLED) if random.random() < 0.9 else (1, 0)
            dialled = Dialled(protocol, port if protocol in tuple(Protocol) else None)
            verdict = judge_flow(view, rendered.end(source), rendered.end(destination), dialled)
            assert rendered.passes(source, destination, protocol, port) is verdict.allowed, (
                f"{source} to {destination}, {dialled}: the model says {verdict}"
            )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(Family))
def test_transactions_lead_from_each_state_to_what_a_new_table_holds(seed: int, family: Family):
    random = Random(seed)
    cluster = draw_cluster(random)
    machine = cluster.enforced_by("node-1")
    rows = PolicyRows(family, PolicySettings(), 7)
    rows.replace(machine.round())
    table = apply_transaction(None, rows.build())
    for number in range(5):
        for _ in range(random.randint(1, 3)):
            change_something(random, cluster, machine)
        table = carried_out(table, rows.replace(machine.round()))
        assert table == rows.desired(), f"after change {number}"
        fresh = PolicyRows(family, PolicySettings(), 7)
        fresh.replace(cluster.enforced_by("node-1").round())
        assert not fresh.adopt(table), f"a new agent would change something after change {number}"


def test_a_change_begins_a_new_generation_and_an_adopted_table_keeps_its_own():
    random = Random(1)
    cluster = draw_cluster(random)
    machine = cluster.enforced_by("node-1")
    rows = PolicyRows(Family.IPV4, PolicySettings(), 7)
    rows.replace(machine.round())
    table = apply_transaction(None, rows.build())
    assert table
    before = set(table.sets["judged"].rows or ())
    for origin in list(cluster.policies):
        machine.drop_policy(origin)
    table = carried_out(table, rows.replace(machine.round()))
    assert table
    assert before.isdisjoint(table.sets["judged"].rows or ())
    assert table.sets["judged"].rows is not None
    assert len(table.sets["judged"].rows) == 1
    other = PolicyRows(Family.IPV4, PolicySettings(), 99)
    assert not other.adopt(table)
    assert other.desired() == table


@pytest.mark.parametrize("family", Family)
def test_a_table_without_policies_allows_everything(family: Family):
    cluster = draw_cluster(Random(2), 0)
    rendered = Rendered(cluster)
    for source in addresses(cluster):
        for destination in addresses(cluster):
            if source.family is destination.family is family and source != destination:
                assert rendered.passes(source, destination, 6, 80)
