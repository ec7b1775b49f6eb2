"""Numbers given out once: the addresses of a range, the ports of a range, as who asks for none gets one that is
free.

In: a range, what is taken, and a source of chance. Out: a free number. Two bands as upstream
(k8s.io/kubernetes/pkg/registry/core/service/{ip,port}allocator): the lower is left to those who ask for a number of
their own, and used for the others only when the upper is full.
"""

from collections.abc import Callable, Container

from msgspec import Struct

Chance = Callable[[int], int]
"""Returns a whole number from 0 up to, not including, its argument."""


class Pool(Struct, frozen=True, kw_only=True):
    """The numbers from `first` on, `size` of them, of which the lowest `reserved` are given out last."""

    first: int
    size: int
    reserved: int

    def __contains__(self, number: int) -> bool:
        return self.first <= number < self.first + self.size

    def free(self, taken: Container[int], chance: Chance) -> int | None:
        """Return a number that is not taken, by chance within its band; None if all are."""
        upper = _free(self.first + self.reserved, self.size - self.reserved, taken, chance)
        return upper if upper is not None else _free(self.first, self.reserved, taken, chance)


def _free(first: int, size: int, taken: Container[int], chance: Chance) -> int | None:
    """Return the first free number of a band at or after a place that chance picks, going round at the end."""
    if size <= 0:
        return None
    start = chance(size)
    for number in range(first + start, first + size):
        if number not in taken:
            return number
    return next((number for number in range(first, first + start) if number not in taken), None)


def address_pool(network: int, size: int, *, ipv4: bool) -> Pool:
    """Return the pool of a range of addresses: without its own address and, in IPv4, its broadcast address."""
    usable = size - (2 if ipv4 else 1)
    reserved = 0 if usable <= 16 else min(max(16, size // 16), 256)
    return Pool(first=network + 1, size=usable, reserved=reserved)


def port_pool(first: int, last: int) -> Pool:
    """Return the pool of the ports from `first` to `last`, both included."""
    size = last - first + 1
    reserved = 0 if size < 32 else min(max(16, size // 32), 128)
    return Pool(first=first, size=size, reserved=reserved)
