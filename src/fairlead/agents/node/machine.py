"""What one family's service table should hold: objects change, frontends follow, key by key.

Comes in: which services were touched. Goes out, once a round: the frontends that are new, different or gone. Refuses to
know rows and the kernel. Nothing goes out before all kinds were listed once, so that no half world is ever programmed.
A frontend that two services claim belongs to the older one.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import TypeAlias

from msgspec import Struct, field
from msgspec.structs import replace

from fairlead.agents.node.objects import Key, ServiceObjects, origin_of
from fairlead.agents.node.staleness import Answerers
from fairlead.compile.hostports import compile_host_ports
from fairlead.compile.services import compile_service, udp_backends
from fairlead.kube.core import Service
from fairlead.model import Backend, Finding, Frontend, FrontendKey, Masquerade, Severity
from fairlead.net import Family, Port

Changes: TypeAlias = dict[FrontendKey, Frontend | None]


class Round(Struct, frozen=True):
    """What one round asks for, and what was looked at for it."""

    changes: Changes
    services: frozenset[Key]
    findings: tuple[Finding, ...]
    udp: Answerers = field(default_factory=Answerers)
    """Of the UDP frontends looked at, who may still answer old flows."""


class NodeMachine:
    """The state of one node's service proxy for one family."""

    def __init__(self, objects: ServiceObjects, family: Family = Family.IPV4, *, masquerade_all: bool = False) -> None:
        self._objects = objects
        self._masquerade_all = masquerade_all
        self._family = family
        self._compiled: dict[Key, tuple[Frontend, ...]] = {}
        self._claims: dict[FrontendKey, dict[Key, Frontend]] = {}
        self._programmed: dict[FrontendKey, Frontend] = {}
        self._dirty: set[Key] = set()
        self._withheld: set[Key] = set()
        self._udp = Answerers()
        objects.listen(self)

    @property
    def pending(self) -> bool:
        """Whether a round would look at anything."""
        return bool(self._dirty) and self._objects.synced

    @property
    def waiting(self) -> int:
        """How many services the next round looks at."""
        return len(self._dirty)

    @property
    def withheld(self) -> AbstractSet[Key]:
        """The services that get no frontends."""
        return self._withheld

    def frontends(self) -> dict[FrontendKey, Frontend]:
        """The frontends all rounds so far add up to."""
        return self._programmed

    def services(self) -> AbstractSet[Key]:
        """The services that have frontends or are withheld."""
        return self._compiled.keys() | self._withheld

    def touch(self, key: Key, family: Family | None) -> None:
        """Look at a service again in the next round; one that was withheld gets its chance."""
        if family is None or family is self._family:
            self._withheld.discard(key)
            self._dirty.add(key)

    def touch_node(self) -> None:
        """Look at every service again whose frontends depend on the node."""
        objects = self._objects
        self._dirty |= objects.pods.keys()
        self._dirty |= {key for key, service in objects.services.items() if _depends_on_node(service)}

    def withhold(self, keys: AbstractSet[Key]) -> None:
        """Give these services no frontends until they change or are admitted."""
        self._dirty |= keys - self._withheld
        self._withheld |= keys

    def admit(self, keys: AbstractSet[Key]) -> None:
        """Give these services their frontends again."""
        self._dirty |= keys & self._withheld
        self._withheld -= keys

    def round(self) -> Round:
        """Compile what changed since the last round and return the difference. Must not be called before the sync."""
        assert self._objects.synced
        touched: set[FrontendKey] = set()
        findings: list[Finding] = []
        self._udp = Answerers()
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
        return Round(changes, frozenset(dirty), tuple(findings), self._udp)

    def _recompile(self, key: Key, touched: set[FrontendKey]) -> Iterable[Finding]:
        frontends, findings = ((), ()) if key in self._withheld else self._compile(key)
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

    def _compile(self, key: Key) -> tuple[tuple[Frontend, ...], tuple[Finding, ...]]:
        objects, family = self._objects, self._family
        if (pod := objects.pods.get(key)) is not None:
            return compile_host_ports(pod, objects.facts, family), ()
        service = objects.services.get(key)
        if service is None:
            return (), ()
        slices = objects.slices_of(key)
        frontends, findings = compile_service(service, slices, objects.facts, family)
        if self._masquerade_all:
            frontends = tuple(map(_masqueraded, frontends))
        if any(port.protocol == "UDP" for port in service.spec.ports):
            self._note_udp(service, udp_backends(service, slices, frontends, family))
        return frontends, findings

    def _note_udp(self, service: Service, found: dict[FrontendKey, frozenset[Backend]]) -> None:
        self._udp.frontends |= found
        numbers = {Port(port.node_port) for port in service.spec.ports if port.node_port and port.protocol == "UDP"}
        for key, backends in found.items():
            if key.port in numbers and key.address in self._objects.facts.addresses:
                self._udp.node_ports[key.port] = backends

    def _owner_of(self, frontend_key: FrontendKey, findings: list[Finding]) -> Frontend | None:
        claims = self._claims.get(frontend_key)
        if not claims:
            return None
        if len(claims) == 1:
            return next(iter(claims.values()))
        first, *others = sorted(claims, key=lambda key: (self._objects.created(key), key))
        for other in others:
            message = (
                f"{frontend_key.address} {frontend_key.protocol.name} {frontend_key.port} already belongs to "
                f"{origin_of(first)}"
            )
            origin = claims[other].origin
            findings.append(Finding(Severity.ERROR, origin, message, "give one of the two another address or port"))
        return claims[first]


def _depends_on_node(service: Service) -> bool:
    """Node ports open on the node's addresses, and source ranges that hold the node hold its own clients."""
    return bool(service.spec.load_balancer_source_ranges) or any(port.node_port for port in service.spec.ports)


def _masqueraded(frontend: Frontend) -> Frontend:
    """The frontend with every client of a ClusterIP masqueraded, as kube-proxy's masqueradeAll asks."""
    if frontend.masquerade is not Masquerade.UNLESS_LOCAL_POD:
        return frontend
    return replace(frontend, masquerade=Masquerade.ALWAYS)
