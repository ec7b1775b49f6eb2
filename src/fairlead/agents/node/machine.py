"""What the node agent knows and decides: objects change, frontends follow, key by key.

Comes in: changes of Services, EndpointSlices and the own Node. Goes out, once a round: the frontends that are new,
different or gone. Refuses to know rows and the kernel. Nothing goes out before all three kinds were listed once, so
that no half world is ever programmed. A frontend that two services claim belongs to the older one.
"""

from collections.abc import Iterable
from typing import TypeAlias

from msgspec import Struct

from fairlead.compile.endpoints import SliceEndpoints, compile_slice
from fairlead.compile.services import NodeFacts, compile_service, udp_backends
from fairlead.drivers.kubeapi import Applied, Change, Deleted, Replaced
from fairlead.kube.core import Node, Service
from fairlead.kube.discovery import SERVICE_NAME_LABEL, EndpointSlice, EndpointSliceOutline
from fairlead.model import Backend, Finding, Frontend, FrontendKey, Severity
from fairlead.net import Address, Family, parse_address

Key: TypeAlias = tuple[str, str]
"""Namespace and name."""

Changes: TypeAlias = dict[FrontendKey, Frontend | None]


class Round(Struct, frozen=True):
    """What one round asks for, and how much was looked at for it."""

    changes: Changes
    services: int
    findings: tuple[Finding, ...]
    udp: dict[FrontendKey, frozenset[Backend]] = {}
    """Of the UDP frontends looked at, who may still answer old flows."""


class NodeMachine:
    """The state of one node's service proxy."""

    def __init__(self, node: str, family: Family = Family.IPV4) -> None:
        self._facts = NodeFacts(node, ())
        self._pod_cidrs: tuple[str, ...] = ()
        self._family = family
        self._services: dict[Key, Service] = {}
        self._slices: dict[Key, SliceEndpoints] = {}
        self._slices_of: dict[Key, dict[str, SliceEndpoints]] = {}
        self._compiled: dict[Key, tuple[Frontend, ...]] = {}
        self._claims: dict[FrontendKey, dict[Key, Frontend]] = {}
        self._programmed: dict[FrontendKey, Frontend] = {}
        self._dirty: set[Key] = set()
        self._udp: dict[FrontendKey, frozenset[Backend]] = {}
        self._unsynced = {"Service", "EndpointSlice", "Node"}

    @property
    def synced(self) -> bool:
        """Whether every kind was listed once."""
        return not self._unsynced

    @property
    def pending(self) -> bool:
        """Whether a round would look at anything."""
        return self.synced and bool(self._dirty)

    @property
    def pod_cidrs(self) -> tuple[str, ...]:
        """Where the addresses of the node's pods come from, as the Node object says; empty until it does."""
        return self._pod_cidrs

    def frontends(self) -> dict[FrontendKey, Frontend]:
        """The frontends all rounds so far add up to."""
        return self._programmed

    def take_services(self, change: Change[Service]) -> None:
        """Note a change of Services."""
        match change:
            case Replaced(items):
                self._unsynced.discard("Service")
                now = {(item.metadata.namespace, item.metadata.name): item for item in items}
                self._dirty |= self._services.keys() | now.keys()
                self._services = now
            case Applied(item):
                key = item.metadata.namespace, item.metadata.name
                self._services[key] = item
                self._dirty.add(key)
            case Deleted(item):
                key = item.metadata.namespace, item.metadata.name
                self._services.pop(key, None)
                self._dirty.add(key)

    def take_slices(self, change: Change[EndpointSlice] | Change[EndpointSliceOutline]) -> None:
        """Note a change of EndpointSlices."""
        match change:
            case Replaced(items):
                self._unsynced.discard("EndpointSlice")
                gone = self._slices.keys() - {(item.metadata.namespace, item.metadata.name) for item in items}
                for key in gone:
                    self._drop_slice(key)
                for item in items:
                    self._put_slice(item)
            case Applied(item):
                self._put_slice(item)
            case Deleted(item):
                self._drop_slice((item.metadata.namespace, item.metadata.name))

    def take_nodes(self, change: Change[Node]) -> None:
        """Note a change of the own Node: its addresses are where node ports open."""
        match change:
            case Replaced(items):
                self._unsynced.discard("Node")
                node = next((item for item in items if item.metadata.name == self._facts.name), None)
            case Applied(item):
                node = item
            case Deleted():
                node = None  # an agent whose Node is gone keeps what it has: the traffic goes on
        if node is None or node.metadata.name != self._facts.name:
            return
        self._pod_cidrs = node.spec.pod_cidrs or self._pod_cidrs
        primary: dict[Family, Address] = {}
        for address in (parse_address(a.address) for a in node.status.addresses if a.type == "InternalIP"):
            primary.setdefault(address.family, address)
        facts = NodeFacts(self._facts.name, tuple(primary.values()))
        if facts != self._facts:
            self._facts = facts
            self._dirty |= {key for key, service in self._services.items() if _opens_node_ports(service)}

    def round(self) -> Round:
        """Compile what changed since the last round and return the difference. Must not be called before `synced`."""
        assert self.synced
        touched: set[FrontendKey] = set()
        findings: list[Finding] = []
        self._udp = {}
        dirty, self._dirty = self._dirty, set()
        for key in dirty:
            findings += self._recompile(key, touched)
        changes: Changes = {}
        for frontend_key in touched:
            frontend = self._owner_of(frontend_key, findings)
            if frontend is None:
                if self._programmed.pop(frontend_key, None) is not None:
                    changes[frontend_key] = None
            elif self._programmed.get(frontend_key) != frontend:
                self._programmed[frontend_key] = frontend
                changes[frontend_key] = frontend
        return Round(changes, len(dirty), tuple(findings), self._udp)

    def _recompile(self, key: Key, touched: set[FrontendKey]) -> Iterable[Finding]:
        service = self._services.get(key)
        frontends: tuple[Frontend, ...] = ()
        findings: tuple[Finding, ...] = ()
        if service is not None:
            slices = tuple(self._slices_of.get(key, {}).values())
            frontends, findings = compile_service(service, slices, self._facts, self._family)
            if any(port.protocol == "UDP" for port in service.spec.ports):
                self._udp |= udp_backends(service, slices, frontends, self._family)
        for old in self._compiled.pop(key, ()):
            touched.add(old.key)
            claims = self._claims[old.key]
            claims.pop(key, None)
            if not claims:
                del self._claims[old.key]
        for frontend in frontends:
            touched.add(frontend.key)
            self._claims.setdefault(frontend.key, {}).setdefault(key, frontend)
        if frontends:
            self._compiled[key] = frontends
        return findings

    def _owner_of(self, frontend_key: FrontendKey, findings: list[Finding]) -> Frontend | None:
        claims = self._claims.get(frontend_key)
        if not claims:
            return None
        if len(claims) == 1:
            return next(iter(claims.values()))
        first, *others = sorted(claims, key=lambda key: (self._services[key].metadata.creation_timestamp or "", key))
        for other in others:
            message = (
                f"{frontend_key.address} {frontend_key.protocol.name} {frontend_key.port} already belongs to "
                f"service {first[0]}/{first[1]}"
            )
            origin = claims[other].origin
            findings.append(Finding(Severity.ERROR, origin, message, "give one of the two another address or port"))
        return claims[first]

    def _put_slice(self, piece: EndpointSlice | EndpointSliceOutline) -> None:
        key = piece.metadata.namespace, piece.metadata.name
        compiled = compile_slice(piece, self._facts.name)
        old = self._slices.get(key)
        if old == compiled:
            return
        if old is not None and old.service != compiled.service:
            self._drop_slice(key)
        self._slices[key] = compiled
        service = piece.metadata.namespace, piece.metadata.labels.get(SERVICE_NAME_LABEL, "")
        self._slices_of.setdefault(service, {})[piece.metadata.name] = compiled
        self._dirty.add(service)

    def _drop_slice(self, key: Key) -> None:
        old = self._slices.pop(key, None)
        if old is None:
            return
        service = key[0], old.service
        pieces = self._slices_of[service]
        del pieces[key[1]]
        if not pieces:
            del self._slices_of[service]
        self._dirty.add(service)


def _opens_node_ports(service: Service) -> bool:
    return any(port.node_port for port in service.spec.ports)
