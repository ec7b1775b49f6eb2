"""Who is alive among the speakers, by the heartbeats they send each other: events and time in, a view out.

A machine without IO. A speaker that starts, or finds that it was itself held up for so long that others take it for
dead, or that its links were down, only listens for a while: it is no candidate, and says so in its heartbeats. So the
one that took over keeps an address until it hears that the other is there again, and both answer for one heartbeat at
most.
"""

from msgspec import Struct


class HeartbeatSettings(Struct, frozen=True, kw_only=True):
    """Seconds between heartbeats, and how many may be missed before a speaker is taken for dead."""

    interval: float = 0.1
    missed: int = 4

    @property
    def dead_after(self) -> float:
        """Seconds of silence after which a speaker is dead."""
        return self.interval * self.missed


class Heartbeat(Struct, frozen=True, array_like=True):
    """What one speaker tells the others: whether it takes part in elections, and its interfaces' hardware addresses."""

    node: str
    active: bool
    hardware: tuple[bytes, ...] = ()


class Membership:
    """The speakers alive, as `node` sees them."""

    def __init__(self, node: str, settings: HeartbeatSettings, now: float) -> None:
        self._node = node
        self._settings = settings
        self._heard: dict[str, float] = {}
        self._last = now
        self._active_from = now + settings.dead_after

    def step(self, heartbeat: Heartbeat | None, now: float) -> frozenset[str]:
        """Take a heartbeat in, None where only time went by, and return who takes part in elections."""
        if now - self._last > self._settings.dead_after - self._settings.interval:
            self._active_from = now + self._settings.dead_after
            self._heard.clear()  # what is in the socket now may be old; who is alive will say so again
        self._last = now
        if heartbeat is not None and heartbeat.node != self._node:
            if heartbeat.active:
                self._heard[heartbeat.node] = now
            else:
                self._heard.pop(heartbeat.node, None)
        for node, heard in list(self._heard.items()):
            if now - heard > self._settings.dead_after:
                del self._heard[node]
        return frozenset(self._heard) | frozenset((self._node,) if self.is_active(now) else ())

    def hold(self, now: float) -> None:
        """Take no part while this is called, and for as long as a speaker that starts listens, after that."""
        self._active_from = now + self._settings.dead_after

    def is_active(self, now: float) -> bool:
        """Whether this speaker takes part."""
        return now >= self._active_from

    def heartbeat(self, now: float) -> Heartbeat:
        """What to tell the others now."""
        return Heartbeat(self._node, self.is_active(now))
