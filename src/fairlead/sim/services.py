"""The service table of one node of a world: its frontends compiled, its rows rendered, and where each came from.

Comes in: a world, one of its nodes, a family. Goes out: the table as the node's agent would program it, the model it
was made of, and reasons in the words of Services. Refuses to know routes and other tables.
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from fairlead.compile.endpoints import compile_slice
from fairlead.compile.hostports import compile_host_ports
from fairlead.compile.services import ZONE_LABEL, NodeFacts, compile_service
from fairlead.kube.core import Node
from fairlead.kube.outlines import PodOutline
from fairlead.model import AddressRange, Frontend, FrontendKey, Masquerade, Origin
from fairlead.net import Address, Family, Prefix, Protocol
from fairlead.nft.evaluate import Looked, Packet, Step
from fairlead.nft.expressions import Dynset
from fairlead.nft.objects import AnySet
from fairlead.nft.tables import TableContents
from fairlead.render.service_bytes import pack_frontend
from fairlead.render.services import ServiceRows
from fairlead.sim.frontends import NodeModel
from fairlead.sim.tables import Reason
from fairlead.sim.world import World, addresses_of_node, pod_prefixes

_FIELDS = {
    "inside": "spec.externalTrafficPolicy",
    "restricted": "spec.loadBalancerSourceRanges",
    "source-ranges": "spec.loadBalancerSourceRanges",
}
"""The field that put a frontend's rows into a set, where it is not the one that made the frontend."""
_AFTER_ADDRESS = 8
"""The bytes of a packed frontend after its address: protocol and port, a register each."""


class ServiceTable:
    """The service table of one node and one family (`tables.NodeTable`)."""

    def __init__(self, world: World, node: Node, family: Family) -> None:
        local = tuple(each for each in pod_prefixes(node) if each.family is family)
        addresses = frozenset(each for each in addresses_of_node(node) if each.family is family)
        model = NodeModel(compile_node(world, node, family), addresses, local, _service_prefix(world, family))
        self._hold(world, model, family)

    def _hold(self, world: World, model: NodeModel, family: Family) -> None:
        """Render what the model says."""
        self._world = world
        self.model = model
        frontends, local = model.frontends, model.pod_prefixes
        rows = ServiceRows(family, local, self.model.service_prefix)
        rows.base()
        rows.replace(frontends)
        self.contents: TableContents = rows.desired()
        self.sets: Sequence[AnySet] = rows.sets
        self._states = {name for name, held in self.contents.sets.items() if held.shape.is_state}
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

    def origin(self, packet: Packet, step: Step) -> Origin | None:
        """The field a row was made of; what remembers clients is there for the affinity of the frontend dialled."""
        frontend = self.frontend(packet)
        remembers = any(isinstance(each, Dynset) for each in step.rule.expressions)
        if frontend is not None and (remembers or any(looked.set in self._states for looked in step.looked)):
            return replace(frontend.origin, field="spec.sessionAffinity")
        return next((origin for looked in step.looked if (origin := self._origin(looked))), None)

    def _origin(self, looked: Looked) -> Origin | None:
        """Rows begin with the key of their frontend, or are its address; its field is that of the set they are in."""
        origin = self._origins.get(looked.key[: self._key_length])
        field = _FIELDS.get(looked.set)
        return replace(origin, field=field) if origin and field else origin

    def refusal(self, packet: Packet, step: Step, onward: Packet) -> Reason:
        """Why a connection comes to no endpoint."""
        frontend = self.frontend(packet)
        if frontend is not None and frontend.sources is not None and not _admits(frontend.sources, packet.source):
            ranges = ", ".join(_spell_range(each) for each in frontend.sources) or "nobody"
            text = f"{packet.source} is kept out before anything is chosen: only {ranges} may come"
            return Reason(text, replace(frontend.origin, field="spec.loadBalancerSourceRanges"))
        if frontend is not None:
            return self._why_empty(frontend)
        address, port = str(packet.destination), f"{Protocol(packet.protocol).name} {packet.destination_port}"
        for (namespace, name), service in self._world.services.items():
            if address in (service.spec.cluster_ip, *service.spec.cluster_ips):
                ports = ", ".join(f"{each.protocol} {each.port}" for each in service.spec.ports)
                text = f"Service {namespace}/{name} has no port {port}, but {ports}"
                return Reason(text, Origin("Service", namespace, name, "spec.ports"))
        return Reason("an address of the Service range that no Service has")

    def _why_empty(self, frontend: Frontend) -> Reason:
        origin = frontend.origin
        service = origin.namespace, origin.name
        endpoints = [each for piece in self._world.slices.get(service, ()) for each in piece.endpoints]
        if not endpoints:
            return Reason(f"no endpoint: no pod matches the selector of Service {'/'.join(service)}", origin)
        ready = sum(each.conditions.ready is not False for each in endpoints)
        if not ready:
            return Reason(f"no endpoint: none of the {len(endpoints)} of Service {'/'.join(service)} is ready", origin)
        internal = frontend.masquerade is Masquerade.UNLESS_LOCAL_POD
        policy = "internalTrafficPolicy" if internal else "externalTrafficPolicy"
        text = f"no endpoint on this node: {ready} ready elsewhere, and the traffic policy is Local"
        return Reason(text, replace(origin, field=f"spec.{policy}"))


def _admits(ranges: Sequence[AddressRange], address: Address) -> bool:
    return any(address in each for each in ranges)


def _spell_range(each: AddressRange) -> str:
    return str(each.first) if each.first == each.last else f"{each.first}-{each.last}"


def _service_prefix(world: World, family: Family) -> Prefix | None:
    return next((prefix for prefix in world.network.service_prefixes if prefix.family is family), None)


def compile_node(world: World, node: Node, family: Family) -> dict[FrontendKey, Frontend]:
    """Return all frontends of one family on a node, its pods' host ports among them.

    Of two Services that claim a key the first by name has it, and a Service has it before a pod.
    """
    facts = NodeFacts(node.metadata.name, _primary(node), node.metadata.labels.get(ZONE_LABEL, ""))
    found: dict[FrontendKey, Frontend] = {}
    for name, service in sorted(world.services.items()):
        slices = [compile_slice(piece, node.metadata.name) for piece in world.slices.get(name, ())]
        frontends, _ = compile_service(service, slices, facts, family)
        for frontend in frontends:
            found.setdefault(frontend.key, frontend)
    for _, pod in sorted(world.pods.items()):
        if pod.spec.node_name == node.metadata.name:
            outline = msgspec.convert(pod, PodOutline, from_attributes=True)
            for frontend in compile_host_ports(outline, facts, family):
                found.setdefault(frontend.key, frontend)
    return found


def _primary(node: Node) -> tuple[Address, ...]:
    """The first address of each family, the only ones node ports open on (nodePortAddresses `primary`)."""
    found: dict[Family, Address] = {}
    for address in addresses_of_node(node):
        found.setdefault(address.family, address)
    return tuple(found.values())


def find_endpoint(world: World, service: tuple[str, str], address: Address) -> Origin | None:
    """The place in an EndpointSlice of a Service where an address is written."""
    for piece in world.slices.get(service, ()):
        for number, endpoint in enumerate(piece.endpoints):
            if endpoint.addresses[:1] == (str(address),):
                return Origin(
                    "EndpointSlice", piece.metadata.namespace, piece.metadata.name, f"endpoints[{number}].addresses[0]"
                )
    return None
