"""The host of the external load balancer: its table rendered, and walked as a node's.

Comes in: a world. Goes out: which addresses it serves, and its rules. That nodes answer is taken from their being
ready, and that pods answer health checks from their slices: the host itself asks them. Refuses to know routes.
"""

from collections.abc import Callable

from fairlead.compile.external import Outside, compile_external, compile_target
from fairlead.compile.loadbalancers import CLASSES, held_addresses
from fairlead.kube.core import Service
from fairlead.model import Frontend, FrontendKey
from fairlead.model.loadbalancers import Provider
from fairlead.net import Address, Family
from fairlead.nft.evaluate import Packet, Step, Surroundings
from fairlead.sim.frontends import NodeModel
from fairlead.sim.nodes import NodeRules
from fairlead.sim.services import ServiceTable
from fairlead.sim.tables import NodeTable, Reason
from fairlead.sim.world import World

OUTSIDE = "lb"
"""The place of the host, which no node is called."""


def is_served_outside(world: World, address: Address) -> bool:
    """Whether an address is one that the host takes for its own."""
    return any(address in held_addresses(each) for each in world.services.values() if _is_ours(each))


def compile_outside(world: World, family: Family) -> dict[FrontendKey, Frontend]:
    """Return all frontends of one family that the host has."""
    targets = tuple(compile_target(node) for _, node in sorted(world.nodes.items()))
    outside = Outside(addresses=world.network.lb, answers_return=True)
    found: dict[FrontendKey, Frontend] = {}
    for name, service in sorted(world.services.items()):
        if _is_ours(service):
            frontends, _ = compile_external(service, targets, _health(world, name), outside, family)
            for frontend in frontends:
                found.setdefault(frontend.key, frontend)
    return found


def _is_ours(service: Service) -> bool:
    provider = CLASSES.get(service.spec.load_balancer_class or "", Provider.EXTERNAL)
    return service.spec.type == "LoadBalancer" and provider is Provider.EXTERNAL


def _health(world: World, name: tuple[str, str]) -> Callable[[str, int], bool]:
    """What the health checks of a Service answer: the node's own always, its node port where a pod is ready."""
    ready = {
        endpoint.node_name
        for piece in world.slices.get(name, ())
        for endpoint in piece.endpoints
        if endpoint.conditions.ready is not False
    }
    return lambda node, port: port == 0 or node in ready


class OutsideTable(ServiceTable):
    """The table of the host in one family."""

    def __init__(self, world: World, family: Family) -> None:
        frontends = compile_outside(world, family)
        own = (*world.network.lb, *(key.address for key in frontends))
        addresses = frozenset(each for each in own if each.family is family)
        self._hold(world, NodeModel(frontends, addresses, (), None), family)

    def refusal(self, packet: Packet, step: Step, onward: Packet) -> Reason:
        """Why a connection comes to no node."""
        frontend = self.frontend(packet)
        if frontend is None or frontend.backends or frontend.sources is not None:
            return super().refusal(packet, step, onward)
        return Reason("no node: none is ready and has a pod that may answer", frontend.origin)


class OutsideRules(NodeRules):
    """The host as a trace walks it."""

    def __init__(self, world: World, family: Family) -> None:
        self.place = self.name = OUTSIDE
        self.services = OutsideTable(world, family)
        self.addresses = tuple(each for each in world.network.lb if each.family is family)
        self.pod_prefixes = ()
        self.tables: tuple[NodeTable, ...] = (self.services,)
        self._by_name = {each.contents.name: each for each in self.tables}
        self._around = Surroundings(local=self.services.model.addresses)
