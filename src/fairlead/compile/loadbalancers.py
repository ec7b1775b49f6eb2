"""One Service of type LoadBalancer to what it wants of pools, and to the addresses it holds.

Comes in: a Service. Goes out: a wish, findings, and the allocation its status tells of. Refuses to know pools and other
Services. Source: MetalLB's controller (convergeBalancer) and its annotations, core/v1 types.go.
"""

from collections.abc import Iterable, Sequence

from fairlead.compile.policies import compile_selector
from fairlead.compile.policy_groups import passes
from fairlead.kube.core import Service
from fairlead.kube.meta import LabelSelector
from fairlead.kube.metallb import BGPAdvertisement, L2Advertisement
from fairlead.model import Finding, Origin, Severity
from fairlead.model.loadbalancers import Allocation, Pool, PortUse, Provider, ServiceKey, Wish
from fairlead.net import Address, Family, Port, parse_address, parse_protocol

PREFIX, OLD_PREFIX = "metallb.io/", "metallb.universe.tf/"
POOL, ADDRESSES, SHARE, FROM_POOL = "address-pool", "loadBalancerIPs", "allow-shared-ip", "ip-allocated-from-pool"
CLASSES = {f"fairlead.dev/{provider.value}": provider for provider in Provider}
"""The values of spec.loadBalancerClass that name a provider."""


def is_ours(service: Service, classes: frozenset[str] = frozenset()) -> bool:
    """Whether a Service asks this controller for addresses: it names no class, one of ours, or one of `classes`.

    Where `classes` are given, a Service that names none is somebody else's (MetalLB's --lb-class).
    """
    named = service.spec.load_balancer_class
    if service.spec.type != "LoadBalancer":
        return False
    return named in CLASSES or (named in classes if classes else not named)


def annotation(service: Service, name: str) -> str:
    """The value of one of MetalLB's annotations, the newer spelling first; empty where it has none."""
    annotations = service.metadata.annotations
    return annotations.get(PREFIX + name) or annotations.get(OLD_PREFIX + name) or ""


def compile_wish(service: Service) -> tuple[Wish, tuple[Finding, ...]]:
    """Return what a Service of type LoadBalancer wants, and what in it makes no sense."""
    spec, meta = service.spec, service.metadata
    families = _families(service)
    asked, where = _asked(service)
    findings: list[Finding] = []

    def tell(field: str, message: str, remedy: str) -> None:
        findings.append(Finding(Severity.ERROR, Origin("Service", meta.namespace, meta.name, field), message, remedy))

    addresses: list[Address] = []
    for text in asked:
        try:
            addresses.append(parse_address(text))
        except ValueError:
            tell(where, f"{text!r} is no address", "write it as 203.0.113.10")
    asked_families = [address.family for address in addresses]
    if not findings and len(set(asked_families)) < len(asked_families):
        tell(where, f"asks for two addresses of one family: {', '.join(asked)}", "ask for one of each family")
    if not findings and addresses and not set(asked_families) <= set(families):
        has = " and ".join(family.value for family in families)
        tell(where, f"asks for {', '.join(asked)}, but the Service is {has}", "set spec.ipFamilies to match")
    local = spec.external_traffic_policy == "Local"
    ports = frozenset(PortUse(parse_protocol(port.protocol), Port(port.port)) for port in spec.ports)
    return Wish(
        service=ServiceKey(meta.namespace, meta.name),
        created=meta.creation_timestamp or "",
        families=families,
        flexible=spec.ip_family_policy == "PreferDualStack",
        addresses=() if findings else tuple(sorted(addresses, key=lambda address: families.index(address.family))),
        pool=annotation(service, POOL),
        sharing=annotation(service, SHARE),
        behind=_selector_text(spec.selector) if local else "",
        ports=ports,
        labels=frozenset(meta.labels.items()),
        held=held_addresses(service),
        held_from=annotation(service, FROM_POOL),
        wrong="; ".join(finding.message for finding in findings),
    ), tuple(findings)


def held_addresses(service: Service) -> tuple[Address, ...]:
    """The addresses a Service's status has."""
    found: list[Address] = []
    for each in service.status.load_balancer.ingress:
        try:
            found.append(parse_address(each.ip))
        except ValueError:
            continue
    return tuple(found)


def allocation_of(
    service: Service,
    pools: Sequence[Pool],
    l2: Iterable[L2Advertisement],
    bgp: Iterable[BGPAdvertisement],
    default: Provider | None,
) -> Allocation | None:
    """Return what addresses a Service has, as its status says, and who brings traffic there; None where it has none."""
    addresses = held_addresses(service)
    if not addresses or service.spec.type != "LoadBalancer":
        return None
    pool = next((each for each in pools if all(each.holds(address) for address in addresses)), None)
    meta = service.metadata
    named = service.spec.load_balancer_class or ""
    return Allocation(
        service=ServiceKey(meta.namespace, meta.name),
        addresses=addresses,
        pool=pool.name if pool else "",
        providers=choose_providers(named, pool, meta.labels, l2, bgp, default),
    )


def choose_providers(
    named: str,
    pool: Pool | None,
    labels: dict[str, str],
    l2: Iterable[L2Advertisement],
    bgp: Iterable[BGPAdvertisement],
    default: Provider | None,
) -> tuple[Provider, ...]:
    """Return who brings traffic to a Service: by its class, else by the advertisements for its pool, else `default`."""
    if named in CLASSES:
        return (CLASSES[named],)
    found: list[Provider] = []
    if pool is not None:
        if any(advertises(each, pool, labels) for each in l2):
            found.append(Provider.L2)
        if any(advertises(each, pool, labels) for each in bgp):
            found.append(Provider.BGP)
    return tuple(found) or ((default,) if default is not None else ())


def advertises(advertisement: L2Advertisement | BGPAdvertisement, pool: Pool, labels: dict[str, str]) -> bool:
    """Whether an advertisement is for a pool, and for Services with these labels.

    One that names no pool and selects none is for all. A selector that cannot be understood selects nothing.
    """
    spec = advertisement.spec
    everywhere = not spec.ip_address_pools and not spec.ip_address_pool_selectors
    named = everywhere or pool.name in spec.ip_address_pools
    if not named and not selects(spec.ip_address_pool_selectors, dict(pool.labels)):
        return False
    return not spec.service_selectors or selects(spec.service_selectors, labels)


def selects(selectors: Sequence[LabelSelector], labels: dict[str, str]) -> bool:
    """Whether any of the selectors matches; one that cannot be understood does not."""
    for each in selectors:
        try:
            tests = compile_selector(each)
        except ValueError:
            continue
        if passes(tests, labels):
            return True
    return False


def _families(service: Service) -> tuple[Family, ...]:
    """The families in the Service's order; those of its cluster addresses where it does not say."""
    named = tuple(family for each in service.spec.ip_families for family in Family if family.value == each)
    if named:
        return named
    found: list[Family] = []
    for text in service.spec.cluster_ips or (service.spec.cluster_ip,):
        try:
            found.append(parse_address(text).family)
        except ValueError:
            continue
    return tuple(dict.fromkeys(found)) or (Family.IPV4,)


def _asked(service: Service) -> tuple[tuple[str, ...], str]:
    """The addresses asked for, and in which field; the annotation counts more than the deprecated field."""
    listed = annotation(service, ADDRESSES)
    if listed:
        return tuple(part.strip() for part in listed.split(",") if part.strip()), f"metadata.annotations[{ADDRESSES}]"
    single = service.spec.load_balancer_ip
    return ((single,) if single else ()), "spec.loadBalancerIP"


def _selector_text(selector: dict[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
