"""Destination ports cut into pieces that no policy tells apart, and sets of pieces as the bits of a number.

Comes in: the ports that rules ask about, and those that pods name. Goes out: pieces, and the words for sets of them.
Refuses to know who dials.
"""

from collections.abc import Iterable

from msgspec import Struct

from fairlead.model.policies import NamedPort, PodPort, PortMatch, PortRange
from fairlead.net import Protocol

LAST_PORT = 65535
EVERYTHING = "All Connections"
NOTHING = "No Connections"


class Piece(Struct, frozen=True):
    """Ports of one protocol that every rule treats alike; without a protocol, everything but TCP, UDP and SCTP."""

    protocol: Protocol | None
    first: int = 0
    last: int = 0


class PortPieces:
    """All pieces; bit `i` of a set stands for `pieces[i]`."""

    def __init__(self, asked: Iterable[PortMatch], named: Iterable[PodPort]) -> None:
        starts = {protocol: {1} for protocol in Protocol}
        for match in asked:
            if isinstance(match, PortRange):
                starts[match.protocol] |= {max(match.first, 1), match.last + 1}
        for port in named:
            starts[port.protocol] |= {port.port, port.port + 1}
        pieces = [Piece(None)]
        for protocol, firsts in starts.items():
            cuts = sorted(first for first in firsts if first <= LAST_PORT)
            pieces += (
                Piece(protocol, first, last - 1) for first, last in zip(cuts, [*cuts[1:], LAST_PORT + 1], strict=True)
            )
        self.pieces = tuple(pieces)
        self.all = (1 << len(pieces)) - 1
        self._masks: dict[PortMatch | PodPort, int] = {}

    def of_range(self, asked: PortRange) -> int:
        """The pieces a range is made of."""
        return self._mask(asked, asked.protocol, asked.first, asked.last)

    def of_named(self, name: NamedPort, ports: Iterable[PodPort]) -> int:
        """The pieces a pod means by a name."""
        found = 0
        for port in ports:
            if port.name == name.name and name.protocol in (None, port.protocol):
                found |= self._mask(port, port.protocol, port.port, port.port)
        return found

    def _mask(self, key: PortMatch | PodPort, protocol: Protocol, first: int, last: int) -> int:
        known = self._masks.get(key)
        if known is None:
            known = 0
            for index, piece in enumerate(self.pieces):
                if piece.protocol is protocol and first <= piece.last and piece.first <= last:
                    known |= 1 << index
            self._masks[key] = known
        return known

    def tell(self, chosen: int) -> str:
        """A set in words: `TCP 80,443,UDP 53` with protocols in the order of their names, ranges written a-b."""
        if chosen == self.all:
            return EVERYTHING
        if not chosen:
            return NOTHING
        spans: dict[str, list[list[int]]] = {}
        for index, piece in enumerate(self.pieces):
            if not chosen >> index & 1:
                continue
            name = piece.protocol.name if piece.protocol is not None else "other"
            runs = spans.setdefault(name, [])
            if runs and runs[-1][1] == piece.first - 1:
                runs[-1][1] = piece.last
            else:
                runs.append([piece.first, piece.last])
        return ",".join(_spell(name, spans[name]) for name in sorted(spans))


def _spell(protocol: str, runs: list[list[int]]) -> str:
    if protocol == "other":
        return "other protocols"
    if runs == [[1, LAST_PORT]]:
        return protocol
    return f"{protocol} " + ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
