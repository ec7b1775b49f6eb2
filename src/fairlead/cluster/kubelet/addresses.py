"""Pod addresses of one node: given out in turn, so that an address that was let go rests as long as possible.

Comes in: the node's pod prefix, and addresses that are wanted or let go. Goes out: addresses. Pure.
"""

from fairlead.net import Address, Prefix

_FIRST = 2  # the network's own address and the first one are left out, as bridges and routers use them


class AddressPool:
    """The addresses of a prefix, without its first two and its last."""

    def __init__(self, prefix: Prefix) -> None:
        self._prefix = prefix
        self._last = min(prefix.size - 2, 1 << 20)
        self._next = _FIRST
        self._taken: set[Address] = set()

    def take(self, wanted: Address | None = None) -> Address | None:
        """Take `wanted` if it is free, or else the next one in turn; None when all are taken."""
        if wanted is not None and wanted in self._prefix and wanted not in self._taken:
            self._taken.add(wanted)
            return wanted
        for _ in range(_FIRST, self._last + 1):
            candidate = self._prefix.address + self._next
            self._next = _FIRST if self._next >= self._last else self._next + 1
            if candidate not in self._taken:
                self._taken.add(candidate)
                return candidate
        return None

    def let_go(self, address: Address) -> None:
        """Make an address free again."""
        self._taken.discard(address)
