"""Who has which cluster address and which node port: chosen when a Service is written, given back when it goes.

In: services as they are about to be stored, with their predecessors. Out: the same services filled in, or what is
wrong with what they ask for, in upstream's words (k8s.io/kubernetes/pkg/registry/core/service/storage/alloc.go).
Nothing is stored here: the state is rebuilt from the stored services, `allocate` only looks, and `commit` takes
over what has been stored. So a refused or dry-run request leaves no trace.
"""

from collections.abc import Iterable

from fairlead.cluster.apiserver.kinds.editing import child, children
from fairlead.cluster.apiserver.kinds.errors import FieldError, invalid
from fairlead.cluster.apiserver.kinds.pools import Chance, Pool, address_pool, port_pool
from fairlead.kube.documents import Document, Json, flag_at, items_at, mapping_at, number_at, text_at
from fairlead.net import Address, Family, Prefix, parse_address

NODE_PORTS = (30000, 32767)
HEADLESS = "None"
RESERVED = ""
"""Whose an address is that an IPAddress names and no service has."""
EXTERNAL_TYPES = ("NodePort", "LoadBalancer")
SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"


class AllocationFailedError(Exception):
    """Nothing is left to give out; upstream answers 500 with this text."""


def _owner(service: Document) -> str:
    return f"{text_at(service, 'metadata', 'namespace')}/{text_at(service, 'metadata', 'name')}"


def _addresses(service: Document) -> list[Address]:
    """Return the cluster addresses a service has; what is no address is left to validation."""
    spec = mapping_at(service, "spec")
    if text_at(spec, "type") == "ExternalName":
        return []
    return [each for text in items_at(spec, "clusterIPs") if (each := _parsed(text)) is not None]


def _parsed(text: Json) -> Address | None:
    try:
        return parse_address(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _node_ports(service: Document) -> set[int]:
    spec = mapping_at(service, "spec")
    ports = {number_at(port, "nodePort") for port in children(spec, "ports")}
    ports.add(number_at(spec, "healthCheckNodePort"))
    return {port for port in ports if port}


class ClusterAddresses:
    """The cluster addresses of all services: the cluster's own range of each family, and those of ServiceCIDRs."""

    def __init__(self, ranges: tuple[Prefix, ...], chance: Chance) -> None:
        self._families = tuple(prefix.family for prefix in ranges)
        self._own = ranges
        self._pools = {prefix.family: {prefix: _pool(prefix)} for prefix in ranges}
        self._taken: dict[Family, dict[int, str]] = {family: {} for family in self._families}
        self._chance = chance

    def allocate(self, service: Document, old: Document | None) -> FieldError | None:
        """Fill in families and addresses; return what is wrong with those asked for.

        Raises AllocationFailedError when a range is full.
        """
        spec = child(service, "spec")
        if text_at(spec, "type") == "ExternalName":
            return None
        if problem := _too_many_for_one(spec, old) or self._choose_families(spec):
            return problem
        if text_at(spec, "clusterIP") == HEADLESS:
            spec["clusterIPs"] = [HEADLESS]
            return None
        kept = [str(each) for each in _addresses(old)] if old else []
        return self._choose_addresses(service, spec, kept)

    def _choose_addresses(self, service: Document, spec: Document, kept: list[str]) -> FieldError | None:
        given = items_at(spec, "clusterIPs")
        if any(_parsed(text) is None for text in given):
            return None
        if kept and given and given[0] != kept[0]:
            return None
        for text in given:
            address = _parsed(text)
            if address is not None and str(address) not in kept and (problem := self._refusal(address)):
                detail = f"failed to allocate IP {text}: {problem}"
                return invalid("spec.clusterIPs", given, detail)
        missing = items_at(spec, "ipFamilies")[len(given) :]
        chosen: list[Json] = [*given, *(str(self._free(Family(name), _owner(service))) for name in missing)]
        spec["clusterIPs"] = chosen
        spec["clusterIP"] = chosen[0]
        return None

    def _refusal(self, address: Address) -> str:
        family = address.family
        number = int.from_bytes(address.packed, "big")
        pools = self._pools.get(family) or self._pools[self._families[0]]
        if family not in self._pools or not any(number in pool for pool in pools.values()):
            valid = ", ".join(str(prefix) for prefix in pools)
            return f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {valid}"
        return "provided IP is already allocated" if number in self._taken[family] else ""

    def _free(self, family: Family, owner: str) -> Address:
        for pool in self._pools[family].values():
            number = pool.free(self._taken[family], self._chance)
            if number is not None:
                return Address(number.to_bytes(family.size, "big"))
        name = owner.partition("/")[2]
        raise AllocationFailedError(f'failed to allocate a serviceIP for Service "{name}": range is full')

    def add_range(self, prefix: Prefix) -> None:
        """Give out addresses of one range more, after those that are there; of a family the cluster has."""
        if prefix.family in self._pools:
            self._pools[prefix.family].setdefault(prefix, _pool(prefix))

    def drop_range(self, prefix: Prefix) -> None:
        """Give out no more addresses of a range; those given out stay. The cluster's own stay for good."""
        if prefix not in self._own:
            self._pools.get(prefix.family, {}).pop(prefix, None)

    def reserve(self, address: Address) -> None:
        """Keep an address from being given out, where no service has it."""
        if address.family in self._taken:
            self._taken[address.family].setdefault(int.from_bytes(address.packed, "big"), RESERVED)

    def give_back(self, address: Address) -> None:
        """End a reservation."""
        taken, number = self._taken.get(address.family, {}), int.from_bytes(address.packed, "big")
        if taken.get(number) == RESERVED:
            del taken[number]

    def _choose_families(self, spec: Document) -> FieldError | None:
        """Fill in ipFamilyPolicy and ipFamilies (defaultOnWrite and initIPFamilyFields upstream)."""
        without_pods = text_at(spec, "clusterIP") == HEADLESS and not mapping_at(spec, "selector")
        policy = text_at(spec, "ipFamilyPolicy")
        families = items_at(spec, "ipFamilies")
        addresses = [each for text in items_at(spec, "clusterIPs") if (each := _parsed(text))]
        wanted = max(len(families), len(addresses))
        if not policy:
            policy = REQUIRE if without_pods or wanted > 1 else SINGLE
        dual = len(self._families) > 1
        if not without_pods:
            if policy == REQUIRE and not dual:
                return invalid("spec.ipFamilyPolicy", policy, "this cluster is not configured for dual-stack services")
            for index, name in enumerate(families):
                if name not in [family.value for family in self._families]:
                    return invalid(f"spec.ipFamilies[{index}]", name, "not configured on this cluster")
        spec["ipFamilyPolicy"] = policy
        spec["ipFamilies"] = self._families_for(policy, families, addresses, without_pods=without_pods)
        return None

    def _families_for(
        self, policy: str, given: list[Json], addresses: list[Address], *, without_pods: bool
    ) -> list[Json]:
        names = [name for name in given if isinstance(name, str)]
        for address in addresses[len(names) :]:
            if address.family.value not in names:
                names.append(address.family.value)
        configured = [family.value for family in self._families]
        if not names:
            names = configured[:1]
        if policy != SINGLE:
            everything = [family.value for family in Family]
            names += [name for name in (everything if without_pods else configured) if name not in names]
        return list(names)

    def commit(self, service: Document | None, old: Document | None) -> None:
        """Take over what was stored: `service` in place of `old`; None for a creation or a deletion."""
        for address in _addresses(old) if old else []:
            self._taken.get(address.family, {}).pop(int.from_bytes(address.packed, "big"), None)
        for address in _addresses(service) if service else []:
            if address.family in self._taken:
                number = int.from_bytes(address.packed, "big")
                self._taken[address.family][number] = _owner(service or {})


def _too_many_for_one(spec: Document, old: Document | None) -> FieldError | None:
    """Refuse two of a family's things where one family is asked for; what an earlier state left behind is dropped."""
    if text_at(spec, "ipFamilyPolicy") != SINGLE:
        return None
    before = mapping_at(old, "spec") if old else {}
    for field in ("clusterIPs", "ipFamilies"):
        if len(items_at(spec, field)) > 1 and items_at(spec, field) != items_at(before, field):
            detail = f"must be RequireDualStack or PreferDualStack when multiple {field} are specified"
            return invalid("spec.ipFamilyPolicy", SINGLE, detail)
    return None


def _pool(prefix: Prefix) -> Pool:
    network = int.from_bytes(prefix.address.packed, "big")
    return address_pool(network, prefix.size, ipv4=prefix.family is Family.IPV4)


class NodePorts:
    """The node ports of all services, health checks among them.

    TCP and UDP share a number where their port is the same.
    """

    def __init__(self, chance: Chance, first: int = NODE_PORTS[0], last: int = NODE_PORTS[1]) -> None:
        self._range = f"{first}-{last}"
        self._pool = port_pool(first, last)
        self._taken: set[int] = set()
        self._chance = chance

    def allocate(self, service: Document, old: Document | None) -> FieldError | None:
        """Fill in the node ports that the type of the service calls for; return what is wrong with those asked for.

        Raises AllocationFailedError when no port is left, and for a health check port that cannot be had.
        """
        spec = child(service, "spec")
        kind = text_at(spec, "type")
        if kind not in EXTERNAL_TYPES:
            return None
        own = _node_ports(old) if old else set[int]()
        taken = self._taken - own
        automatic = kind == "NodePort" or flag_at(spec, "allocateLoadBalancerNodePorts")
        asked = {port for port in (number_at(each, "nodePort") for each in children(spec, "ports")) if port}
        chosen: dict[int, int] = {}
        for index, port in enumerate(children(spec, "ports")):
            requested, number = number_at(port, "nodePort"), number_at(port, "port") or 0
            if requested:
                if problem := self._refusal(requested, taken):
                    return invalid(f"spec.ports[{index}].nodePort", requested, problem)
                chosen.setdefault(number, requested)
            elif automatic:
                shared = chosen.get(number) or _requested(number, children(spec, "ports"))
                port["nodePort"] = chosen.setdefault(number, shared or self._free(taken | asked, "nodePort"))
                asked.add(chosen[number])
        self._choose_health_port(spec, taken | asked)
        return None

    def _choose_health_port(self, spec: Document, taken: set[int]) -> None:
        if text_at(spec, "type") != "LoadBalancer" or text_at(spec, "externalTrafficPolicy") != "Local":
            return
        requested = number_at(spec, "healthCheckNodePort")
        if not requested:
            spec["healthCheckNodePort"] = self._free(taken, "HealthCheck NodePort")
        elif problem := self._refusal(requested, taken):
            text = f"failed to allocate requested HealthCheck NodePort {requested}: {problem}"
            raise AllocationFailedError(text)

    def _refusal(self, port: int, taken: set[int]) -> str:
        if port not in self._pool:
            return f"provided port is not in the valid range. The range of valid ports is {self._range}"
        return "provided port is already allocated" if port in taken else ""

    def _free(self, taken: set[int], what: str) -> int:
        port = self._pool.free(taken, self._chance)
        if port is None:
            raise AllocationFailedError(f"failed to allocate a {what}: range is full")
        return port

    def commit(self, service: Document | None, old: Document | None) -> None:
        """Take over what was stored: `service` in place of `old`; None for a creation or a deletion."""
        if old:
            self._taken -= _node_ports(old)
        if service:
            self._taken |= _node_ports(service)


def _requested(number: int, ports: list[Document]) -> int | None:
    """Return the node port that some port of this number asks for."""
    return next((number_at(each, "nodePort") for each in ports if number_at(each, "port") == number), None)


class Allocators:
    """Everything a Service is given by the server."""

    def __init__(self, ranges: tuple[Prefix, ...], chance: Chance, stored: Iterable[Document] = ()) -> None:
        self.addresses = ClusterAddresses(ranges, chance)
        self.node_ports = NodePorts(chance)
        for service in stored:
            self.commit(service, None)

    def allocate(self, service: Document, old: Document | None) -> FieldError | None:
        """Fill in addresses and ports of a service about to be stored; return the first thing that cannot be had.

        Raises AllocationFailedError where upstream answers with 500.
        """
        return self.addresses.allocate(service, old) or self.node_ports.allocate(service, old)

    def commit(self, service: Document | None, old: Document | None) -> None:
        """Take over what was stored: `service` in place of `old`; None for a creation or a deletion."""
        self.addresses.commit(service, old)
        self.node_ports.commit(service, old)

    def release(self, service: Document) -> None:
        """Give back what a deleted service had."""
        self.commit(None, service)
