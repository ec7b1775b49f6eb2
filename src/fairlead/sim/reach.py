"""Who can talk to whom on what, for all pairs at once.

Comes in: parties and a view of the policies. Goes out: for each source and each piece of ports, the set of parties it
reaches, as the bits of a number. The same rules as `policies.judge_flow`, which judges one connection; the tests hold
one to the other. Source: networking/v1 types.go, network-policy-api v0.2.0.
"""

from collections.abc import Iterable, Iterator, Sequence

from fairlead.model.policies import (
    Action,
    AddressBlock,
    Anyone,
    Direction,
    NamedPort,
    Peer,
    PodGroup,
    Policy,
    PolicyRule,
    Tier,
)
from fairlead.sim.policy_matching import PolicyView
from fairlead.sim.reach_parties import Party
from fairlead.sim.reach_ports import PortPieces

Sets = list[int]
"""For each piece of ports a set of parties."""


class Reach:
    """The answer for all pairs of `parties`; party `i` is bit `i` of a set."""

    def __init__(self, parties: Sequence[Party], view: PolicyView, ports: PortPieces) -> None:
        self.parties = parties
        self.ports = ports
        self._out, self._in = _Judge(parties, view, ports).judge()

    def connections(self, source: int, destination: int) -> int:
        """The pieces of ports on which one party reaches another."""
        found = 0
        for piece, reached in enumerate(self._reached(source)):
            if reached >> destination & 1:
                found |= 1 << piece
        return found

    def from_party(self, source: int) -> Iterator[tuple[int, int]]:
        """Yield what one party reaches: pieces of ports, and the set of the parties it reaches on exactly those."""
        parts = {(1 << len(self.parties)) - 1: 0}
        for piece, reached in enumerate(self._reached(source)):
            refined: dict[int, int] = {}
            for members, chosen in parts.items():
                for part, more in ((members & reached, 1 << piece), (members & ~reached, 0)):
                    if part:
                        refined[part] = chosen | more
            parts = refined
        yield from ((chosen, members) for members, chosen in parts.items() if chosen)

    def lines(self) -> Iterator[tuple[Party, Party, str]]:
        """Yield every pair that can talk, and on what. Nothing is said of outside with outside, nor of a lone pod with
        itself.
        """
        for number, source in enumerate(self.parties):
            for chosen, members in self.from_party(number):
                words = self.ports.tell(chosen)
                for index in bits(members):
                    destination = self.parties[index]
                    if source.pod is None and destination.pod is None:
                        continue
                    if index == number and source.pods < 2:
                        continue
                    yield source, destination, words

    def _reached(self, source: int) -> Iterator[int]:
        out, into = self._out[source], self._in[source]
        return (mine & theirs for mine, theirs in zip(out, into, strict=True))


def bits(members: int) -> Iterator[int]:
    """The numbers of the bits that are set."""
    while members:
        low = members & -members
        yield low.bit_length() - 1
        members ^= low


class _Judge:
    """Applies policies to sets of parties."""

    def __init__(self, parties: Sequence[Party], view: PolicyView, ports: PortPieces) -> None:
        self._parties = parties
        self._view = view
        self._ports = ports
        self._everybody = (1 << len(parties)) - 1
        self._members: dict[Peer, int] = {}
        self._by_block: dict[AddressBlock, int] = {}
        self._pods = 0
        for number, party in enumerate(parties):
            if party.pod is not None:
                self._pods |= 1 << number
            for block in party.blocks:
                self._by_block[block] = self._by_block.get(block, 0) | 1 << number
        self._named: dict[NamedPort, Sets] = {}

    def judge(self) -> tuple[list[Sets], list[Sets]]:
        """Return for each source what its own policies let it reach, and who lets it in."""
        count, pieces = len(self._parties), len(self._ports.pieces)
        out: list[Sets] = [[self._everybody] * pieces] * count
        judged: dict[object, Sets] = {}
        doors: dict[tuple[int, ...], int] = {}
        open_to_all = self._everybody & ~self._pods
        for number, party in enumerate(self._parties):
            if party.pod is None:
                continue
            policies = self._judging(party)
            out[number] = self._cached(judged, policies, Direction.EGRESS, party)
            admitted = tuple(self._cached(judged, policies, Direction.INGRESS, party))
            if all(each == self._everybody for each in admitted):
                open_to_all |= 1 << number
            else:
                doors[admitted] = doors.get(admitted, 0) | 1 << number
        return out, self._transpose(doors, open_to_all)

    def _transpose(self, doors: dict[tuple[int, ...], int], open_to_all: int) -> list[Sets]:
        """Turn "who is admitted by these" into "who admits this one": few or nearly all are admitted, as a rule."""
        count, pieces = len(self._parties), len(self._ports.pieces)
        usual: Sets = [open_to_all] * pieces
        more: list[dict[int, int]] = [{} for _ in range(count)]
        less: list[dict[int, int]] = [{} for _ in range(count)]
        for admitted, behind in doors.items():
            for piece, sources in enumerate(admitted):
                if 2 * sources.bit_count() > count:
                    usual[piece] |= behind
                    exceptions, change = self._everybody & ~sources, less
                else:
                    exceptions, change = sources, more
                for source in bits(exceptions):
                    change[source][piece] = change[source].get(piece, 0) | behind
        return [
            [
                (usual[piece] & ~less[source].get(piece, 0)) | more[source].get(piece, 0)
                for piece in range(pieces)
            ]
            if more[source] or less[source]
            else usual
            for source in range(count)
        ]  # fmt: skip

    def _judging(self, party: Party) -> tuple[Policy, ...]:
        assert party.pod is not None
        found = self._view.selecting(party.pod)
        return tuple(sorted(found, key=lambda policy: (policy.tier, policy.priority, policy.origin)))

    def _cached(
        self, known: dict[object, Sets], policies: tuple[Policy, ...], direction: Direction, party: Party
    ) -> Sets:
        judging = tuple(policy for policy in policies if policy.rules(direction) is not None)
        assert party.pod is not None
        ports = party.pod.ports if direction is Direction.INGRESS else ()
        key = direction, tuple(policy.origin for policy in judging), ports
        found = known.get(key)
        if found is None:
            found = known[key] = self._apply(judging, direction, party)
        return found

    def _apply(self, policies: Iterable[Policy], direction: Direction, party: Party) -> Sets:
        """Ask tier by tier; what no rule decided is allowed, or denied where a NetworkPolicy isolates."""
        tiers: dict[Tier, list[PolicyRule]] = {}
        for policy in policies:
            tiers.setdefault(policy.tier, []).extend(policy.rules(direction) or ())
        pieces = len(self._ports.pieces)
        allowed, open_ = [0] * pieces, [self._everybody] * pieces
        self._ask(tiers.get(Tier.ADMIN, ()), direction, party, allowed, open_, passing=False)
        if Tier.NETWORK_POLICY in tiers:
            self._ask(tiers[Tier.NETWORK_POLICY], direction, party, allowed, open_, passing=False)
            return allowed
        self._ask(tiers.get(Tier.BASELINE, ()), direction, party, allowed, open_, passing=True)
        return [mine | rest for mine, rest in zip(allowed, open_, strict=True)]

    def _ask(
        self,
        rules: Iterable[PolicyRule],
        direction: Direction,
        party: Party,
        allowed: Sets,
        open_: Sets,
        *,
        passing: bool,
    ) -> None:
        """Let the rules of one tier decide, in order; `passing` means that Pass allows, since no tier follows."""
        asked = list(open_)
        for rule in rules:
            peers = self._peers(rule)
            if not peers:
                continue
            for piece, among in self._pieces(rule, direction, party):
                matched = asked[piece] & peers & among
                asked[piece] &= ~matched
                if rule.action is Action.ACCEPT or (rule.action is Action.PASS and passing):
                    allowed[piece] |= matched
                if rule.action is not Action.PASS or passing:
                    open_[piece] &= ~matched

    def _peers(self, rule: PolicyRule) -> int:
        if rule.peers is None:
            return self._everybody
        found = 0
        for peer in rule.peers:
            known = self._members.get(peer)
            if known is None:
                known = self._members[peer] = self._find(peer)
            found |= known
        return found

    def _find(self, peer: Peer) -> int:
        match peer:
            case PodGroup():
                found = 0
                for number, party in enumerate(self._parties):
                    if party.pod is not None and self._view.holds(peer, party.pod):
                        found |= 1 << number
                return found
            case AddressBlock():
                return self._by_block.get(peer, 0)
            case Anyone():
                return self._everybody if peer is Anyone.EVERYBODY else 0

    def _pieces(self, rule: PolicyRule, direction: Direction, party: Party) -> Iterator[tuple[int, int]]:
        """Yield the pieces a rule is about, each with the destinations for which it is."""
        chosen, named = 0, list[NamedPort]()
        if rule.ports is None:
            chosen = self._ports.all
        for match in rule.ports or ():
            if not isinstance(match, NamedPort):
                chosen |= self._ports.of_range(match)
            elif direction is Direction.INGRESS:
                assert party.pod is not None
                chosen |= self._ports.of_named(match, party.pod.ports)
            else:
                named.append(match)
        for piece in bits(chosen):
            yield piece, self._everybody
        for match in named:
            for piece, destinations in enumerate(self._destinations(match)):
                if destinations:
                    yield piece, destinations

    def _destinations(self, name: NamedPort) -> Sets:
        """For each piece, the pods that mean it by a name."""
        known = self._named.get(name)
        if known is None:
            known = self._named[name] = [0] * len(self._ports.pieces)
            for number, party in enumerate(self._parties):
                for piece in bits(self._ports.of_named(name, party.pod.ports)) if party.pod is not None else ():
                    known[piece] |= 1 << number
        return known
