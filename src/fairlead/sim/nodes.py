"""One node of a world: its frontends compiled, its table rendered, and a packet walked through it with reasons.

Comes in: a world and one of its nodes. Goes out: passages through the node's table, and the steps of each with the text
of the rule, the row that matched and the object field that row was made of. Refuses to know other nodes and routes.
"""

from collections.abc import Iterator

from fairlead.compile.endpoints import SliceEndpoints, compile_slice
from fairlead.compile.services import ZONE_LABEL, NodeFacts, compile_service
from fairlead.kube.core import Node
from fairlead.kube.discovery import EndpointSlice
from fairlead.model import Frontend, FrontendKey, Origin
from fairlead.net import Address, Family, Prefix, Protocol
from fairlead.nft.evaluate import Entry, Packet, Passage, Step, Surroundings, evaluate_every_draw
from fairlead.nft.memory import Looked
from fairlead.nft.objects import Element
from fairlead.nft.rule_text import spell_rule
from fairlead.nft.text import spell_element
from fairlead.render.service_bytes import pack_frontend
from fairlead.render.services import ServiceRows
from fairlead.sim.answers import RuleStep
from fairlead.sim.frontends import NodeModel
from fairlead.sim.world import World, addresses_of_node, pod_prefixes

_AFTER_ADDRESS = 8
"""The bytes of a packed frontend after its address: protocol and port, a register each."""


class NodeRules:
    """The service table of one node and one family, as its agent would program it."""

    def __init__(self, world: World, node: Node, family: Family = Family.IPV4) -> None:
        self.name = node.metadata.name
        self.addresses = tuple(each for each in addresses_of_node(node) if each.family is family)
        self.pod_prefixes: tuple[Prefix, ...] = tuple(each for each in pod_prefixes(node) if each.family is family)
        frontends = compile_node(world, node, family)
        prefix = world.network.service_prefix
        self.model = NodeModel(
            frontends, frozenset(self.addresses), self.pod_prefixes, prefix if prefix.family is family else None
        )
        rows = ServiceRows(family, self.pod_prefixes, self.model.service_prefix)
        rows.base()
        rows.replace(frontends)
        self.table = rows.desired()
        self.sets = rows.sets
        self._sets = {each.name: each for each in rows.sets}
        self._origins = {key.address.packed: frontend.origin for key, frontend in frontends.items()}
        self._origins |= {pack_frontend(key): frontend.origin for key, frontend in frontends.items()}
        self._key_length = family.size + _AFTER_ADDRESS

    def walk(self, packet: Packet, entry: Entry) -> Iterator[Passage]:
        """Yield the packet's way through the table, once for each backend that may be drawn."""
        return evaluate_every_draw(self.table, packet, entry, Surroundings(local=frozenset(self.addresses)))

    def frontend(self, packet: Packet) -> Frontend | None:
        """The frontend a packet dials."""
        try:
            protocol = Protocol(packet.protocol)
        except ValueError:
            return None
        return self.model.frontends.get(FrontendKey(packet.destination, protocol, packet.destination_port))

    def explain(self, passage: Passage) -> tuple[RuleStep, ...]:
        """Return the rules that applied, each with what it was made of."""
        return tuple(self._explain(step) for step in passage.steps if step.matched)

    def _explain(self, step: Step) -> RuleStep:
        rows = tuple(self._spell_row(looked) for looked in step.looked)
        origins = [origin for looked in step.looked if (origin := self._origin(looked))]
        verdict = str(step.verdict) if step.verdict else "continue"
        rule = spell_rule(step.rule, self._sets)
        return RuleStep(step.hook.name.lower(), step.chain, rule, rows, verdict, origins[0] if origins else None)

    def _spell_row(self, looked: Looked) -> str:
        return f"{looked.set}: {spell_element(self._sets[looked.set], Element(looked.key, looked.value))}"

    def _origin(self, looked: Looked) -> Origin | None:
        """The field a row was made of: rows begin with the key of their frontend, or are its address."""
        return self._origins.get(looked.key[: self._key_length])


def compile_node(world: World, node: Node, family: Family) -> dict[FrontendKey, Frontend]:
    """Return all frontends of one family on a node; of two Services that claim a key the first by name has it."""
    facts = NodeFacts(node.metadata.name, addresses_of_node(node), node.metadata.labels.get(ZONE_LABEL, ""))
    found: dict[FrontendKey, Frontend] = {}
    for name, service in sorted(world.services.items()):
        slices = [_compile_slice(piece, node) for piece in world.slices.get(name, ())]
        frontends, _ = compile_service(service, slices, facts, family)
        for frontend in frontends:
            found.setdefault(frontend.key, frontend)
    return found


def find_endpoint(world: World, service: tuple[str, str], address: Address) -> Origin | None:
    """The place in an EndpointSlice of a Service where an address is written."""
    for piece in world.slices.get(service, ()):
        for number, endpoint in enumerate(piece.endpoints):
            if endpoint.addresses[:1] == (str(address),):
                return Origin(
                    "EndpointSlice", piece.metadata.namespace, piece.metadata.name, f"endpoints[{number}].addresses[0]"
                )
    return None


def _compile_slice(piece: EndpointSlice, node: Node) -> SliceEndpoints:
    return compile_slice(piece, node.metadata.name)
