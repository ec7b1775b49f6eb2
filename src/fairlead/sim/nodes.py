"""One node of a world: its tables rendered, and a packet walked through all of them with reasons.

Comes in: a world and one of its nodes. Goes out: passages through the node's tables, and the steps of each with the
text of the rule, the row that matched and the object field that row was made of. Refuses to know other nodes and
routes.
"""

from collections.abc import Callable, Iterator

from fairlead.kube.core import Node
from fairlead.net import Family, Prefix
from fairlead.nft.evaluate import Entry, Looked, Packet, Passage, Step, Surroundings, evaluate_every_draw
from fairlead.nft.intervals import split_range
from fairlead.nft.objects import AnySet, Element
from fairlead.nft.rule_text import spell_rule
from fairlead.nft.text import spell_element
from fairlead.sim.answers import RuleStep
from fairlead.sim.policy_tables import policy_table
from fairlead.sim.services import ServiceTable
from fairlead.sim.tables import NodeTable, Reason
from fairlead.sim.world import World, addresses_of_node, pod_prefixes

FURTHER: tuple[Callable[[World, Node, Family], NodeTable | None], ...] = (policy_table,)
"""The tables a node has besides that of Services."""


class NodeRules:
    """The tables of one node and one family, as its agent would program them."""

    def __init__(self, world: World, node: Node, family: Family = Family.IPV4) -> None:
        self.place = f"node/{node.metadata.name}"
        self.name = node.metadata.name
        self.addresses = tuple(each for each in addresses_of_node(node) if each.family is family)
        self.pod_prefixes: tuple[Prefix, ...] = tuple(each for each in pod_prefixes(node) if each.family is family)
        self.services = ServiceTable(world, node, family)
        further = (build(world, node, family) for build in FURTHER)
        self.tables: tuple[NodeTable, ...] = (self.services, *(each for each in further if each is not None))
        self._by_name = {each.contents.name: each for each in self.tables}
        self._around = Surroundings(local=frozenset(self.addresses))

    def walk(self, packet: Packet, entry: Entry) -> Iterator[Passage]:
        """Yield the packet's way through all tables, once for each backend that may be drawn."""
        return evaluate_every_draw([each.contents for each in self.tables], packet, entry, self._around)

    def walk_services(self, packet: Packet, entry: Entry) -> Iterator[Passage]:
        """Yield the packet's way through the service table alone."""
        return evaluate_every_draw(self.services.contents, packet, entry, self._around)

    def explain(self, packet: Packet, passage: Passage) -> tuple[RuleStep, ...]:
        """Return the rules that applied to a packet, as it came to the node, each with what it was made of."""
        return tuple(self._explain(packet, step) for step in passage.steps if step.matched)

    def refusal(self, packet: Packet, passage: Passage) -> Reason:
        """Why a packet, as it came to the node, was dropped or rejected on this passage."""
        step = next((each for each in reversed(passage.steps) if each.matched), None)
        if step is None:
            return Reason("the policy of a base chain")
        return self._by_name[step.table].refusal(packet, step, passage.packet)

    def _explain(self, packet: Packet, step: Step) -> RuleStep:
        table = self._by_name[step.table]
        sets = {each.name: each for each in table.sets}
        rows = tuple(f"{each.set}: {_spell_row(sets[each.set], each)}" for each in step.looked)
        verdict = str(step.verdict) if step.verdict else "continue"
        rule = spell_rule(step.rule, sets)
        return RuleStep(step.hook.name.lower(), step.chain, rule, rows, verdict, table.origin(packet, step), step.table)


def _spell_row(target: AnySet, looked: Looked) -> str:
    """The row that was found, or the key that was not."""
    if looked.row is None:
        return spell_element(target, Element(looked.key, looked.value))
    first, last = split_range(looked.row)
    return spell_element(target, Element(first, looked.value, last))
