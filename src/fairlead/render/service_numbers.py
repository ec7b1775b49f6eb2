"""The numbers by which rules know Service ports and their backends where clients stay with a backend.

Comes in: the backends of each frontend as they come and go, or the rows a kernel lists. Goes out: a number of 32 bits
for each backend of a port. Refuses to know rules.

A number is two bits that mark it, 15 for the port and 15 for the backend. A backend has one number in all frontends of
its port, and keeps it until none of them has it any more. The next one to come gets another, as long as there are some
that no backend had before.
"""

import sys
from collections.abc import Iterable

from msgspec import Struct, field

from fairlead.model import Backend
from fairlead.render.service_steps import host

MARKED, MARKED_BITS = 0xC000_0000, 0xC000_0000
"""What every number begins with, and the bits that say so."""

PORT_BITS = 0xFFFF_8000
"""The bits of a number that are the same for all backends of a port."""

_SHIFT, _MOST = 15, 0x7FFF


class _PortNumbers(Struct):
    """The numbers of one port: which backend has which, how many frontends there are, and how many have the backend."""

    number: int
    frontends: int = 0
    backends: dict[Backend, int] = field(default_factory=dict[Backend, int])
    taken: set[int] = field(default_factory=set[int])
    uses: dict[Backend, int] = field(default_factory=dict[Backend, int])
    last: int = -1


class AffinityNumbers:
    """The numbers in use."""

    def __init__(self) -> None:
        self._ports: dict[str, _PortNumbers] = {}
        self._taken: set[int] = set()
        self._last = -1

    def pack(self, port: str, backend: Backend) -> bytes:
        """Return a backend's number as registers hold it. The backend must have been taken."""
        found = self._ports[port]
        return host(MARKED | found.number << _SHIFT | found.backends[backend])

    def take(self, port: str, backends: Iterable[Backend]) -> None:
        """Note that one more frontend of a port has these backends."""
        found = self._ports.get(port) or self._add_port(port)
        found.frontends += 1
        for backend in backends:
            if backend not in found.backends:
                assert len(found.taken) < _MOST, f"{port} has more than {_MOST} backends"
                found.last = _next_free(found.last, found.taken)
                found.backends[backend] = found.last
                found.taken.add(found.last)
            found.uses[backend] = found.uses.get(backend, 0) + 1

    def release(self, port: str, backends: Iterable[Backend]) -> None:
        """Note that one frontend less of a port has these backends."""
        found = self._ports[port]
        for backend in backends:
            found.uses[backend] -= 1
            if not found.uses[backend]:
                found.taken.discard(found.backends.pop(backend))
                del found.uses[backend]
        found.frontends -= 1
        if not found.frontends:
            self._taken.discard(found.number)
            del self._ports[port]

    def learn(self, port: str, backend: Backend, packed: bytes) -> None:
        """Give a backend the number it is listed with, before any is taken, unless another has it."""
        number = int.from_bytes(packed, sys.byteorder) & ~MARKED_BITS
        at, code = number >> _SHIFT, number & _MOST
        if port not in self._ports:
            if at in self._taken:
                return
            self._ports[port] = _PortNumbers(at)
            self._taken.add(at)
        found = self._ports[port]
        if found.number == at and backend not in found.backends and code not in found.taken:
            found.backends[backend] = code
            found.taken.add(code)
            found.last = max(found.last, code)

    def _add_port(self, port: str) -> _PortNumbers:
        self._last = _next_free(self._last, self._taken)
        self._taken.add(self._last)
        found = self._ports[port] = _PortNumbers(self._last)
        return found


def _next_free(last: int, taken: set[int]) -> int:
    """Return the next number nobody has, beginning anew behind the last one there is; or just the next one.

    Two ports that share a number only take each other's clients for new ones.
    """
    number = (last + 1) % _MOST
    while number in taken and len(taken) < _MOST:
        number = (number + 1) % _MOST
    return number
