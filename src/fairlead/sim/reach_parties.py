"""Who can be told apart: pods alike in every policy's eyes make a party, and so do addresses outside the cluster.

Comes in: pods with their workloads' names, and the address blocks policies ask about. Goes out: parties. Source: the
splitting of outside addresses follows np-guard's netpol-analyzer, whose users know it.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping

from msgspec import Struct

from fairlead.model.policies import AddressBlock, PolicyPod
from fairlead.net import Address, Family, Prefix

EXTERNAL = "[External]"
"""What names of addresses outside end in."""
_SHOWN_RANGES = 3


class Party(Struct, frozen=True):
    """Ends of connections that no policy tells apart: `pods` pods like `pod`, or, without one, outside addresses."""

    name: str
    pod: PolicyPod | None
    pods: int
    blocks: frozenset[AddressBlock]
    """The blocks it is in."""
    sample: Address = Address(bytes(Family.IPV4.size))
    """One of its addresses."""
    workload: str = ""
    """What its pods belong to: the name without the number that tells it from others of the same."""


class AddressSpace:
    """The addresses of both families, cut where blocks begin and end."""

    def __init__(self, blocks: Iterable[AddressBlock]) -> None:
        self._starts: dict[Family, list[int]] = {}
        self._held: dict[Family, list[frozenset[AddressBlock]]] = {}
        by_family: dict[Family, set[AddressBlock]] = {family: set() for family in Family}
        for block in blocks:
            by_family[block.prefix.family].add(block)
        for family, own in by_family.items():
            self._cut(family, own)

    def blocks_of(self, address: Address) -> frozenset[AddressBlock]:
        """The blocks an address is in."""
        starts = self._starts[address.family]
        return self._held[address.family][bisect_right(starts, int.from_bytes(address.packed, "big")) - 1]

    def outside(self) -> list[Party]:
        """The parties of all addresses, alike ones together."""
        ranges: dict[frozenset[AddressBlock], list[tuple[Family, int, int]]] = {}
        for family, starts in self._starts.items():
            end = 1 << (8 * family.size)
            for first, after, held in zip(starts, [*starts[1:], end], self._held[family], strict=True):
                ranges.setdefault(held, []).append((family, first, after - 1))
        return [
            Party(_spell_ranges(found, held), None, 0, held, _first(*found[0][:2])) for held, found in ranges.items()
        ]

    def _cut(self, family: Family, blocks: Iterable[AddressBlock]) -> None:
        """Sweep over the beginnings and ends of blocks and their exceptions."""
        size = 8 * family.size
        edges: dict[int, list[tuple[AddressBlock, int]]] = {0: []}
        for block in blocks:
            for prefix, weight in ((block.prefix, 1), *((each, -1) for each in block.exceptions)):
                first = int.from_bytes(prefix.address.packed, "big")
                edges.setdefault(first, []).append((block, weight))
                edges.setdefault(first + (1 << (size - prefix.length)), []).append((block, -weight))
        depth: dict[AddressBlock, int] = {}
        starts: list[int] = []
        held: list[frozenset[AddressBlock]] = []
        for at in sorted(edges):
            if at >= 1 << size:
                break
            for block, weight in edges[at]:
                depth[block] = depth.get(block, 0) + weight
                if not depth[block]:
                    del depth[block]
            now = frozenset(block for block, weight in depth.items() if weight > 0)
            if not held or held[-1] != now:
                starts.append(at)
                held.append(now)
        self._starts[family], self._held[family] = starts, held


def _first(family: Family, number: int) -> Address:
    return Address(number.to_bytes(family.size, "big"))


def gather_parties(pods: Mapping[str, Iterable[PolicyPod]], space: AddressSpace) -> list[Party]:
    """Return the parties of workloads by name; pods of one workload that policies tell apart are numbered."""
    parties: list[Party] = []
    for name, members in sorted(pods.items()):
        alike: dict[tuple[object, ...], list[PolicyPod]] = {}
        held: dict[tuple[object, ...], frozenset[AddressBlock]] = {}
        for pod in members:
            blocks = frozenset(block for address in pod.addresses for block in space.blocks_of(address))
            key = pod.labels, pod.ports, blocks
            alike.setdefault(key, []).append(pod)
            held[key] = blocks
        for number, (key, found) in enumerate(alike.items(), 1):
            suffix = f"#{number}" if len(alike) > 1 else ""
            parties.append(Party(name + suffix, found[0], len(found), held[key], workload=name))
    return parties


def _spell_ranges(ranges: list[tuple[Family, int, int]], held: frozenset[AddressBlock]) -> str:
    """Ranges as people write them; those in no block are what is left."""
    if not held:
        whole = len(ranges) == len(Family) and all(first == 0 for _, first, _ in ranges)
        return f"everywhere{EXTERNAL}" if whole else f"elsewhere{EXTERNAL}"
    shown = [_spell_range(*each) for each in ranges[:_SHOWN_RANGES]]
    more = f" and {len(ranges) - _SHOWN_RANGES} more" if len(ranges) > _SHOWN_RANGES else ""
    return " ".join(shown) + more + EXTERNAL


def _spell_range(family: Family, first: int, last: int) -> str:
    size = last - first + 1
    if size & (size - 1) == 0 and first % size == 0:
        return str(Prefix(Address(first.to_bytes(family.size, "big")), 8 * family.size - size.bit_length() + 1))
    low, high = (Address(each.to_bytes(family.size, "big")) for each in (first, last))
    return f"{low}-{high}"
