"""Addresses of external names: which are wanted comes in, addresses go out, asked for again every few seconds.

The resolver is the pod's own. A name that cannot be resolved keeps the addresses it had.
"""

import asyncio
import socket
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from fairlead.agents.lines import log
from fairlead.net import Address, parse_address

_SECONDS = 5.0

Put = Callable[[str, tuple[Address, ...]], None]


class ExternalNames:
    """Resolves the wanted names. `put` is told of addresses, then `news` is called."""

    def __init__(self, put: Put, news: Callable[[], None]) -> None:
        self._put = put
        self._news = news
        self._wanted: frozenset[str] = frozenset()
        self._known: dict[str, tuple[Address, ...]] = {}
        self._some = asyncio.Event()

    def want(self, names: AbstractSet[str]) -> None:
        """Set which names are wanted."""
        if names - self._wanted:
            self._some.set()
        self._wanted = frozenset(names)

    async def run(self) -> None:
        """Resolve for ever."""
        while True:
            self._some.clear()
            for name in sorted(self._wanted):
                await self._resolve(name)
            try:
                async with asyncio.timeout(_SECONDS if self._wanted else None):
                    await self._some.wait()
            except TimeoutError:
                continue

    async def _resolve(self, name: str) -> None:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except OSError as error:
            if self._known.setdefault(name, ()) == ():
                log(event="unresolved", name=name, error=error.strerror or str(error))
            return
        addresses = tuple(sorted({parse_address(str(each[4][0]).partition("%")[0]) for each in found}))
        if self._known.get(name) != addresses:
            self._known[name] = addresses
            self._put(name, addresses)
            self._news()
