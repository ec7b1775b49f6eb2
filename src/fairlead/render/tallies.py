"""Counts of how often something is used, and what appeared or vanished since last asked."""

from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Tally(Generic[T]):
    """Uses per item. An item is there as long as it has a use."""

    def __init__(self) -> None:
        self._uses: dict[T, int] = {}
        self._before: dict[T, bool] = {}

    def __iter__(self):
        return iter(self._uses)

    def add(self, item: T) -> None:
        """Count one more use."""
        uses = self._uses.get(item, 0)
        if not uses:
            self._before.setdefault(item, False)
        self._uses[item] = uses + 1

    def remove(self, item: T) -> None:
        """Count one use less. Raises KeyError for an item without uses."""
        uses = self._uses[item] - 1
        if uses:
            self._uses[item] = uses
        else:
            self._before.setdefault(item, True)
            del self._uses[item]

    def settle(self) -> tuple[list[T], list[T]]:
        """Return what appeared and what vanished since the last call, each in order of first touch."""
        appeared = [item for item, was in self._before.items() if not was and item in self._uses]
        vanished = [item for item, was in self._before.items() if was and item not in self._uses]
        self._before.clear()
        return appeared, vanished
