"""What the owner of a pod is told of its denied packets: an Event now and then, with the reason and the policies.

Comes in: denied packets, whose pod a profile judged, and which policies it is made of. Goes out: notices, so few that
they leave room for others: one for a pod and direction every ten seconds, and for all pods of the node one every ten
seconds after the first ten.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct

from fairlead.agents.events import Notice
from fairlead.compile.policy_groups import Key
from fairlead.model import Origin
from fairlead.net import Address, Protocol

REASON = "DeniedByPolicy"
_QUIET_SECONDS, _AT_ONCE, _REFILL_SECONDS, _REMEMBERED = 10.0, 10.0, 10.0, 4096
_NAMES = {**{int(each): each.name for each in Protocol}, 1: "ICMP", 58: "ICMPv6"}


class Ends(Struct, frozen=True):
    """Between whom a packet was under way; `port` is the destination's, None for a protocol without."""

    protocol: int
    source: Address
    destination: Address
    port: int | None


class Judged(Struct, frozen=True):
    """Of which address a profile judged a packet, and the pods that have that address."""

    address: Address
    pods: Sequence[Key]


class DenialNotices:
    """Tells owners of pods. `pods_at` names the pods at an address, `clock` tells seconds."""

    def __init__(
        self, pods_at: Callable[[Address], Sequence[Key]], tell: Callable[[Notice], None], clock: Callable[[], float]
    ) -> None:
        self._pods_at = pods_at
        self._tell = tell
        self._clock = clock
        self._quiet_until: dict[tuple[Key, str], float] = {}
        self._tokens, self._filled = _AT_ONCE, clock()

    def note(self, direction: str, policies: Sequence[Origin], judged: Judged, ends: Ends) -> None:
        """Tell of a denied packet, unless there was one to tell of not long ago."""
        now = self._clock()
        self._tokens = min(_AT_ONCE, self._tokens + (now - self._filled) / _REFILL_SECONDS)
        self._filled = now
        for pod in judged.pods:
            if self._tokens < 1 or now < self._quiet_until.get((pod, direction), 0.0):
                continue
            if len(self._quiet_until) >= _REMEMBERED:
                self._quiet_until = {key: until for key, until in self._quiet_until.items() if now < until}
            self._quiet_until[pod, direction] = now + _QUIET_SECONDS
            self._tokens -= 1
            namespace, name = pod
            message = self._message(direction, policies, judged.address, ends)
            self._tell(Notice(Origin("Pod", namespace, name, ""), REASON, message))

    def _message(self, direction: str, policies: Sequence[Origin], own: Address, ends: Ends) -> str:
        outward = own == ends.source
        peer = ends.destination if outward else ends.source
        known = ", ".join(f"{namespace}/{name}" for namespace, name in self._pods_at(peer))
        protocol = _NAMES.get(ends.protocol, f"protocol {ends.protocol}")
        port = "" if ends.port is None else f" port {ends.port}"
        other = f"{peer} ({known})" if known else str(peer)
        way = f"to {other}{port}" if outward else f"from {other} to{port or ' this pod'}"
        by = ", ".join(map(str, policies))
        return f"{direction} denied: {protocol} {way}, by {by}; `fairlead trace` names the rule that came nearest"
