"""Looks at what pods use, only when somebody asks: counters of the kubelet come in, rates go out.

The first to ask waits a moment for a second look; who asks again within the resolution gets the same answer. Nothing
runs and nothing is kept while nobody asks.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Generic, TypeVar

import aiohttp
import msgspec

from fairlead.cluster.metrics.rates import Rates, rates_between
from fairlead.cluster.metrics.usage import Usage
from fairlead.drivers.errors import FairleadError

_SOON = 1.0  # seconds between the first two looks
_STALE = 4  # resolutions after which a look is too old to begin a window with
_EARLY = 0.9  # who asks once a resolution finds a new answer, although no clock is exact
_PATIENCE = aiohttp.ClientTimeout(total=5)

T = TypeVar("T")
R = TypeVar("R")


class Paired(Generic[T, R]):
    """Makes answers of pairs of looks; `at_of` gives the time of a look in seconds."""

    def __init__(
        self,
        look: Callable[[], Awaitable[T]],
        combine: Callable[[T, T], R],
        at_of: Callable[[T], float],
        resolution: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._look = look
        self._combine = combine
        self._at_of = at_of
        self._resolution = resolution
        self._clock = clock
        self._last: T | None = None
        self._answer: R | None = None
        self._busy = asyncio.Lock()

    async def get(self) -> R:
        """Return an answer that is no older than the resolution. Raises FairleadError where no look can be had."""
        async with self._busy:
            last, now = self._last, self._clock()
            age = now - self._at_of(last) if last is not None else None
            if self._answer is not None and age is not None and 0 <= age < self._resolution * _EARLY:
                return self._answer
            if last is None or age is None or not 0 <= age <= self._resolution * _STALE:
                last = await self._look()
                await asyncio.sleep(min(_SOON, self._resolution))
            latest = await self._look()
            self._last, self._answer = latest, self._combine(last, latest)
            return self._answer


def pod_rates(socket: Path, resolution: float) -> Paired[Usage, Rates]:
    """Return what asks the kubelet that listens on `socket`."""

    async def look() -> Usage:
        return await ask_usage(socket)

    return Paired(look, rates_between, lambda usage: usage.at, resolution)


async def ask_usage(socket: Path) -> Usage:
    """Ask the kubelet what its pods have used so far. Raises FairleadError."""
    connector = aiohttp.UnixConnector(str(socket))
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=_PATIENCE) as session,
            session.get("http://kubelet/usage") as answer,
        ):
            return msgspec.json.decode(await answer.read(), type=Usage)
    except (aiohttp.ClientError, OSError, TimeoutError, msgspec.MsgspecError) as error:
        raise FairleadError(f"the kubelet does not say what pods use: {error}", "see the log of kubelet") from error
