"""Which routers there is a session with, and what to say of it: sessions and time in, news out. A machine without IO.

A session counts once it has lasted a second: a router with another AS number takes the connection, and ends it at once.
"""

from collections.abc import Iterable

from msgspec import Struct

from fairlead.drivers.sessions import Session
from fairlead.model.announcements import Peer

PATIENCE_SECONDS = 8.0
"""How long there may be no session before something is said."""
_STEADY_SECONDS = 1.0
_LOSSES, _LOSSES_WITHIN = 3, 60.0


class News(Struct, frozen=True):
    """Something to tell about a peer."""

    peer: str
    reason: str
    message: str
    warning: bool = True


class _State:
    def __init__(self, now: float) -> None:
        self.first_seen: dict[Session, float] = {}
        self.steady: frozenset[Session] = frozenset()
        self.without_since = now
        self.missed = False
        self.flapping = False
        self.lost: list[float] = []


class Peering:
    """The sessions of `node`."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._states: dict[str, _State] = {}

    def step(self, peers: Iterable[Peer], sessions: frozenset[Session], now: float) -> list[News]:
        """Take in what sessions there are, and return what is new about each of the peers."""
        peers = tuple(peers)
        names = {peer.name for peer in peers}
        self._states = {name: state for name, state in self._states.items() if name in names}
        return [news for peer in peers for news in self._step(peer, sessions, now)]

    def _step(self, peer: Peer, sessions: frozenset[Session], now: float) -> Iterable[News]:
        state = self._states.setdefault(peer.name, _State(now))
        mine = {each for each in sessions if each.far == peer.address and each.far_port == peer.port}
        state.first_seen = {each: state.first_seen.get(each, now) for each in mine}
        steady = frozenset(each for each, first in state.first_seen.items() if now - first >= _STEADY_SECONDS)
        if state.steady and not state.steady & mine:
            state.lost.append(now)
        state.lost = [when for when in state.lost if now - when < _LOSSES_WITHIN]
        state.steady = steady
        if steady:
            state.without_since = now
            if state.missed:
                state.missed = False
                yield News(
                    peer.name, "BGPPeerUp", f"{self._node} has a session with {peer.address} again", warning=False
                )
        elif now - state.without_since > PATIENCE_SECONDS and not state.missed:
            state.missed = True
            yield News(
                peer.name,
                "BGPPeerDown",
                f"{self._node} has no session with {peer.address}, port {peer.port}: compare password, addresses "
                f"and AS numbers ({peer.local_as} here, {peer.peer_as} there) with the router's, and see its log",
            )
        if len(state.lost) >= _LOSSES and not state.flapping:
            message = f"{self._node} has lost its session with {peer.address} {_LOSSES} times within a minute"
            yield News(peer.name, "BGPPeerFlapping", message + ": see the router's log, and the link to it")
        state.flapping = len(state.lost) >= _LOSSES
