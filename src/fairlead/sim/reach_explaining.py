"""Why pairs can talk or cannot: the policies that decide, by the judge of single connections.

Comes in: a compiled question and its answer. Goes out: lines of text, one block for each pair.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from fairlead.net import Address, Family
from fairlead.sim.policies import FlowVerdict, SideVerdict, judge_flow
from fairlead.sim.policy_matching import Dialled, End
from fairlead.sim.reach import Reach
from fairlead.sim.reach_objects import Question
from fairlead.sim.reach_parties import Party
from fairlead.sim.reach_ports import PortPieces

_NOWHERE = Address(bytes(Family.IPV4.size))
_ICMP = 1


def explain_pairs(question: Question, answer: Reach, source: str, target: str) -> Iterator[str]:
    """Yield, for each pair that the texts mean, what they may talk on and which policies say so."""
    for number, src in enumerate(answer.parties):
        for index, dst in enumerate(answer.parties):
            if not question.means(source, src) or not question.means(target, dst):
                continue
            if (src.pod is None and dst.pod is None) or (number == index and src.pods < 2):
                continue
            asked = question.asked(answer.ports, src, dst)
            if asked:
                chosen = answer.connections(number, index) & asked
                yield f"{src.name} => {dst.name}: {answer.ports.tell(chosen)}"
                yield from _why(question, answer.ports, src, dst, chosen, asked)


def _why(question: Question, ports: PortPieces, src: Party, dst: Party, chosen: int, asked: int) -> Iterator[str]:
    """Judge one connection of each kind that differs in its reasons."""
    told: dict[str, int] = {}
    for number, piece in enumerate(ports.pieces):
        if not asked >> number & 1:
            continue
        dialled = Dialled(_ICMP) if piece.protocol is None else Dialled(int(piece.protocol), piece.first)
        verdict = judge_flow(question.index, _end(src), _other_end(src, dst), dialled)
        assert verdict.allowed == bool(chosen >> number & 1), f"{src.name} {dst.name} {dialled}: two answers"
        words = "; ".join(_reasons(verdict))
        told[words] = told.get(words, 0) | 1 << number
    for words, pieces in told.items():
        yield f"    {ports.tell(pieces)}: {words}"


def _end(party: Party) -> End:
    if party.pod is not None:
        return End(party.pod.addresses[0] if party.pod.addresses else _NOWHERE, party.pod)
    return End(party.sample)


def _other_end(src: Party, dst: Party) -> End:
    """The destination; of one and the same party another pod, since a pod always reaches itself."""
    end = _end(dst)
    return replace(end, pod=replace(end.pod, name=f"{end.pod.name} (another)")) if src is dst and end.pod else end


def _reasons(verdict: FlowVerdict) -> Iterator[str]:
    if verdict.exempt:
        yield verdict.exempt
    for side in (verdict.egress, verdict.ingress):
        if side is not None:
            yield _reason(side)


def _reason(side: SideVerdict) -> str:
    name = side.direction.value
    if side.rule is not None:
        return f"{name} {'allowed' if side.allowed else 'denied'} by {side.rule.origin}"
    if side.isolating:
        policies = ", ".join(f"{origin.namespace}/{origin.name}" for origin in side.isolating)
        return f"{name} denied: isolated by {policies}, and no rule allows it"
    return f"{name} allowed: no policy judges it"
