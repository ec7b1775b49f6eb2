"""The arithmetic of a Deployment: sizes of its ReplicaSets come in, the sizes they should have next go out.

Rules are upstream's (pkg/controller/deployment: rolling.go, sync.go, util/deployment_util.go). Knows no API
objects, no time and no names beyond those it is given.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import ceil, floor

from msgspec import Struct


class Part(Struct, frozen=True, kw_only=True):
    """One ReplicaSet of a Deployment: the size asked for and what its status reports.

    `created` orders parts by age, whatever comparable text it is. `room` is the size of the whole Deployment
    including surge when this part was last sized, None when it never was.
    """

    name: str
    created: str = ""
    size: int = 0
    available: int = 0
    room: int | None = None


class Goal(Struct, frozen=True, kw_only=True):
    """What a Deployment wants of its parts together; `surge` and `unavailable` are numbers of pods."""

    size: int
    surge: int = 0
    unavailable: int = 0

    @property
    def room(self) -> int:
        """The most pods all parts may ask for: nothing at all when the Deployment is scaled to zero."""
        return self.size + self.surge if self.size else 0

    @property
    def floor(self) -> int:
        """The fewest available pods to keep."""
        return self.size - self.unavailable


def resolve_share(value: int | str, of: int, *, round_up: bool) -> int:
    """An IntOrString share of `of`: a number, or a percentage rounded the way asked for. Text without a number is 0."""
    if isinstance(value, int):
        return max(value, 0)
    digits = value.removesuffix("%").strip()
    if not digits.isdigit():
        return 0
    share = Fraction(int(digits) * of, 100)
    return ceil(share) if round_up else floor(share)


def rolling_goal(size: int, max_surge: int | str | None, max_unavailable: int | str | None) -> Goal:
    """The goal of a rolling update; shares default to 25 %, surge rounds up, unavailable down, never both zero."""
    surge = resolve_share("25%" if max_surge is None else max_surge, size, round_up=True)
    unavailable = resolve_share("25%" if max_unavailable is None else max_unavailable, size, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Goal(size=size, surge=surge, unavailable=min(unavailable, size))


def size_new_part(goal: Goal, new_size: int, all_size: int) -> int:
    """How large the new part may become while parts of `all_size` together (itself included) ask for pods."""
    if new_size > goal.size:
        return goal.size
    spare = max(goal.size + goal.surge - all_size, 0)
    return min(new_size + spare, goal.size)


def roll(goal: Goal, new: Part, olds: Sequence[Part]) -> dict[str, int]:
    """The next step of a rolling update: the sizes to change, by name. First the new part grows, then old ones
    shrink.

    Old pods that are not available go first, since they serve nobody; available ones only as far as `goal.floor`
    allows.
    """
    all_size = new.size + sum(old.size for old in olds)
    wanted = size_new_part(goal, new.size, all_size)
    if wanted != new.size:
        return {new.name: wanted}
    removable = all_size - goal.floor - max(new.size - new.available, 0)
    if removable <= 0:
        return {}
    aged = sorted((old for old in olds if old.size > 0), key=_age)
    sizes = {old.name: old.size for old in aged}
    for old in aged:
        unhealthy = min(removable, max(old.size - old.available, 0))
        sizes[old.name] -= unhealthy
        removable -= unhealthy
    spare = new.available + sum(old.available for old in olds) - goal.floor
    for old in aged:
        if spare <= 0:
            break
        taken = min(sizes[old.name], spare)
        sizes[old.name] -= taken
        spare -= taken
    return {old.name: sizes[old.name] for old in aged if sizes[old.name] != old.size}


def rescale(goal: Goal, new: Part | None, olds: Sequence[Part], *, rolling: bool, room_before: int) -> dict[str, int]:
    """The sizes to change when the Deployment's own size changed: all on the only active part, else in proportion.

    `room_before` stands in for parts that do not say what room they were sized for.
    """
    active = [part for part in _all_parts(new, olds) if part.size > 0]
    if len(active) <= 1:
        only = active[0] if active else new or max(olds, key=_age, default=None)
        return {} if only is None or only.size == goal.size else {only.name: goal.size}
    if new is not None and new.size == goal.size and new.available == goal.size:
        return {old.name: 0 for old in olds if old.size > 0}
    return _spread(goal, active, room_before) if rolling else {}


def _spread(goal: Goal, active: list[Part], room_before: int) -> dict[str, int]:
    """Give or take the difference to the room in proportion to the parts' sizes; the largest part takes the
    remainder.
    """
    missing = goal.room - sum(part.size for part in active)
    ordered = sorted(active, key=_age, reverse=missing > 0)
    ordered.sort(key=lambda part: -part.size)
    sizes: dict[str, int] = {}
    given = 0
    for part in ordered:
        change = 0
        if missing != given:
            share, left = _share(goal, part, room_before), missing - given
            change = min(share, left) if missing > 0 else max(share, left)
        sizes[part.name] = part.size + change
        given += change
    largest = ordered[0].name
    sizes[largest] = max(sizes[largest] + missing - given, 0)
    return {part.name: sizes[part.name] for part in ordered if sizes[part.name] != part.size}


def _share(goal: Goal, part: Part, room_before: int) -> int:
    if goal.size == 0:
        return -part.size
    before = part.room if part.room is not None else room_before
    if before <= 0:
        return 0
    grown = Fraction(part.size * (goal.size + goal.surge), before)
    return floor(grown + Fraction(1, 2)) - part.size


def _all_parts(new: Part | None, olds: Iterable[Part]) -> list[Part]:
    return [*olds, new] if new is not None else list(olds)


def _age(part: Part) -> tuple[str, str]:
    return part.created, part.name
