"""From where a Service's load balancer addresses may be reached: `spec.loadBalancerSourceRanges`, in one family.

Comes in: a Service, the node's addresses. Goes out: ranges in order that neither overlap nor touch, or None where
everybody may come. Refuses to know rules. Source: k/pkg/proxy/serviceport.go and nftables/proxier.go.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import ip_interface

from fairlead.kube.core import Service
from fairlead.model import AddressRange
from fairlead.net import Address, Family, Prefix

Sources = tuple[AddressRange, ...]


def compile_sources(
    service: Service, virtual: Sequence[Address], own: Sequence[Address], family: Family
) -> Sources | None:
    """Return the ranges from which the addresses `virtual` may be reached, None for everybody.

    White space around a range is nothing, and so is a range of another family: where a family has none, everybody may
    come by it. Bits behind a prefix are ignored. Where this node is inside, the virtual addresses are too: on a node
    that holds them, its own connections come from them. A range that is none lets nobody in.
    """
    texts = service.spec.load_balancer_source_ranges
    if not texts or service.spec.type != "LoadBalancer":
        return None
    return _compile(texts, tuple(virtual), tuple(own), family)


def unreadable_sources(service: Service) -> tuple[int, ...]:
    """Return the places of ranges that are none."""
    return tuple(at for at, text in enumerate(service.spec.load_balancer_source_ranges) if parse_source(text) is None)


@lru_cache(maxsize=4096)
def parse_source(text: str) -> Prefix | None:
    """Return the range that `text` spells, or None."""
    try:
        network = ip_interface(text.strip()).network
    except ValueError:
        return None
    return Prefix(Address(network.network_address.packed), network.prefixlen)


@lru_cache(maxsize=4096)
def _compile(
    texts: tuple[str, ...], virtual: tuple[Address, ...], own: tuple[Address, ...], family: Family
) -> Sources | None:
    """Many services have the same ranges: they share one value where their addresses are the same too."""
    read = [parse_source(text) for text in texts]
    prefixes = [prefix for prefix in read if prefix is not None and prefix.family is family]
    if any(prefix.length == 0 for prefix in prefixes) or (not prefixes and None not in read):
        return None
    ranges = [AddressRange(prefix.address, prefix.address + (prefix.size - 1)) for prefix in prefixes]
    if any(address in prefix for prefix in prefixes for address in own):
        ranges += [AddressRange(address, address) for address in virtual if address.family is family]
    return merge_ranges(ranges)


def merge_ranges(ranges: Iterable[AddressRange]) -> Sources:
    """Return ranges of one family that hold the same addresses, in order, as few as possible."""
    merged: list[AddressRange] = []
    for each in sorted(ranges):
        if merged and _number(each.first) <= _number(merged[-1].last) + 1:
            merged[-1] = AddressRange(merged[-1].first, max(merged[-1].last, each.last))
        else:
            merged.append(each)
    return tuple(merged)


def _number(address: Address) -> int:
    return int.from_bytes(address.packed, "big")
