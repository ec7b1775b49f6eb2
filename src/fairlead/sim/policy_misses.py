"""Why no rule allowed a connection: the rule that came nearest, and the field of it that did not match.

Comes in: the isolating policies and both ends of a denied connection. Goes out: one miss. Refuses to decide: by now the
connection is denied.
"""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from fairlead.compile.policy_groups import passes
from fairlead.model.origins import Origin
from fairlead.model.policies import (
    AddressBlock,
    Anyone,
    Direction,
    LabelTest,
    NamedPort,
    Operator,
    Peer,
    PodGroup,
    Policy,
    PolicyPod,
    PolicyRule,
    PortMatch,
)
from fairlead.net import Address
from fairlead.sim.policy_matching import Dialled, End, PolicyView, port_matches


class Miss(Struct, frozen=True):
    """A field that did not match: what it asks for, and what the connection has instead."""

    origin: Origin
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.origin} asks for {self.wanted}; this is {self.found}"


def find_nearest_miss(
    view: PolicyView,
    policies: Sequence[Policy],
    direction: Direction,
    other: End,
    dialled: Dialled,
    target: PolicyPod | None,
) -> Miss | None:
    """Return the miss of the rule that had most going for it, None where no policy has a rule.

    A matching port counts most, then a matching namespace, then each matching label.
    """
    best: tuple[float, Miss] | None = None
    for policy in policies:
        for rule in policy.rules(direction) or ():
            for score, miss in _misses(view, rule, direction, other, dialled, target):
                if best is None or score > best[0]:
                    best = score, miss
    return best[1] if best else None


def _misses(
    view: PolicyView,
    rule: PolicyRule,
    direction: Direction,
    other: End,
    dialled: Dialled,
    target: PolicyPod | None,
) -> Iterator[tuple[float, Miss]]:
    ports_fit = rule.ports is None or any(port_matches(each, dialled, target) for each in rule.ports)
    list_name = "from" if direction is Direction.INGRESS else "to"
    peers: list[tuple[float, Miss | None]] = [(2.0, None)] if rule.peers is None else []
    for index, peer in enumerate(rule.peers or ()):
        at = _inside(rule.origin, f"{list_name}[{index}]")
        peers.append(_judge_peer(view, peer, at, other))
    for fit, miss in peers:
        if miss is not None:
            yield fit + (4.0 if ports_fit else 0.0), miss
        elif not ports_fit:
            wanted = " or ".join(_spell_wanted(each, target) for each in rule.ports or ()) or "no port at all"
            found = str(dialled)
            yield 3.0 + fit, Miss(_inside(rule.origin, "ports"), wanted, found)


def _judge_peer(view: PolicyView, peer: Peer, at: Origin, other: End) -> tuple[float, Miss | None]:
    match peer:
        case Anyone.EVERYBODY:
            return 2.0, None
        case Anyone.NOBODY:
            return 0.0, Miss(at, "a peer that is not supported and so matches nothing", str(other.address))
        case AddressBlock():
            return _judge_block(peer, at, other.address)
        case PodGroup():
            return _judge_group(view, peer, at, other.address, other.pod)


def _judge_block(peer: AddressBlock, at: Origin, address: Address) -> tuple[float, Miss | None]:
    if address not in peer.prefix:
        return 0.0, Miss(_inside(at, "ipBlock.cidr"), str(peer.prefix), str(address))
    for index, exception in enumerate(peer.exceptions):
        if address in exception:
            wanted = f"an address outside {exception}"
            return 1.5, Miss(_inside(at, f"ipBlock.except[{index}]"), wanted, str(address))
    return 2.0, None


def _judge_group(
    view: PolicyView, peer: PodGroup, at: Origin, address: Address, other: PolicyPod | None
) -> tuple[float, Miss | None]:
    if other is None:
        return 0.0, Miss(at, "a pod", f"{address}, which is no pod's")
    if peer.namespace is not None and peer.namespace != other.namespace:
        return 0.0, Miss(at, f"a pod of namespace {peer.namespace}", f"namespace {other.namespace}")
    if peer.namespace is None:
        labels = view.namespace_labels(other.namespace)
        failed = _failed(peer.namespaces, labels)
        if failed is not None:
            found = f"namespace {other.namespace} with {_spell_label(labels, failed.key)}"
            return 0.5, Miss(_inside(at, "namespaceSelector"), spell_test(failed), found)
    labels = dict(other.labels)
    failed = _failed(peer.pods, labels)
    if failed is None:
        return 2.0, None
    passed = sum(passes((test,), labels) for test in peer.pods) / len(peer.pods)
    found = f"pod {other.namespace}/{other.name} with {_spell_label(labels, failed.key)}"
    return 1.0 + passed / 2, Miss(_inside(at, "podSelector"), spell_test(failed), found)


def spell_test(test: LabelTest) -> str:
    """A test as people write it: `app=web`, `tier in (a, b)`, `!legacy`."""
    values = ", ".join(test.values)
    match test.operator:
        case Operator.IN:
            return f"{test.key}={values}" if len(test.values) == 1 else f"{test.key} in ({values})"
        case Operator.NOT_IN:
            return f"{test.key}!={values}" if len(test.values) == 1 else f"{test.key} not in ({values})"
        case Operator.EXISTS:
            return test.key
        case Operator.DOES_NOT_EXIST:
            return f"!{test.key}"


def spell_port(match: PortMatch) -> str:
    """A port as people write it: `TCP 80`, `UDP 1000-2000`, `TCP` for all of them, `TCP http`."""
    if isinstance(match, NamedPort):
        return f"{match.protocol.name} {match.name}" if match.protocol else match.name
    name = match.protocol.name
    if match.first <= 1 and match.last == 65535:
        return name
    return f"{name} {match.first}" if match.first == match.last else f"{name} {match.first}-{match.last}"


def _spell_wanted(match: PortMatch, target: PolicyPod | None) -> str:
    """A port as the rule has it; a name with what the destination calls so."""
    if not isinstance(match, NamedPort):
        return spell_port(match)
    if target is None:
        return f"{spell_port(match)} (a name: only pods have ports by name)"
    own = (each for each in target.ports if each.name == match.name and match.protocol in (None, each.protocol))
    meant = [str(each.port) for each in own]
    pod = f"pod {target.namespace}/{target.name}"
    return f"{spell_port(match)} ({', '.join(meant)} at {pod})" if meant else f"{spell_port(match)} (not at {pod})"


def _failed(tests: Sequence[LabelTest], labels: Mapping[str, str]) -> LabelTest | None:
    return next((test for test in tests if not passes((test,), labels)), None)


def _spell_label(labels: Mapping[str, str], key: str) -> str:
    return f"{key}={labels[key]}" if key in labels else f"no label {key}"


def _inside(origin: Origin, field: str) -> Origin:
    path = f"{origin.field}.{field}" if origin.field else field
    return Origin(origin.kind, origin.namespace, origin.name, path)
