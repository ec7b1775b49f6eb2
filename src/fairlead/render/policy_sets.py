"""The sets of the policy table: those that are always there, and those that profiles ask for.

Comes in: an address family, the terms of profiles. Goes out: definitions with names that say the same for the same
content, and packed rows. Refuses to know rules. A pod is a row with an exact key; intervals are kept for blocks of
addresses and ranges of ports, since the cost of an insertion there grows with their number.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2s

from fairlead.model.policies import AddressBlock, NamedPort, PortRange
from fairlead.model.policy_profiles import Collection, Member, PodEnd
from fairlead.net import Family, Prefix
from fairlead.nft.fields import CT_MARK, CT_PROTOCOL, NFPROTO, ct_address, ct_port, destination_address
from fairlead.nft.objects import AnySet, Element, Map, Set, VerdictMap
from fairlead.render.service_bytes import PORTS

_PROTOCOLS = {number: bytes((number, 0, 0, 0)) for number in range(256)}


class PolicySets:
    """The sets that are always there, and how others are made.

    A connection's ends are those of its tuples in connection tracking: its first source, and who answers. So they are
    the same for every packet of both directions and for errors about it, after the destination was translated and
    whatever becomes of the source.
    """

    def __init__(self, family: Family) -> None:
        self.family = family
        self._opener, self._answerer = ct_address(family, "saddr", 0), ct_address(family, "saddr", 1)
        self._port = ct_port("src", 1)
        self.egress = VerdictMap("egress", (self._opener,))
        self.ingress = VerdictMap("ingress", (self._answerer,))
        self.own = Set("own", (self._opener, self._answerer))
        self.isolated = Set("isolated", (destination_address(family),))
        self.judged = Set("judged", (CT_MARK,))
        self.stamp = Map("stamp", (NFPROTO,), (CT_MARK,))
        self.constant: tuple[AnySet, ...] = (
            self.own,
            self.isolated,
            self.judged,
            self.stamp,
            self.egress,
            self.ingress,
        )

    def of_collection(self, collection: Collection) -> Set:
        """The set of a collection's members."""
        if isinstance(collection, NamedPort):
            protocol = collection.protocol.name.lower() if collection.protocol else "any"
            return Set(f"ends-{protocol}-{collection.name}", (self._answerer, CT_PROTOCOL, self._port))
        where = collection.namespace or "all"
        return Set(f"pods-{where}-{digest(collection)}", (destination_address(self.family),))

    def of_blocks(self, blocks: tuple[AddressBlock, ...]) -> Set:
        """The set of the addresses in any of the blocks."""
        return Set(f"blocks-{digest(blocks)}", (destination_address(self.family),), interval=True)

    def of_ports(self, ports: tuple[PortRange, ...]) -> Set:
        """The set of several ports."""
        ranged = any(each.first != each.last for each in ports)
        return Set(f"ports-{digest(ports)}", (CT_PROTOCOL, self._port), interval=ranged)

    def pack_member(self, member: Member) -> bytes | None:
        """A member's key, None where it is of the other family."""
        address = member.address if isinstance(member, PodEnd) else member
        if len(address.packed) != self.family.size:
            return None
        if isinstance(member, PodEnd):
            return address.packed + _PROTOCOLS[member.protocol] + PORTS[member.port]
        return address.packed

    def pack_members(self, members: Iterable[Member]) -> Iterator[bytes]:
        """The keys of the members in this family."""
        return (packed for member in members if (packed := self.pack_member(member)) is not None)


def digest(value: object) -> str:
    """A short name for a value's content, the same in every process."""
    return blake2s(repr(value).encode(), digest_size=6).hexdigest()


def port_elements(ports: tuple[PortRange, ...]) -> list[Element]:
    """The rows of several ports, of which some may be ranges."""
    ranged = any(each.first != each.last for each in ports)
    found: list[Element] = []
    for each in ports:
        protocol = _PROTOCOLS[each.protocol]
        first, last = protocol + PORTS[each.first], protocol + PORTS[each.last]
        found.append(Element(first, None, last if ranged else None))
    return found


def block_elements(blocks: tuple[AddressBlock, ...], family: Family) -> list[Element]:
    """The rows of the addresses in any of the blocks and of this family, as ranges that do not touch."""
    spans = sorted(span for block in blocks if block.prefix.family is family for span in _spans(block))
    merged: list[tuple[int, int]] = []
    for first, last in spans:
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return [Element(_bytes(first, family), None, _bytes(last, family)) for first, last in merged]


def is_everything(elements: list[Element], family: Family) -> bool:
    """Whether rows hold every address of a family."""
    whole = Element(bytes(family.size), None, b"\xff" * family.size)
    return elements == [whole]


def _spans(block: AddressBlock) -> Iterator[tuple[int, int]]:
    """The block's first and last address, in pieces around its exceptions."""
    start, end = _span(block.prefix)
    for first, last in sorted(_span(each) for each in block.exceptions if each.family is block.prefix.family):
        if last < start or first > end:
            continue
        if first > start:
            yield start, first - 1
        start = max(start, last + 1)
    if start <= end:
        yield start, end


def _span(prefix: Prefix) -> tuple[int, int]:
    first = int.from_bytes(prefix.address.packed, "big")
    return first, first + prefix.size - 1


def _bytes(value: int, family: Family) -> bytes:
    return value.to_bytes(family.size, "big")
