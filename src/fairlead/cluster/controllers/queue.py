"""Keyed work: keys come in as often as events happen, each goes out once at a time, later after errors.

Knows nothing of what a key names. The rules are client-go's (util/workqueue): a key added while it waits is one
piece of work, a key added while it is worked on is handed out again afterwards, a failed key waits 5 ms doubling up
to a minute. One rule is our own: a key that keeps coming rests after each round for a multiple of what that round
took, so a burst of events for one big object costs a bounded share of the processor.
"""

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FREE_ROUND = 0.002
"""Seconds a round may take without a rest after it: small objects are followed at once, however often they change."""

FIRST_RETRY = 0.005
LONGEST_RETRY = 60.0


class WorkQueue(Generic[K]):
    """Keys to work on, in order of arrival, none of them twice at the same time.

    `rest` is the pause after a round on a key as a multiple of what that round took beyond FREE_ROUND;
    `longest_rest` bounds it in seconds. Must be made and used inside one running event loop.
    """

    def __init__(self, *, rest: float = 0.0, longest_rest: float = 0.5) -> None:
        self._rest = rest
        self._longest_rest = longest_rest
        self._ready: deque[K] = deque()
        self._waiting: set[K] = set()
        self._running: dict[K, float] = {}
        self._again: set[K] = set()
        self._resting: dict[K, float] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        """How many keys wait or are worked on, those due later not counted."""
        return len(self._waiting) + len(self._running)

    def add(self, key: K) -> None:
        """Ask for work on `key` as soon as its rest is over; asking again before that changes nothing."""
        if key in self._running:
            self._again.add(key)
        elif key not in self._waiting:
            pause = self._resting.get(key, 0.0) - _now()
            if pause > 0:
                self.add_after(key, pause)
            else:
                self._hand_out(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for work on `key` in `seconds`; of several such requests the earliest counts."""
        due = _now() + seconds
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_at(due, self._on_time, key)

    def _on_time(self, key: K) -> None:
        self._timers.pop(key, None)
        if key in self._running:
            self._again.add(key)
        elif key not in self._waiting:
            self._hand_out(key)

    def _hand_out(self, key: K) -> None:
        self._waiting.add(key)
        self._ready.append(key)
        self._wake.set()

    async def get(self) -> K:
        """The next key. Whoever gets it must call `done` with it."""
        while not self._ready:
            self._wake.clear()
            await self._wake.wait()
        key = self._ready.popleft()
        self._waiting.discard(key)
        self._resting.pop(key, None)
        self._running[key] = _now()
        return key

    def done(self, key: K) -> None:
        """Tell that the round on `key` is over."""
        now = _now()
        took = now - self._running.pop(key)
        pause = min(self._rest * (took - FREE_ROUND), self._longest_rest)
        if pause > 0:
            self._resting[key] = now + pause
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        elif len(self._resting) > 1000:
            self._resting = {k: until for k, until in self._resting.items() if until > now}

    def retry(self, key: K) -> float:
        """Ask for work on `key` after a pause that doubles with each failure in a row; return that pause in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        pause = min(FIRST_RETRY * 2 ** min(failures, 30), LONGEST_RETRY)
        self.add_after(key, pause)
        return pause

    def forget(self, key: K) -> None:
        """Forget the failures of `key`: its work succeeded."""
        self._failures.pop(key, None)


def _now() -> float:
    return asyncio.get_running_loop().time()
