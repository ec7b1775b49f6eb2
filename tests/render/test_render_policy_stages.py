"""Does a packet that is under way while a stage is committed come to what it would come to before or after the change?

Such a packet is made here: it meets the chains as of when it entered, new ones without rules, and each set as of before
or after the commit, from some lookup on as of after (decision 0014).
"""

from collections.abc import Callable, Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_worlds import PORTS, Cluster, addresses, change_something, draw_cluster, draw_network_policy, draw_pod
from torn_sets import TornSets

from fairlead.agents.node.policy_changes import join_changes
from fairlead.compile.policies import compile_network_policy
from fairlead.compile.policy_node import NodePolicies
from fairlead.model import Origin
from fairlead.model.policies import (
    Action,
    Direction,
    LabelTest,
    Operator,
    PodGroup,
    Policy,
    PolicyPod,
    PolicyRule,
    PortRange,
    Tier,
)
from fairlead.model.policy_profiles import Moves, PolicyChanges, Profile, Subject, Term
from fairlead.net import Address, Family, Port, Protocol, parse_address
from fairlead.nft.apply import apply_transaction
from fairlead.nft.evaluate import Ending, Entry, Packet, Surroundings, evaluate_packet
from fairlead.nft.objects import TableFamily
from fairlead.nft.tables import ChainContents, SetContents, TableContents
from fairlead.nft.transactions import Transaction
from fairlead.render.policy_chains import TABLE, PolicySettings
from fairlead.render.policy_rows import PolicyRows
from fairlead.render.policy_stages import Stages, one_stage

Change = Callable[[Random, Cluster, NodePolicies], None]
POD, PEER = parse_address("10.0.0.1"), parse_address("10.0.0.2")
ORIGIN = Origin("NetworkPolicy", "n", "p")
MOST_LOOKUPS = 100


def _group(role: str) -> PodGroup:
    return PodGroup("n", (), (LabelTest("role", Operator.IN, (role,)),))


def _term(role: str, action: Action = Action.ACCEPT) -> Term:
    return Term(_group(role), None, action)


class History:
    """A table and its states while one change is carried out."""

    def __init__(self, rows: PolicyRows) -> None:
        self.states = [_after(None, rows.build())]

    def carry_out(self, stages: Stages) -> None:
        """Begin anew with the last state, and go on by stages."""
        del self.states[:-1]
        for each in filter(None, (stages.before, stages.rows, stages.after)):
            self.states.append(_after(self.states[-1], each))

    def whole_fates(self, packet: Packet) -> Iterator[tuple[str, bool]]:
        """Whether a packet passes in each state."""
        for number, state in enumerate(self.states):
            yield f"state {number}", _passes(state, packet)

    def fates(self, packet: Packet) -> Iterator[tuple[str, bool]]:
        """Whether a packet passes in each state, and torn between any two in each way there is."""
        yield from self.whole_fates(packet)
        for number, (before, after) in enumerate(zip(self.states, self.states[1:], strict=False)):
            new = {name: ChainContents(held.chain) for name, held in after.chains.items() if name not in before.chains}
            for looks in range(MOST_LOOKUPS):
                sets = TornSets(before, after, looks)
                yield (
                    f"torn after look {looks} on the way to state {number + 1}",
                    _passes(TableContents(before.family, before.name, before.chains | new, sets), packet),
                )
                if sets.left > 0:
                    break

    def check(self, packet: Packet, *, torn: bool = True) -> None:
        """Find the packet's fate the same all the way, if it is the same before and after."""
        fates = dict(self.fates(packet) if torn else self.whole_fates(packet))
        if fates["state 0"] is fates[f"state {len(self.states) - 1}"]:
            others = [where for where, passes in fates.items() if passes is not fates["state 0"]]
            assert not others, f"{packet} passes: {fates['state 0']}, but not so when {others}"


def _after(table: TableContents | None, transaction: Transaction) -> TableContents:
    after = apply_transaction(table, transaction)
    assert after is not None
    return after


def _passes(table: TableContents, packet: Packet) -> bool:
    return evaluate_packet(table, packet, Entry.ARRIVES, Surroundings()).ending is Ending.ACCEPT


def a_packet(source: Address, destination: Address, protocol: int = 6, port: int = 80) -> Packet:
    return Packet(
        source=source,
        destination=destination,
        protocol=protocol,
        source_port=Port(40000),
        destination_port=Port(port),
        icmp_type=None,
    )


def change_a_policy(random: Random, cluster: Cluster, machine: NodePolicies) -> None:
    number = random.randrange(4)
    policy, _ = compile_network_policy(draw_network_policy(random, f"policy-{number}"))
    if random.random() < 0.3:
        machine.drop_policy(policy.origin)
    else:
        machine.put_policy(policy)


def change_a_distant_pod(random: Random, cluster: Cluster, machine: NodePolicies) -> None:
    namespace, name = random.choice([key for key, pod in cluster.pods.items() if pod.node != "node-1"])
    machine.put_pod(draw_pod(random, namespace, name))


@pytest.mark.parametrize("change", [change_a_policy, change_a_distant_pod])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_whoever_is_torn_between_two_stages_comes_to_what_holds_before_or_after(change: Change, seed: int) -> None:
    """In one direction: two directions are asked one after the other, be it on one node or on two."""
    random = Random(seed)
    cluster = draw_cluster(random, 0)
    machine = cluster.enforced_by("node-1")
    rows = PolicyRows(Family.IPV4, PolicySettings(), 7)
    for number in range(4):
        policy, _ = compile_network_policy(draw_network_policy(random, f"policy-{number}"))
        machine.put_policy(policy)
    rows.replace(machine.round())
    history = History(rows)
    everybody = [each for each in addresses(cluster) if each.family is Family.IPV4]
    local = {each for pod in cluster.pods.values() if pod.node == "node-1" for each in pod.addresses}
    for _ in range(3):
        change(random, cluster, machine)
        history.carry_out(rows.replace(machine.round()))
        for _ in range(12):
            one, other = random.choice([*local & set(everybody)]), random.choice([*set(everybody) - local])
            source, target = random.sample((one, other), 2)
            history.check(a_packet(source, target, random.choice((6, 17)), random.choice(PORTS)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_no_stage_opens_what_is_shut_before_and_after_nor_shuts_what_is_open(seed: int) -> None:
    """Whatever the one change is, and for both directions."""
    random = Random(seed)
    cluster = draw_cluster(random, 6)
    machine = cluster.enforced_by("node-1")
    rows = PolicyRows(Family.IPV4, PolicySettings(), 7)
    rows.replace(machine.round())
    history = History(rows)
    for _ in range(6):
        change_something(random, cluster, machine)
        history.carry_out(rows.replace(machine.round()))
        for source in addresses(cluster):
            for target in random.sample(addresses(cluster), 4):
                if source.family is target.family is Family.IPV4 and source != target:
                    history.check(a_packet(source, target, 6, random.choice(PORTS)), torn=False)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_rounds_that_are_joined_lead_to_the_same_end(seed: int) -> None:
    random = Random(seed)
    cluster = draw_cluster(random)
    machine = cluster.enforced_by("node-1")
    rows = PolicyRows(Family.IPV4, PolicySettings(), 7)
    rows.replace(machine.round())
    history = History(rows)
    for _ in range(3):
        rounds: list[PolicyChanges] = []
        for _ in range(random.randint(2, 5)):
            change_something(random, cluster, machine)
            rounds.append(machine.round())
        history.carry_out(rows.replace(join_changes(rounds)))
        assert history.states[-1] == rows.desired()
        fresh = PolicyRows(Family.IPV4, PolicySettings(), 7)
        fresh.replace(cluster.enforced_by("node-1").round())
        assert not fresh.adopt(history.states[-1])


class Peer:
    """A pod that is asked about by its roles, and a pod of the node that asks."""

    def __init__(self, roles: str, admin: tuple[Term, ...] = (), rest: tuple[Term, ...] = ()) -> None:
        self._rows = PolicyRows(Family.IPV4, PolicySettings(), 7)
        subject = Subject(Profile(Direction.INGRESS, admin, rest, True, ()), None)
        members = {_group(role): frozenset((PEER,) if role in roles else ()) for role in "abc"}
        used = {term.peer for term in (*admin, *rest)}
        filled = {group: held for group, held in members.items() if group in used}
        self._rows.replace(PolicyChanges(subjects={POD: subject}, collections={**filled}, moves={}))
        self.history = History(self._rows)

    def take(self, joined: str = "", left: str = "") -> None:
        """Change roles, and find the way of a packet whole all the time."""
        peers = frozenset((PEER,))
        moves = {_group(role): Moves(peers, frozenset()) for role in joined}
        moves |= {_group(role): Moves(frozenset(), peers) for role in left}
        changes = PolicyChanges(subjects={}, collections={}, moves={**moves})
        self.history.carry_out(self._rows.replace(changes))
        self.history.check(a_packet(PEER, POD))

    def adopt(self) -> None:
        """Be an agent that starts beside the last state."""
        self.history.carry_out(self._rows.adopt(self.history.states[-1]))

    @property
    def passes(self) -> bool:
        """Whether it gets through now."""
        return _passes(self.history.states[-1], a_packet(PEER, POD))


@pytest.mark.parametrize("terms", ["ab", "ba"])
def test_who_goes_from_one_allowed_group_to_another_is_allowed_all_the_time(terms: str) -> None:
    peer = Peer("a", rest=tuple(map(_term, terms)))
    peer.take(joined="b", left="a")
    assert peer.passes
    peer.take(joined="a", left="b")
    assert peer.passes


@pytest.mark.parametrize("terms", ["ab", "ba"])
def test_who_goes_from_one_denied_group_to_another_is_denied_all_the_time(terms: str) -> None:
    everybody = Term(None, None, Action.ACCEPT)
    peer = Peer("a", admin=tuple(_term(role, Action.DENY) for role in terms), rest=(everybody,))
    peer.take(joined="b", left="a")
    assert not peer.passes
    peer.take(joined="a", left="b")
    assert not peer.passes


def test_who_is_denied_by_an_administrator_and_allowed_by_others_from_now_on_is_never_allowed() -> None:
    peer = Peer("", admin=(_term("a", Action.DENY),), rest=(_term("b"),))
    peer.take(joined="ab")
    assert not peer.passes
    peer.take(left="ab")
    assert not peer.passes


def test_who_only_joins_or_leaves_needs_no_stage_before() -> None:
    peer = Peer("", rest=(_term("a"), _term("b")))
    peer.take(joined="ab")
    assert len(peer.history.states) == 3
    peer.take(left="a")
    assert len(peer.history.states) == 3


def test_a_label_that_opens_one_direction_and_shuts_the_other_lets_nobody_through_in_between() -> None:
    """Nor where a pod leaves one group and joins another by it, which otherwise is done one after the other."""
    machine = NodePolicies("node-1")
    ports = PortRange(Protocol.TCP, Port(80), Port(80)), PortRange(Protocol.TCP, Port(9), Port(9))
    goes_to = [
        PolicyRule((_group(role),), (port,), Action.ACCEPT, ORIGIN) for role, port in zip("ba", ports, strict=True)
    ]
    machine.put_policy(
        Policy(origin=ORIGIN, tier=Tier.NETWORK_POLICY, subject=_group("client"), ingress=None, egress=tuple(goes_to))
    )
    shut = Origin("NetworkPolicy", "n", "shut")
    machine.put_policy(Policy(origin=shut, tier=Tier.NETWORK_POLICY, subject=_group("b"), ingress=(), egress=None))
    machine.put_pod(PolicyPod("n", "client", "node-1", (("role", "client"),), (PEER,)))
    machine.put_pod(PolicyPod("n", "server", "node-1", (("role", "a"),), (POD,)))
    rows = PolicyRows(Family.IPV4, PolicySettings(), 7)
    rows.replace(machine.round())
    history = History(rows)
    for role in ("b", "a"):
        machine.put_pod(PolicyPod("n", "server", "node-1", (("role", role),), (POD,)))
        history.carry_out(rows.replace(machine.round()))
        history.check(a_packet(PEER, POD), torn=False)
        assert not _passes(history.states[-1], a_packet(PEER, POD))


def test_a_table_that_is_made_anew_is_one_stage() -> None:
    """There is nothing in it that a packet could have met."""
    rows = PolicyRows(Family.IPV4, PolicySettings(), 7)
    assert rows.adopt(None) == one_stage(rows.build())
    other = TableContents(TableFamily.IP, TABLE, sets={"own": SetContents.of(rows.sets[-1])})
    assert not rows.adopt(other).before


def test_an_agent_that_starts_beside_other_rows_goes_there_in_stages() -> None:
    random = Random(3)
    cluster = draw_cluster(random, 0)
    for number in range(4):
        before, after = (_policies(random, cluster, f"{number}") for _ in range(2))
        history = History(before)
        history.carry_out(after.adopt(history.states[-1]))
        assert history.states[-1] == after.desired()
        assert len(history.states) == 4
        local = [each for pod in cluster.pods.values() if pod.node == "node-1" for each in pod.addresses]
        for source in addresses(cluster):
            for target in local:
                if source.family is target.family is Family.IPV4 and source not in local:
                    history.check(a_packet(source, target))


def _policies(random: Random, cluster: Cluster, name: str) -> PolicyRows:
    machine = cluster.enforced_by("node-1")
    for number in range(3):
        machine.put_policy(compile_network_policy(draw_network_policy(random, f"{name}-{number}"))[0])
    rows = PolicyRows(Family.IPV4, PolicySettings(), 7)
    rows.replace(machine.round())
    return rows


def test_an_agent_that_ended_between_two_stages_leaves_the_generation_in_doubt() -> None:
    """What was judged by the rules before must be judged again, whoever commits the last stage."""
    peer = Peer("", rest=(_term("a"),))
    peer.take(joined="a")
    for broken_off, begins_anew in ((peer.history.states[1], True), (peer.history.states[2], False)):
        marks = broken_off.sets["judged"].rows
        later = Peer("a", rest=(_term("a"),))
        later.history.states = [broken_off]
        later.adopt()
        ended = later.history.states[-1]
        assert (ended.sets["judged"].rows != marks) is begins_anew
        stamps = ended.sets["stamp"].rows
        assert stamps
        assert ended.sets["judged"].rows == dict.fromkeys(stamps.values())
