"""Where a trace begins and what it dials: texts to values, names to addresses.

Comes in: `client`, `lb`, `node/NAME`, `pod/NAMESPACE/NAME`, `svc/NAMESPACE/NAME:PORT`, `ip:port` or an http URL. Goes
out: a source with its address, a target with address and port. UnreadableError is the asker's mistake, AbsentError the
world's lack.
"""

from urllib.parse import urlsplit

from msgspec import Struct

from fairlead.kube.core import Service
from fairlead.model import Origin
from fairlead.net import Address, Family, Port, Protocol, parse_address
from fairlead.sim.answers import Disposition
from fairlead.sim.world import World, addresses_of_node, addresses_of_pod


class UnreadableError(ValueError):
    """A text that names no place or target; the message says which there are."""


class AbsentError(ValueError):
    """A place, Service or port that is not in the world; the message says which are."""


class Source(Struct, frozen=True):
    """Where a packet comes from, with its addresses, the primary one first.

    `node` is the host whose rules it meets first, or "" outside the nodes. `sent` says that it is that host's own
    packet, not a pod's.
    """

    place: str
    addresses: tuple[Address, ...]
    node: str = ""
    sent: bool = False

    def address_of(self, family: Family) -> Address | None:
        """The address it speaks from in a family."""
        return next((each for each in self.addresses if each.family is family), None)


class Target(Struct, frozen=True):
    """What is dialled, with what resolved it; without an address, `missing` says how that ends and `reason` why."""

    address: Address | None
    port: Port
    remark: str = ""
    reason: str = ""
    origin: Origin | None = None
    missing: Disposition = Disposition.UNRESOLVED


def parse_source(world: World, text: str) -> Source:
    """Return the source that `text` names."""
    kind, _, rest = text.partition("/")
    if text == "client":
        return Source(text, world.network.client)
    if text == "lb":
        return Source(text, world.network.lb)
    if kind == "node" and rest:
        node = world.nodes.get(rest)
        if node is None:
            raise AbsentError(f"there is no node {rest!r}; nodes: {', '.join(sorted(world.nodes)) or 'none'}")
        return Source(text, addresses_of_node(node), rest, sent=True)
    if kind == "pod" and rest.count("/") == 1:
        return _pod(world, text, rest)
    raise UnreadableError(f"{text!r} is no place: say client, lb, node/NAME or pod/NAMESPACE/NAME")


def _pod(world: World, text: str, rest: str) -> Source:
    namespace, _, name = rest.partition("/")
    pod = world.pods.get((namespace, name))
    if pod is None:
        near = sorted(f"pod/{space}/{each}" for space, each in world.pods if space == namespace)
        raise AbsentError(f"there is no pod {name!r} in {namespace!r}; pods there: {', '.join(near) or 'none'}")
    addresses = addresses_of_pod(pod)
    if not addresses or pod.spec.node_name not in world.nodes:
        raise AbsentError(f"pod {rest} has no address or no node yet")
    return Source(text, addresses, pod.spec.node_name, sent=pod.spec.host_network)


def parse_target(world: World, text: str, source: Source, protocol: Protocol) -> Target:
    """Return what `text` names, as `source` would resolve it."""
    if text.startswith("svc/"):
        return _service(world, text, protocol)
    if "://" in text:
        return _url(world, text, source, protocol)
    kind = text.partition("/")[0]
    host, _, port = text.rpartition(":")
    if kind in ("pod", "node") and host:
        return Target(parse_source(world, host).addresses[0], _port(port, text))
    if not host:
        raise UnreadableError(f"{text!r} names no port: say ADDRESS:PORT, svc/NAMESPACE/NAME:PORT or a URL")
    return _host(world, host.strip("[]"), _port(port, text), source, protocol)


def _url(world: World, text: str, source: Source, protocol: Protocol) -> Target:
    try:
        parts = urlsplit(text)
        number = parts.port
    except ValueError as error:
        raise UnreadableError(f"{text!r}: {error}") from None
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    if usual is None or not parts.hostname:
        raise UnreadableError(f"{text!r} is no http or https URL")
    return _host(world, parts.hostname, Port(number or usual), source, protocol)


def _host(world: World, host: str, port: Port, source: Source, protocol: Protocol) -> Target:
    try:
        return Target(parse_address(host), port)
    except ValueError:
        pass
    if not source.place.startswith("pod/"):
        return Target(None, port, reason=f"{host} is no address, and {source.place} does not ask the cluster's DNS")
    found = _known(world, host, source.place.split("/")[1])
    if found is None:
        return Target(None, port, reason=f"the cluster's DNS knows no {host}")
    return _resolve(world, found, port, protocol, f"{host} is ")


def _known(world: World, host: str, near: str) -> Service | None:
    """Return the Service of this name, a short one being in the namespace `near`."""
    name, *rest = host.removesuffix(".").removesuffix(".cluster.local").split(".")
    return None if rest[1:] not in ([], ["svc"]) else world.services.get((rest[0] if rest else near, name))


def _service(world: World, text: str, protocol: Protocol) -> Target:
    name, _, port = text.removeprefix("svc/").rpartition(":")
    namespace, _, service = name.partition("/")
    if not service or "/" in service:
        raise UnreadableError(f"{text!r} is no service: say svc/NAMESPACE/NAME:PORT")
    found = world.services.get((namespace, service))
    if found is None:
        near = sorted(f"svc/{space}/{each}" for space, each in world.services if space == namespace)
        raise AbsentError(f"there is no Service {service!r} in {namespace!r}; there: {', '.join(near) or 'none'}")
    named = [each.port for each in found.spec.ports if port and each.name == port]
    return _resolve(world, found, Port(named[0]) if named else _port(port, text), protocol, "")


def _resolve(
    world: World, service: Service, port: Port, protocol: Protocol, known: str, aliases: tuple[str, ...] = ()
) -> Target:
    """Resolve a Service's name as DNS does: to its address, or without one to its first ready endpoint.

    An external name that is one of the cluster's own leads to that Service. `aliases` are the names followed so far.
    """
    spec, meta = service.spec, service.metadata

    def origin(field: str) -> Origin:
        return Origin("Service", meta.namespace, meta.name, field)

    if spec.type == "ExternalName":
        alias = spec.external_name.removesuffix(".")
        inside = _known(world, alias, "") if alias.endswith(".svc.cluster.local") else None
        if inside is not None and alias not in aliases:
            remark = f"{known}Service {meta.namespace}/{meta.name}, an alias: {alias} is "
            return _resolve(world, inside, port, protocol, remark, (*aliases, alias))
        reason = f"the name leads out of the cluster, to {spec.external_name}"
        if alias.endswith(".svc.cluster.local"):
            reason = f"the name leads to {alias}, which " + (
                "leads back" if inside else "the cluster's DNS does not know"
            )
        return Target(None, port, reason=reason, origin=origin("spec.externalName"))
    if spec.cluster_ip not in ("", "None"):
        remark = f"{known}Service {meta.namespace}/{meta.name}, {spec.cluster_ip}"
        return Target(parse_address(spec.cluster_ip), port, remark, origin=origin("spec.clusterIP"))
    for piece in world.slices.get((meta.namespace, meta.name), ()):
        for endpoint in piece.endpoints:
            if endpoint.conditions.ready is not False and endpoint.addresses:
                remark = f"{known}Service {meta.namespace}/{meta.name}, headless: DNS answers with its pods"
                return Target(parse_address(endpoint.addresses[0]), port, remark, origin=origin("spec.clusterIP"))
    reason = f"headless, and no endpoint is ready: DNS has no answer for {protocol.name.lower()} port {port}"
    return Target(None, port, "", reason, origin("spec.selector"), Disposition.NO_ENDPOINT)


def _port(text: str, whole: str) -> Port:
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise UnreadableError(f"{whole!r}: {text!r} is no port: say a number from 1 to 65535, or a Service's port name")
    return Port(int(text))
