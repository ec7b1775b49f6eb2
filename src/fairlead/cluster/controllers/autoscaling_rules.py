"""What an autoscaler asks, as values of the algorithm: a typed object comes in, bounds and tolerances go out. Pure."""

from decimal import Decimal

from msgspec import Struct

from fairlead.cluster.controllers.autoscaling_counts import Start, Tolerance
from fairlead.cluster.controllers.autoscaling_pace import (
    DOWN,
    UP,
    Bounds,
    History,
    Limit,
    Policy,
    Rules,
    Selection,
    Settled,
    Unit,
    settle,
    settle_plainly,
)
from fairlead.kube.autoscaling import HorizontalPodAutoscaler, HPAScalingRules
from fairlead.kube.quantities import parse_quantity


class Settings(Struct, frozen=True, kw_only=True):
    """What kube-controller-manager has flags for, in seconds; the defaults are its own."""

    sync_period: float = 15.0
    downscale_stabilization: float = 300.0
    tolerance: float = 0.1
    start: Start = Start()


def bounds_of(autoscaler: HorizontalPodAutoscaler, settings: Settings) -> Bounds:
    """Return the bounds and the pace."""
    spec = autoscaler.spec
    behavior = spec.behavior
    up, down = (behavior.scale_up, behavior.scale_down) if behavior is not None else (None, None)
    return Bounds(
        least=1 if spec.min_replicas is None else spec.min_replicas,
        most=spec.max_replicas,
        up=_rules(up, UP, 0.0),
        down=_rules(down, DOWN, settings.downscale_stabilization),
    )


def tolerance_of(autoscaler: HorizontalPodAutoscaler, settings: Settings) -> Tolerance:
    """Return the tolerances: the autoscaler's own where it has some (KEP-4951)."""
    behavior = autoscaler.spec.behavior
    up, down = (behavior.scale_up, behavior.scale_down) if behavior is not None else (None, None)
    return Tolerance(up=_tolerance(up, settings), down=_tolerance(down, settings))


def settle_for(
    autoscaler: HorizontalPodAutoscaler,
    settings: Settings,
    history: History,
    current: int,
    recommended: int,
    now: float,
) -> Settled:
    """Return what becomes of a recommendation, by the behavior or, without one, by the flags."""
    bounds = bounds_of(autoscaler, settings)
    if autoscaler.spec.behavior is not None:
        return settle(bounds, history, current, recommended, now)
    window = settings.downscale_stabilization
    return settle_plainly(bounds.least, bounds.most, window, history, current, recommended, now)


LIMITS = {
    Limit.NONE: "the desired count is within the acceptable range",
    Limit.UP: "the desired replica count is increasing faster than the maximum scale rate",
    Limit.DOWN: "the desired replica count is decreasing faster than the maximum scale rate",
    Limit.MOST: "the desired replica count is more than the maximum replica count",
    Limit.LEAST: "the desired replica count is less than the minimum replica count",
}
"""The message of the condition ScalingLimited, by its reason."""


def _rules(asked: HPAScalingRules | None, default: Rules, window: float) -> Rules:
    if asked is None:
        return Rules(policies=default.policies, window=window, select=default.select)
    policies = tuple(Policy(Unit(each.type), each.value, float(each.period_seconds)) for each in asked.policies)
    own = asked.stabilization_window_seconds
    return Rules(
        policies=policies or default.policies,
        window=window if own is None else float(own),
        select=Selection(asked.select_policy or "Max"),
    )


def _tolerance(rules: HPAScalingRules | None, settings: Settings) -> float:
    if rules is None or rules.tolerance is None:
        return settings.tolerance
    return float(Decimal(parse_quantity(rules.tolerance)))
