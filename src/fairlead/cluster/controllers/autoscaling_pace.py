"""How fast a workload is scaled: recommendations and earlier scalings come in, the replicas to have now go out.

`settle` gives what to do and what to remember, `note_scaling` what was done. Source:
k8s.io/kubernetes/pkg/controller/podautoscaler/horizontal.go (stabilizeRecommendationWithBehaviors,
convertDesiredReplicasWithBehaviorRate) and KEP-853. Knows no metrics.
"""

import math
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace


class Unit(Enum):
    """What the value of a policy counts."""

    PODS = "Pods"
    PERCENT = "Percent"


class Selection(Enum):
    """Which of several policies holds: the one of the greatest change, of the smallest, or none at all."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class Policy(Struct, frozen=True):
    """So much change in so many seconds."""

    unit: Unit
    value: int
    period: float


class Rules(Struct, frozen=True, kw_only=True):
    """One direction: its policies, and the seconds whose recommendations count."""

    policies: tuple[Policy, ...]
    window: float
    select: Selection = Selection.MAX


UP = Rules(policies=(Policy(Unit.PODS, 4, 15.0), Policy(Unit.PERCENT, 100, 15.0)), window=0.0)
DOWN = Rules(policies=(Policy(Unit.PERCENT, 100, 15.0),), window=300.0)
"""What holds where an autoscaler says nothing."""


class Bounds(Struct, frozen=True, kw_only=True):
    """What an autoscaler allows."""

    least: int = 1
    most: int
    up: Rules = UP
    down: Rules = DOWN


class Moment(Struct, frozen=True):
    """A number and when it was: a recommendation, or by how much was scaled."""

    at: float
    count: int


class History(Struct, frozen=True):
    """What is remembered: recommendations, and scalings up and down by how much."""

    recommended: tuple[Moment, ...] = ()
    up: tuple[Moment, ...] = ()
    down: tuple[Moment, ...] = ()


class Limit(Enum):
    """Why not more, or not less; the reasons of the condition ScalingLimited."""

    NONE = "DesiredWithinRange"
    UP = "ScaleUpLimit"
    DOWN = "ScaleDownLimit"
    MOST = "TooManyReplicas"
    LEAST = "TooFewReplicas"


class Settled(Struct, frozen=True, kw_only=True):
    """The replicas to have now, what held them back, and what to remember; `stabilized` before any limit."""

    replicas: int
    stabilized: int
    limit: Limit
    history: History


def settle(bounds: Bounds, history: History, current: int, recommended: int, now: float) -> Settled:
    """Return what becomes of a recommendation. Scaling is remembered by `note_scaling`, once it was written."""
    longest = max(bounds.up.window, bounds.down.window)
    kept = (*(each for each in history.recommended if each.at > now - longest), Moment(now, recommended))
    stabilized = _stabilize(bounds, kept, current, recommended, now)
    replicas, limit = _limit(bounds, history, current, stabilized, now)
    return Settled(replicas=replicas, stabilized=stabilized, limit=limit, history=replace(history, recommended=kept))


def settle_plainly(
    least: int, most: int, window: float, history: History, current: int, recommended: int, now: float
) -> Settled:
    """As `settle`, for an autoscaler without a behavior: at most twice the replicas, or four, at a time; down to the
    highest recommendation of the window (normalizeDesiredReplicas).
    """
    kept = (*(each for each in history.recommended if each.at > now - window), Moment(now, recommended))
    stabilized = max(each.count for each in kept)
    reach = max(2 * current, 4)
    highest, why = (reach, Limit.UP) if most > reach else (most, Limit.MOST)
    replicas, limit = stabilized, Limit.NONE
    if stabilized < least:
        replicas, limit = least, Limit.LEAST
    elif stabilized > highest:
        replicas, limit = highest, why
    return Settled(replicas=replicas, stabilized=stabilized, limit=limit, history=replace(history, recommended=kept))


def note_scaling(bounds: Bounds, history: History, before: int, after: int, now: float) -> History:
    """Remember that `before` became `after`, and forget what no policy asks for any longer."""
    up, down = _recent(history.up, bounds.up, bounds.down, now), _recent(history.down, bounds.up, bounds.down, now)
    if after > before:
        up = (*up, Moment(now, after - before))
    elif after < before:
        down = (*down, Moment(now, before - after))
    return replace(history, up=up, down=down)


def _recent(moments: tuple[Moment, ...], up: Rules, down: Rules, now: float) -> tuple[Moment, ...]:
    longest = max((each.period for each in (*up.policies, *down.policies)), default=0.0)
    return tuple(each for each in moments if each.at > now - longest)


def _stabilize(bounds: Bounds, kept: tuple[Moment, ...], current: int, recommended: int, now: float) -> int:
    """Up to the lowest of the upward window, down to the highest of the downward one."""
    ups = [each.count for each in kept if each.at > now - bounds.up.window]
    downs = [each.count for each in kept if each.at > now - bounds.down.window]
    lowest, highest = min((recommended, *ups)), max((recommended, *downs))
    return min(max(current, lowest), highest)


def _limit(bounds: Bounds, history: History, current: int, wanted: int, now: float) -> tuple[int, Limit]:
    if wanted > current:
        pace = max(current, _reach_up(bounds.up, history, current, now))
        most, why = (pace, Limit.UP) if bounds.most > pace else (bounds.most, Limit.MOST)
        return (most, why) if wanted > most else (wanted, Limit.NONE)
    if wanted < current:
        pace = min(current, _reach_down(bounds.down, history, current, now))
        least, why = (pace, Limit.DOWN) if bounds.least < pace else (bounds.least, Limit.LEAST)
        return (least, why) if wanted < least else (wanted, Limit.NONE)
    return current, Limit.NONE


def _reach_up(rules: Rules, history: History, current: int, now: float) -> int:
    if rules.select is Selection.DISABLED or not rules.policies:
        return current
    reaches = [
        first + each.value if each.unit is Unit.PODS else -(-first * (100 + each.value) // 100)
        for each in rules.policies
        for first in (_before(history, current, now - each.period),)
    ]
    return max(reaches) if rules.select is Selection.MAX else min(reaches)


def _reach_down(rules: Rules, history: History, current: int, now: float) -> int:
    if rules.select is Selection.DISABLED or not rules.policies:
        return current
    reaches = [
        first - each.value if each.unit is Unit.PODS else math.trunc(first * (100 - each.value) / 100)
        for each in rules.policies
        for first in (_before(history, current, now - each.period),)
    ]
    return min(reaches) if rules.select is Selection.MAX else max(reaches)


def _before(history: History, current: int, since: float) -> int:
    """The replicas at the beginning of a period, by what was scaled in it."""
    added = sum(each.count for each in history.up if each.at > since)
    removed = sum(each.count for each in history.down if each.at > since)
    return current - added + removed
