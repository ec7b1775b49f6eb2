"""IPAddressPools to pools of addresses.

Comes in: the objects. Goes out: pools, or what is wrong with them; the caller then keeps the pools it has. Refuses to
know which addresses are in use. Source: MetalLB's internal/config (parsePools, parseCIDR).
"""

from collections.abc import Iterable, Sequence
from ipaddress import ip_network

from fairlead.compile.policies import compile_selector
from fairlead.compile.sources import merge_ranges
from fairlead.kube.meta import LabelSelector
from fairlead.kube.metallb import IPAddressPool, ServiceAllocation
from fairlead.model import AddressRange, Finding, Origin, Severity
from fairlead.model.loadbalancers import Audience, Pool, Selector
from fairlead.net import Address, Family, parse_address

KIND = "IPAddressPool"


def compile_pools(objects: Iterable[IPAddressPool]) -> tuple[tuple[Pool, ...], tuple[Finding, ...]]:
    """Return the pools in the order of their names, and what is wrong. With an error none of them is to be used."""
    pools: list[Pool] = []
    findings: list[Finding] = []
    for each in sorted(objects, key=lambda pool: (pool.metadata.name, pool.metadata.namespace)):
        pool, found = compile_pool(each)
        findings += found
        if pool is not None:
            pools.append(pool)
    findings += _overlaps(pools)
    return tuple(pools), tuple(findings)


def compile_pool(pool: IPAddressPool) -> tuple[Pool | None, tuple[Finding, ...]]:
    """Return one pool, None where something is wrong with it, and what that is."""
    meta, spec = pool.metadata, pool.spec
    findings: list[Finding] = []

    def tell(field: str, message: str, remedy: str) -> None:
        findings.append(Finding(Severity.ERROR, Origin(KIND, meta.namespace, meta.name, field), message, remedy))

    ranges: list[AddressRange] = []
    if not spec.addresses:
        tell("spec.addresses", "the pool has no addresses", "give a prefix or a range, such as 203.0.113.0/24")
    for index, text in enumerate(spec.addresses):
        try:
            ranges.append(parse_range(text))
        except ValueError as error:
            remedy = "write a prefix such as 203.0.113.0/24, or a range such as 203.0.113.10-203.0.113.20"
            tell(f"spec.addresses[{index}]", str(error), remedy)
    audience = Audience()
    try:
        audience = _audience(spec.service_allocation)
    except ValueError as error:
        tell("spec.serviceAllocation", str(error), "an operator is In, NotIn, Exists or DoesNotExist")
    if findings:
        return None, tuple(findings)
    allocation = spec.service_allocation
    return Pool(
        name=meta.name,
        ranges=join_ranges(ranges),
        auto_assign=spec.auto_assign is not False,
        avoid_buggy=spec.avoid_buggy_ips,
        dedicated=allocation is not None,
        priority=(allocation.priority or None) if allocation else None,
        audience=audience,
        labels=frozenset(meta.labels.items()),
        origin=Origin(KIND, meta.namespace, meta.name),
    ), ()


def parse_range(text: str) -> AddressRange:
    """Return the addresses that a text spells: a prefix, one address, or `FIRST-LAST`. Raises ValueError.

    Bits behind a prefix are ignored.
    """
    first, dash, last = (part.strip() for part in text.partition("-"))
    try:
        if dash:
            ends = AddressRange(parse_address(first), parse_address(last))
        else:
            network = ip_network(first, strict=False)
            ends = AddressRange(Address(network.network_address.packed), Address(network.broadcast_address.packed))
    except ValueError:
        raise ValueError(f"{text!r} is no prefix and no range of addresses") from None
    if ends.first.family is not ends.last.family:
        raise ValueError(f"{text!r} begins and ends in different families")
    if ends.last < ends.first:
        raise ValueError(f"{text!r} ends before it begins")
    return ends


def join_ranges(ranges: Iterable[AddressRange]) -> tuple[AddressRange, ...]:
    """Return the same addresses in as few ranges as possible, IPv4 before IPv6."""
    given = tuple(ranges)
    return tuple(
        joined for family in Family for joined in merge_ranges(each for each in given if each.first.family is family)
    )


def _audience(allocation: ServiceAllocation | None) -> Audience:
    if allocation is None:
        return Audience()
    return Audience(
        namespaces=frozenset(allocation.namespaces),
        namespace_selectors=_selectors(allocation.namespace_selectors),
        service_selectors=_selectors(allocation.service_selectors),
    )


def _selectors(selectors: Sequence[LabelSelector]) -> tuple[Selector, ...]:
    """Raises ValueError for an unknown operator."""
    return tuple(map(compile_selector, selectors))


def _overlaps(pools: Sequence[Pool]) -> list[Finding]:
    """An address that two pools hold has no one pool to come from."""
    held = sorted(((each, pool) for pool in pools for each in pool.ranges), key=lambda held: _key(held[0]))
    found: list[Finding] = []
    widest = held[0] if held else None
    for each, pool in held[1:]:
        assert widest is not None
        before, other = widest
        if before.first.family is each.first.family and each.first <= before.last:
            message = f"{spell_range(each)} overlaps with {spell_range(before)} of the pool {other.name}"
            remedy = "take the common addresses out of one of the two; until then the last good pools stay in use"
            origin = Origin(KIND, pool.origin.namespace, pool.name, "spec.addresses")
            found.append(Finding(Severity.ERROR, origin, message, remedy))
        if before.first.family is not each.first.family or before.last < each.last:
            widest = (each, pool)
    return found


def _key(each: AddressRange) -> tuple[int, bytes]:
    return len(each.first.packed), each.first.packed


def spell_range(each: AddressRange) -> str:
    """Return a range as a pool spells it."""
    return str(each.first) if each.first == each.last else f"{each.first}-{each.last}"
