"""The free addresses of one pool and family: which one to give next.

Comes in: ranges, and which addresses are given back. Goes out: free addresses. Refuses to know who has them. An address
that was never given comes before one that was, and of those the one given back longest ago: whoever still knows the
former owner's address then finds nobody there as long as that is possible.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from fairlead.model import AddressRange
from fairlead.net import Address, Family


class PoolSpace:
    """The addresses of one family of one pool; `taken` says which have an owner."""

    def __init__(self, ranges: Sequence[AddressRange], *, avoid_buggy: bool, taken: Callable[[Address], bool]) -> None:
        self._ranges = tuple(ranges)
        self._avoid_buggy = avoid_buggy
        self._taken = taken
        self._fresh = self._addresses()
        self._returned: deque[Address] = deque()
        self._given: set[Address] = set()
        self.size = sum(self._usable(each) for each in self._ranges)
        """How many addresses there are to give."""

    def gives(self, address: Address) -> bool:
        """Whether an address is one of those to give, free or not."""
        return any(address in each for each in self._ranges) and not (self._avoid_buggy and is_buggy(address))

    def take(self) -> Address | None:
        """Return a free address, None where there is none. It is not given again before it is given back."""
        for address in self._fresh:
            self._given.add(address)
            if not self._taken(address):
                return address
        while self._returned:
            address = self._returned.popleft()
            if address not in self._given and not self._taken(address):
                self._given.add(address)
                return address
        return None

    def give_back(self, address: Address) -> None:
        """Note that an address is free. One that was asked for by name, and not given from here, comes in its turn."""
        if address in self._given:
            self._given.discard(address)
            self._returned.append(address)

    def _addresses(self) -> Iterator[Address]:
        for each in self._ranges:
            address = each.first
            while True:
                if not (self._avoid_buggy and is_buggy(address)):
                    yield address
                if address == each.last:
                    break
                address = address + 1

    def _usable(self, each: AddressRange) -> int:
        first, last = (int.from_bytes(end.packed, "big") for end in (each.first, each.last))
        if not self._avoid_buggy or each.first.family is not Family.IPV4:
            return last - first + 1
        buggy = sum((last - rest) // 256 - (first - 1 - rest) // 256 for rest in (0, 255))
        return last - first + 1 - buggy


def is_buggy(address: Address) -> bool:
    """Whether old equipment takes an address for that of a network or of everybody."""
    return address.family is Family.IPV4 and address.packed[-1] in (0, 255)
