"""The service table of one node of a world: its frontends compiled, its rows rendered, and where each came from.

Comes in: a world, one of its nodes, a family. Goes out: the table as the node's agent would program it, the model it
was made of, and reasons in the words of Services. Refuses to know routes and other tables.
"""

from collections.abc import Sequence

from fairlead.compile.endpoints import compile_slice
from fairlead.compile.services import ZONE_LABEL, NodeFacts, compile_service
from fairlead.kube.core import Node
from fairlead.model import Frontend, FrontendKey, Origin
from fairlead.net import Address, Family, Prefix, Protocol
from fairlead.nft.evaluate import Looked, Packet, Step
from fairlead.nft.objects import AnySet
from fairlead.nft.tables import TableContents
from fairlead.render.service_bytes import pack_frontend
from fairlead.render.services import ServiceRows
from fairlead.sim.frontends import NodeModel
from fairlead.sim.tables import Reason
from fairlead.sim.world import World, addresses_of_node, pod_prefixes

_AFTER_ADDRESS = 8
"""The bytes of a packed frontend after its address: protocol and port, a register each."""


class ServiceTable:
    """The service table of one node and one family (`tables.NodeTable`)."""

    def __init__(self, world: World, node: Node, family: Family) -> None:
        self._world = world
        frontends = compile_node(world, node, family)
        local = tuple(each for each in pod_prefixes(node) if each.family is family)
        addresses = frozenset(each for each in addresses_of_node(node) if each.family is family)
        self.model = NodeModel(frontends, addresses, local, _service_prefix(world, family))
        rows = ServiceRows(family, local, self.model.service_prefix)
        rows.base()
        rows.replace(frontends)
        self.contents: TableContents = rows.desired()
        self.sets: Sequence[AnySet] = rows.sets
        self._origins = {key.address.packed: frontend.origin for key, frontend in frontends.items()}
        self._origins |= {pack_frontend(key): frontend.origin for key, frontend in frontends.items()}
        self._key_length = family.size + _AFTER_ADDRESS

    def frontend(self, packet: Packet) -> Frontend | None:
        """The frontend a packet dials."""
        try:
            protocol = Protocol(packet.protocol)
        except ValueError:
            return None
        return self.model.frontends.get(FrontendKey(packet.destination, protocol, packet.destination_port))

    def origin(self, step: Step) -> Origin | None:
        """The field a row was made of."""
        return next((origin for looked in step.looked if (origin := self._origin(looked))), None)

    def _origin(self, looked: Looked) -> Origin | None:
        """Rows begin with the key of their frontend, or are its address."""
        return self._origins.get(looked.key[: self._key_length])

    def refusal(self, packet: Packet, step: Step) -> Reason:
        """Why a connection comes to no endpoint."""
        frontend = self.frontend(packet)
        if frontend is not None:
            return Reason(self._why_empty(frontend), frontend.origin)
        address, port = str(packet.destination), f"{Protocol(packet.protocol).name} {packet.destination_port}"
        for (namespace, name), service in self._world.services.items():
            if address in (service.spec.cluster_ip, *service.spec.cluster_ips):
                ports = ", ".join(f"{each.protocol} {each.port}" for each in service.spec.ports)
                text = f"Service {namespace}/{name} has no port {port}, but {ports}"
                return Reason(text, Origin("Service", namespace, name, "spec.ports"))
        return Reason("an address of the Service range that no Service has")

    def _why_empty(self, frontend: Frontend) -> str:
        service = frontend.origin.namespace, frontend.origin.name
        endpoints = [each for piece in self._world.slices.get(service, ()) for each in piece.endpoints]
        if not endpoints:
            return f"no endpoint: no pod matches the selector of Service {'/'.join(service)}"
        ready = sum(each.conditions.ready is not False for each in endpoints)
        if not ready:
            return f"no endpoint: none of the {len(endpoints)} of Service {'/'.join(service)} is ready"
        return f"no endpoint on this node: {ready} ready elsewhere, and the traffic policy is Local"


def _service_prefix(world: World, family: Family) -> Prefix | None:
    prefix = world.network.service_prefix
    return prefix if prefix.family is family else None


def compile_node(world: World, node: Node, family: Family) -> dict[FrontendKey, Frontend]:
    """Return all frontends of one family on a node; of two Services that claim a key the first by name has it."""
    facts = NodeFacts(node.metadata.name, addresses_of_node(node), node.metadata.labels.get(ZONE_LABEL, ""))
    found: dict[FrontendKey, Frontend] = {}
    for name, service in sorted(world.services.items()):
        slices = [compile_slice(piece, node.metadata.name) for piece in world.slices.get(name, ())]
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
