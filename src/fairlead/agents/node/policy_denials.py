"""What is told of packets that policies denied: counts by policy and direction, now and then a line, and notices.

Comes in: logged packets, and whom a profile is made of. Goes out: counts, one log line a second for each profile at
most, which says how many more there were, and for owners of pods what `denials` makes of it. The kernel hands on no
more than a hundred a second for each profile.
"""

import struct
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from fairlead.agents.lines import log
from fairlead.agents.node.denials import DenialNotices, Ends, Judged
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.netlink.nflog import Logged, LogSocket
from fairlead.model import Origin
from fairlead.net import Address, Protocol
from fairlead.render.policy_chains import PolicySettings

_QUIET_SECONDS = 1.0
_WITH_PORTS = {int(each): each.name.lower() for each in Protocol}


class PolicyDenials:
    """Counts and tells. `policies_of` names the policies behind a log prefix, `judged` which end of a packet a profile
    judged; `counts` is by policy and direction.
    """

    def __init__(
        self,
        policies_of: Callable[[str], tuple[Origin, ...]],
        judged: Callable[[str, Ends], Judged | None],
        notices: DenialNotices,
        clock: Callable[[], float],
        counts: dict[tuple[str, str], int],
    ) -> None:
        self.counts = counts
        self._policies_of = policies_of
        self._judged = judged
        self._notices = notices
        self._clock = clock
        self._quiet_until: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def take(self, packets: Iterable[Logged]) -> None:
        """Note denied packets."""
        for logged in packets:
            direction, _, _ = logged.prefix.partition("-")
            policies = self._policies_of(logged.prefix)
            for origin in policies:
                key = str(origin), direction
                self.counts[key] = self.counts.get(key, 0) + 1
            ends = read_ends(logged.packet)
            judged = self._judged(logged.prefix, ends) if ends is not None else None
            if ends is not None and judged is not None:
                self._notices.note(direction, policies, judged, ends)
            now = self._clock()
            if now < self._quiet_until.get(logged.prefix, 0.0):
                self._untold[logged.prefix] = self._untold.get(logged.prefix, 0) + 1
                continue
            self._quiet_until[logged.prefix] = now + _QUIET_SECONDS
            more = self._untold.pop(logged.prefix, 0)
            names = ",".join(map(str, policies)) or "unknown"
            log(event="denied", direction=direction, policies=names, packet=spell_ends(ends), more=more)


def open_log(settings: PolicySettings) -> tuple[LogSocket | None, PolicySettings]:
    """Listen to the log of denied packets where there is to be one, and return the settings.

    Where the kernel has no such log, or another program holds the group, policies are enforced without it.
    """
    if settings.log_group is None:
        return None, settings
    try:
        return LogSocket(settings.log_group), settings
    except FairleadError as error:
        log(event="deaf", error=str(error))
        return None, replace(settings, log_group=None)


def read_ends(packet: bytes) -> Ends | None:
    """The ends of a packet, as far as its first bytes tell them; None where they do not."""
    four = bool(packet) and packet[0] >> 4 == 4
    start = (packet[0] & 15) * 4 if four else 40
    if len(packet) < start or not packet:
        return None
    protocol = packet[9] if four else packet[6]
    ends = packet[12:20] if four else packet[8:40]
    port: int | None = None
    if protocol in _WITH_PORTS and len(packet) >= start + 4:
        (port,) = struct.unpack_from(">H", packet, start + 2)
    return Ends(protocol, Address(ends[: len(ends) // 2]), Address(ends[len(ends) // 2 :]), port)


def spell_ends(ends: Ends | None) -> str:
    """A packet's ends as people write them: `tcp 10.0.0.1 -> 10.0.0.2:80`."""
    if ends is None:
        return "unreadable"
    if ends.port is None:
        return f"protocol {ends.protocol} {ends.source} -> {ends.destination}"
    target = f"[{ends.destination}]" if len(ends.destination.packed) > 4 else str(ends.destination)
    return f"{_WITH_PORTS[ends.protocol]} {ends.source} -> {target}:{ends.port}"
