"""Is the right thing said of a router, once?"""

from fairlead.agents.loadbalancer.peering import PATIENCE_SECONDS, Peering
from fairlead.drivers.sessions import Session
from fairlead.model.announcements import Peer
from fairlead.net import parse_address

ROUTER = parse_address("172.18.0.1")
PEER = Peer(
    name="fabric",
    address=ROUTER,
    port=179,
    local_as=64512,
    peer_as=64513,
    source=None,
    router_id=None,
    hold_seconds=None,
    password="",
    multi_hop=False,
    graceful_restart=False,
    both_families=True,
)


def told(peering: Peering, ports: list[int], began: float = 0.0, far_port: int = 179) -> list[str]:
    """What is said while there is a session from each port for two seconds, and none for 0."""
    found: list[str] = []
    for number, port in enumerate(ports):
        sessions = frozenset((Session(ROUTER, far_port, port),)) if port else frozenset[Session]()
        for half in range(4):
            news = peering.step([PEER], sessions, began + 2 * number + half / 2)
            found += [each.reason for each in news]
    return found


def test_a_session_that_lasts_is_worth_no_word() -> None:
    assert told(Peering("node-1"), [40000] * 20) == []


def test_a_router_that_refuses_is_told_of_once_and_again_when_it_no_longer_does() -> None:
    peering = Peering("node-1")
    waited = int(PATIENCE_SECONDS)
    assert told(peering, [0] * 20) == ["BGPPeerDown"]
    assert told(peering, [40000] * waited, 40) == ["BGPPeerUp"]


def test_a_connection_to_another_port_is_no_session() -> None:
    assert told(Peering("node-1"), [40000] * 20, far_port=6443) == ["BGPPeerDown"]


def test_connections_that_are_ended_at_once_are_no_session() -> None:
    peering, said = Peering("node-1"), list[str]()
    for number in range(30):
        sessions = frozenset((Session(ROUTER, 179, 40000 + number),))
        said += [each.reason for each in peering.step([PEER], sessions, number * 0.9)]
    assert said == ["BGPPeerDown"]


def test_a_session_that_is_lost_three_times_within_a_minute_flaps() -> None:
    assert told(Peering("node-1"), [40000, 0, 40001, 0, 40002, 0, 40003, 40003]) == ["BGPPeerFlapping"]


def test_sessions_lost_seldom_do_not_flap() -> None:
    peering = Peering("node-1")
    for number in range(5):
        assert told(peering, [40000 + number] * 14 + [0], number * 31.0) == []
