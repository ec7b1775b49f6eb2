"""Do speakers agree on who answers for an address, and is it never two of them for long?"""

from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.agents.loadbalancer.heartbeat import Heartbeat, HeartbeatSettings, Membership
from fairlead.compile.announcements import elect
from fairlead.model.announcements import LinkAnnouncement
from fairlead.model.loadbalancers import ServiceKey
from fairlead.net import parse_address

NODES = ("node-1", "node-2", "node-3", "node-4")
SETTINGS = HeartbeatSettings(interval=0.1, missed=4)


def announcement(number: int = 1, *preferred: str) -> LinkAnnouncement:
    return LinkAnnouncement(
        service=ServiceKey("default", "web"),
        address=parse_address(f"192.0.2.{number}"),
        candidates=tuple((node, 10 if node in preferred else 0) for node in NODES),
    )


def test_addresses_spread_over_nodes() -> None:
    counts: dict[str, int] = dict.fromkeys(NODES, 0)
    for number in range(256):
        chosen = elect(announcement(number), frozenset(NODES))
        assert chosen is not None
        counts[chosen] += 1
    assert min(counts.values()) > 35


def test_only_the_addresses_of_a_dead_node_move() -> None:
    alive = frozenset(NODES[1:])
    for number in range(256):
        before = elect(announcement(number), frozenset(NODES))
        after = elect(announcement(number), alive)
        assert after == before if before in alive else after in alive


def test_a_preferred_node_answers_while_it_lives() -> None:
    assert all(elect(announcement(n, "node-3"), frozenset(NODES)) == "node-3" for n in range(50))
    assert elect(announcement(1, "node-3"), frozenset(("node-1", "node-4"))) in ("node-1", "node-4")


def test_nobody_alive_is_nobody_elected() -> None:
    assert elect(announcement(), frozenset()) is None


class Simulated:
    """Speakers that beat every 100 ms of simulated time, some of them stopped or cut off for a while."""

    def __init__(self) -> None:
        self.members = {node: Membership(node, SETTINGS, 0.0) for node in NODES}
        self.views: dict[str, frozenset[str]] = {node: frozenset() for node in NODES}
        self.tick = 0

    def beat(self, stopped: frozenset[str], cut: frozenset[str]) -> None:
        """One interval: the running ones beat in turn, and those not cut off are heard at once."""
        self.tick += 1
        for place, node in enumerate(NODES):
            now = (self.tick + place / len(NODES)) * SETTINGS.interval
            if node in stopped:
                continue
            self.views[node] = self.members[node].step(None, now)
            beat = self.members[node].heartbeat(now)
            if node in cut:
                continue
            for other in NODES:
                if other != node and other not in stopped | cut:
                    self.views[other] = self.members[other].step(beat, now)

    def announcers(self, without: frozenset[str]) -> set[str]:
        return {node for node in NODES if node not in without and elect(announcement(), self.views[node]) == node}


TROUBLE = st.lists(
    st.tuples(st.frozensets(st.sampled_from(NODES)), st.frozensets(st.sampled_from(NODES)), st.integers(1, 12)),
    max_size=6,
)


@given(TROUBLE)
@settings(max_examples=150, deadline=None)
def test_after_any_trouble_exactly_one_answers(trouble: list[tuple[frozenset[str], frozenset[str], int]]) -> None:
    world = Simulated()
    for stopped, cut, ticks in trouble:
        for _ in range(ticks):
            world.beat(stopped, cut)
    for _ in range(12):
        world.beat(frozenset(), frozenset())
    assert len(world.announcers(frozenset())) == 1
    assert set(world.views.values()) == {frozenset(NODES)}


@given(st.sampled_from(NODES), st.integers(5, 30))
@settings(max_examples=100, deadline=None)
def test_one_that_was_held_up_yields_at_once_and_one_takes_over_in_time(held: str, ticks: int) -> None:
    world = Simulated()
    for _ in range(12):
        world.beat(frozenset(), frozenset())
    for number in range(ticks):
        world.beat(frozenset((held,)), frozenset())
        if number > SETTINGS.missed:
            assert len(world.announcers(frozenset((held,)))) == 1
    both = 0
    for _ in range(20):
        world.beat(frozenset(), frozenset())
        both += len(world.announcers(frozenset())) > 1
    assert both <= 1
    assert len(world.announcers(frozenset())) == 1


def test_a_speaker_that_starts_listens_first() -> None:
    member = Membership("node-1", SETTINGS, 0.0)
    assert member.step(None, 0.1) == frozenset()
    assert not member.heartbeat(0.1).active
    member.step(None, 0.2)
    member.step(None, 0.3)
    member.step(None, 0.39)
    assert member.step(None, 0.41) == frozenset(("node-1",))


def test_one_that_was_cut_off_listens_first() -> None:
    member = Membership("node-1", SETTINGS, 0.0)
    for tick in range(1, 11):
        member.step(None, tick / 10)
        member.hold(tick / 10)
    assert member.step(None, 1.1) == frozenset()
    assert not member.heartbeat(1.1).active
    views = [member.step(None, 1.1 + tick / 10) for tick in range(1, 5)]
    assert views[-1] == frozenset(("node-1",))


def test_one_that_resigns_is_gone_at_once() -> None:
    member = Membership("node-1", SETTINGS, 0.0)
    assert "node-2" in member.step(Heartbeat("node-2", active=True), 0.1)
    assert "node-2" not in member.step(Heartbeat("node-2", active=False), 0.15)
