"""Pauses between attempts: they grow, and no two clients keep step.

Comes in: nothing but chance and time. Goes out: seconds to wait. Refuses to know what is attempted.
"""

import random
from collections.abc import Callable


class BackOff:
    """Pauses that double from `first` to `longest` seconds, each spread by half to both sides."""

    def __init__(self, first: float, longest: float, chance: Callable[[], float] = random.random) -> None:
        self._first, self._longest, self._chance = first, longest, chance
        self._next = first

    def pause(self) -> float:
        """The seconds to wait before the next attempt, which is taken to fail like the last one."""
        pause = self._next
        self._next = min(pause * 2, self._longest)
        return pause * (0.5 + self._chance())

    def reset(self) -> None:
        """Note a success: the next pause is a short one."""
        self._next = self._first
