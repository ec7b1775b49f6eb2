"""What happens to a connection, place by place, from where it is made to where it ends.

Comes in: a world, a source, a target, a protocol. Goes out: a Trace: every end it may come to, each with its hops. What
a node does is decided by its rendered rules, and held against the model: an AssertionError where the two disagree.
"""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from fairlead.model import Affinity, Backend, Frontend, FrontendKey, Origin, Refusal
from fairlead.net import Address, Family, Port, Protocol
from fairlead.nft.evaluate import Ending, Entry, Packet, Passage, Surroundings
from fairlead.sim.announced import find_announcers
from fairlead.sim.answers import Disposition, End, Hop, Trace
from fairlead.sim.frontends import Judgement, judge_connection
from fairlead.sim.nodes import NodeRules
from fairlead.sim.outside import OUTSIDE, OutsideRules, is_served_outside
from fairlead.sim.places import Source, Target, parse_source, parse_target
from fairlead.sim.services import find_endpoint
from fairlead.sim.world import World, declared_ports, in_prefixes, name_of

_SOURCE_PORT = Port(40000)
_API_PORT = 6443
_MOST_HOPS = 8
_DEFEAT = (
    Disposition.UNRESOLVED,
    Disposition.NO_ROUTE,
    Disposition.DROPPED,
    Disposition.NO_ENDPOINT,
    Disposition.REJECTED,
    Disposition.NO_LISTENER,
    Disposition.DELIVERED,
)
"""Dispositions from worst to best: the worst of several ends is the answer."""


class _Way(Struct, frozen=True):
    """A packet between two places, the hops it has behind it, who chose where it goes, and what to add at its end."""

    packet: Packet
    hops: tuple[Hop, ...] = ()
    service: tuple[str, str] | None = None
    origin: Origin | None = None
    note: str = ""


def trace_connection(world: World, source: str, target: str, protocol: Protocol) -> Trace:
    """Return what becomes of a first packet. Raises UnreadableError or AbsentError for what cannot be looked up."""
    start = parse_source(world, source)
    dialled = parse_target(world, target, start, protocol)
    remarks = (dialled.remark,) if dialled.remark else ()
    if dialled.address is None:
        end = End(dialled.missing, source, "", dialled.reason, dialled.origin)
        return Trace(source, target, "", dialled.missing, (end,), remarks)
    address = start.address_of(dialled.address.family)
    if address is None:
        reason = f"{source} has no {dialled.address.family.value} address"
        end = End(Disposition.NO_ROUTE, source, _spell_end(dialled.address, dialled.port), reason, dialled.origin)
        return Trace(source, target, "", end.disposition, (end,), remarks)
    packet = Packet(
        source=address,
        destination=dialled.address,
        protocol=protocol,
        source_port=_SOURCE_PORT,
        destination_port=dialled.port,
    )
    tracer = _Tracer(world)
    ends = tuple(tracer.leave(start, packet, dialled))
    worst = min((end.disposition for end in ends), key=_DEFEAT.index)
    return Trace(source, target, _spell(packet), worst, ends, (*remarks, *tracer.remarks))


class _Tracer:
    """One trace: the nodes it has compiled so far, and what there is to say besides the way."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.remarks: dict[str, None] = {}
        self._rules: dict[tuple[str, Family], NodeRules] = {}

    def leave(self, source: Source, packet: Packet, target: Target) -> Iterator[End]:
        """Yield the ends of a packet that its source has just made."""
        way = _Way(packet, origin=target.origin)
        if source.node and source.sent:
            yield from self._at_node(source.node, way, Entry.SENT)
            return
        if packet.destination in source.addresses:
            yield self._end(way, Disposition.DELIVERED, source.place, "its own address: it does not leave")
            return
        if source.node:
            hop = Hop(source.place, _spell(packet), (), f"node {source.node}, its only route")
            yield from self._at_node(source.node, replace(way, hops=(hop,)), Entry.ARRIVES)
            return
        yield from self._route(source.place, way)

    def _at_node(self, name: str, way: _Way, entry: Entry) -> Iterator[End]:
        rules = self._rules_of(name, way.packet.destination.family)
        frontend = rules.services.frontend(way.packet)
        if frontend is not None:
            origin = frontend.origin
            service = (origin.namespace, origin.name) if origin.kind == "Service" else None
            way = replace(way, service=service, origin=origin)
            if frontend.affinity is not None and frontend.backends:
                self.remarks[_tell_affinity(frontend, frontend.affinity)] = None
        _hold_to_model(rules, way.packet, tuple(rules.walk_services(way.packet, entry)))
        for passage in rules.walk(way.packet, entry):
            yield from self._after_rules(rules, way, passage)

    def _after_rules(self, rules: NodeRules, way: _Way, passage: Passage) -> Iterator[End]:
        place, steps = rules.place, rules.explain(way.packet, passage)
        if passage.ending is not Ending.ACCEPT:
            hop = Hop(place, _spell(way.packet), steps, passage.ending.value)
            yield self._refused(rules, replace(way, hops=(*way.hops, hop)), passage)
            return
        after = passage.packet
        if passage.masqueraded:
            after = replace(after, source=rules.addresses[0])
            if way.packet.source == after.destination:
                way = replace(way, note="; a pod that dials itself is masqueraded")
        onward = replace(after, mark=0, ct_status=0)
        moved = replace(way, packet=onward)
        if Surroundings(rules.services.model.addresses).is_local(after.destination):
            hop = Hop(place, _spell(way.packet), steps, "itself")
            yield self._on_host(rules, replace(moved, hops=(*way.hops, hop)))
        elif in_prefixes(after.destination, rules.pod_prefixes):
            hop = Hop(place, _spell(way.packet), steps, f"its own pods, as {_spell(onward)}")
            yield self._at_pod(place, replace(moved, hops=(*way.hops, hop)))
        else:
            hop = Hop(place, _spell(way.packet), steps, f"the fabric, as {_spell(onward)}")
            yield from self._route(place, replace(moved, hops=(*way.hops, hop)))

    def _route(self, place: str, way: _Way) -> Iterator[End]:
        """Go on from a place by the routes of the network between the nodes."""
        network, address = self._world.network, way.packet.destination
        node = self._world.node_holding(address) or self._world.node_routing(address)
        if len(way.hops) > _MOST_HOPS:
            yield self._end(way, Disposition.NO_ROUTE, place, "it goes round in circles")
        elif node is not None:
            name = node.metadata.name
            yield from self._at_node(name, self._with_start(place, way, f"node {name}"), Entry.ARRIVES)
        elif address in network.fabric:
            listens = way.packet.destination_port == _API_PORT
            yield self._end(
                way,
                Disposition.DELIVERED if listens else Disposition.NO_LISTENER,
                "fabric",
                "the API server" if listens else f"only the API server listens there, on {_API_PORT}",
            )
        elif (announced := find_announcers(self._world, address)) is not None:
            if not announced.nodes:
                yield self._end(replace(way, origin=announced.origin), Disposition.NO_ROUTE, place, announced.reason)
            for name, how in announced.nodes:
                onward = self._with_start(place, way, f"node {name}, {how}")
                yield from self._at_node(name, onward, Entry.ARRIVES)
        elif is_served_outside(self._world, address):
            yield from self._at_node(OUTSIDE, self._with_start(place, way, "the load balancer's host"), Entry.ARRIVES)
        elif address in (*network.client, *network.lb):
            name = "client" if address in network.client else "lb"
            yield self._end(way, Disposition.NO_LISTENER, name, "no object says that anything listens there")
        elif in_prefixes(address, network.service_prefixes):
            reason = "service addresses have no route outside the nodes: dial a node port or a load balancer's address"
            yield self._end(way, Disposition.NO_ROUTE, place, reason)
        else:
            yield self._end(way, Disposition.NO_ROUTE, place, "no place has that address")

    def _with_start(self, place: str, way: _Way, to: str) -> _Way:
        """Add the hop of a source outside the nodes, which has no rules."""
        if way.hops:
            return way
        return replace(way, hops=(Hop(place, _spell(way.packet), (), f"{to}, by the fabric"),))

    def _at_pod(self, place: str, way: _Way) -> End:
        pod = self._world.pod_holding(way.packet.destination)
        if pod is None:
            return self._end(way, Disposition.NO_ROUTE, place, "no pod has that address")
        protocol, port = Protocol(way.packet.protocol), way.packet.destination_port
        declared = declared_ports(pod, protocol)
        reason = f"on {pod.spec.node_name}{way.note}"
        if declared and port not in declared:
            known = ", ".join(str(each) for each in sorted(declared))
            reason += f"; it declares {known}, not {port}: whether it listens there, no object says"
        return self._end(way, Disposition.DELIVERED, "pod/" + "/".join(name_of(pod)), reason)

    def _on_host(self, rules: NodeRules, way: _Way) -> End:
        name = rules.name
        protocol, port = Protocol(way.packet.protocol), way.packet.destination_port
        for pod in self._world.pods.values():
            if pod.spec.host_network and pod.spec.node_name == name and port in declared_ports(pod, protocol):
                place = "pod/" + "/".join(name_of(pod))
                return self._end(way, Disposition.DELIVERED, place, f"in the network of {name}")
        reason = "no Service has this address and port, and no pod in the node's own network declares it"
        return self._end(way, Disposition.NO_LISTENER, rules.place, reason)

    def _refused(self, rules: NodeRules, way: _Way, passage: Passage) -> End:
        disposition = Disposition.REJECTED if passage.ending is Ending.REJECT else Disposition.DROPPED
        reason = rules.refusal(way.packet, passage)
        return self._end(replace(way, origin=reason.origin), disposition, rules.place, reason.text)

    def _end(self, way: _Way, disposition: Disposition, place: str, reason: str) -> End:
        origin = way.origin
        if disposition is Disposition.DELIVERED and way.service is not None:
            origin = find_endpoint(self._world, way.service, way.packet.destination) or origin
        address = _spell_end(way.packet.destination, way.packet.destination_port)
        seen_as = str(way.packet.source) if disposition is Disposition.DELIVERED else ""
        return End(disposition, place, address, reason, origin, seen_as, way.hops)

    def _rules_of(self, name: str, family: Family) -> NodeRules:
        key = name, family
        if key not in self._rules:
            world = self._world
            outside = name == OUTSIDE
            self._rules[key] = OutsideRules(world, family) if outside else NodeRules(world, world.nodes[name], family)
        return self._rules[key]


def _tell_affinity(frontend: Frontend, affinity: Affinity) -> str:
    origin = frontend.origin
    return (
        f"{origin.kind} {origin.namespace}/{origin.name} keeps a client at the pod it came to first, until "
        f"{affinity.timeout} s after its last new connection (spec.sessionAffinity)"
    )


def _hold_to_model(rules: NodeRules, packet: Packet, passages: tuple[Passage, ...]) -> None:
    """Model and rules are two truths about one thing; where they differ one of them is wrong."""
    key = FrontendKey(packet.destination, Protocol(packet.protocol), packet.destination_port)
    expected = judge_connection(rules.services.model, packet.source, key)
    found = read_passages(packet, passages)
    assert expected == found, f"{_spell(packet)} on {rules.name}: the model says {expected}, the rules do {found}"


def read_passages(packet: Packet, passages: tuple[Passage, ...]) -> Judgement:
    """Return what the passages of one packet, one for each draw, come to in the model's words."""
    endings = {passage.ending for passage in passages}
    if endings != {Ending.ACCEPT}:
        assert len(endings) == 1, f"draws differ for {_spell(packet)}: {endings}"
        return Judgement(refusal=Refusal.REJECT if Ending.REJECT in endings else Refusal.DROP)
    moved = [passage for passage in passages if passage.packet.ct_status]
    backends = (Backend(each.packet.destination, each.packet.destination_port) for each in moved)
    return Judgement(backends=frozenset(zip(backends, (each.masqueraded for each in moved), strict=True)))


def _spell(packet: Packet) -> str:
    target = _spell_end(packet.destination, packet.destination_port)
    return f"{Protocol(packet.protocol).name.lower()} {packet.source} -> {target}"


def _spell_end(address: Address, port: Port) -> str:
    return f"{address}:{port}" if address.family is Family.IPV4 else f"[{address}]:{port}"
