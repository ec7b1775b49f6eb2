"""The algorithm of HorizontalPodAutoscalers: what metrics ask for, and how fast it is followed."""

from collections.abc import Mapping
from decimal import Decimal

import pytest

from fairlead.cluster.controllers.autoscaling_counts import (
    Basis,
    Candidate,
    MetricError,
    Reading,
    Start,
    Tolerance,
    count_by_average,
    count_by_object_average,
    count_by_object_value,
    count_by_utilization,
    group_pods,
    highest_count,
)
from fairlead.cluster.controllers.autoscaling_pace import (
    Bounds,
    History,
    Limit,
    Policy,
    Rules,
    Selection,
    Unit,
    note_scaling,
    settle,
)

NOW = 10_000.0
TEN_PERCENT = Tolerance()


def readings(*values: int) -> dict[str, Reading]:
    return {f"p{i}": Reading(value=Decimal(each), at=NOW, window=15.0) for i, each in enumerate(values)}


def by_utilization(used: Mapping[str, Reading], pods: tuple[Candidate, ...], percent: int, basis: Basis) -> int:
    grouped = group_pods(pods, used, basis, Start(), NOW)
    requests = {pod.name: Decimal(1000) for pod in pods}
    return count_by_utilization(grouped, used, requests, percent, len(pods), TEN_PERCENT)


def pods(count: int, **last: object) -> tuple[Candidate, ...]:
    """As many pods, the last of them as told."""
    plain = [Candidate(name=f"p{i}") for i in range(count)]
    return (*plain[:-1], Candidate(**({"name": f"p{count - 1}"} | last)))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("title", "used", "named", "percent", "wanted"),
    [
        ("twice the target doubles", (1000, 1000, 1000), pods(3), 50, 6),
        ("within a tenth nothing happens", (540, 550), pods(2), 50, 2),
        ("just beyond a tenth something does", (560, 560), pods(2), 50, 3),
        ("half the target halves", (250, 250, 250, 250), pods(4), 50, 2),
        ("a pod without a reading has nothing before scaling up", (900, 900), pods(3), 50, 4),
        ("a pod without a reading has its whole request before scaling down", (100, 100, 100), pods(4), 60, 3),
        ("a pod without a reading never turns the direction", (400, 400), pods(3), 50, 3),
        ("a pod that is deleted does not count", (1000, 1000, 1000), pods(3, deleting=True), 50, 4),
        ("a pending pod counts for nothing before scaling up", (1000, 1000), pods(3, phase="Pending"), 50, 4),
        ("a pending pod is left out before scaling down", (100, 100), pods(3, phase="Pending"), 50, 1),
    ],
)
def test_utilization(
    title: str, used: tuple[int, ...], named: tuple[Candidate, ...], percent: int, wanted: int
) -> None:
    assert by_utilization(readings(*used), named, percent, Basis.CPU) == wanted, title


@pytest.mark.parametrize(
    ("title", "pod", "basis", "group"),
    [
        ("young and ready, measured since", {"started": NOW - 60, "ready_since": NOW - 50}, Basis.CPU, "ready"),
        ("young, measured over its start", {"started": NOW - 60, "ready_since": NOW - 10}, Basis.CPU, "unready"),
        ("young, not ready", {"started": NOW - 60, "ready": False, "ready_since": NOW - 60}, Basis.CPU, "unready"),
        ("old, was ready once", {"started": NOW - 900, "ready": False, "ready_since": NOW - 100}, Basis.CPU, "ready"),
        ("old, never ready", {"started": NOW - 900, "ready": False, "ready_since": NOW - 880}, Basis.CPU, "unready"),
        ("no condition yet", {"ready": None}, Basis.CPU, "unready"),
        ("not ready, but it is not CPU", {"ready": False, "started": NOW - 5}, Basis.OTHER, "ready"),
        ("failed", {"phase": "Failed"}, Basis.CPU, "ignored"),
    ],
)
def test_what_a_reading_of_a_pod_that_starts_is_worth(
    title: str, pod: dict[str, object], basis: Basis, group: str
) -> None:
    grouped = group_pods(pods(1, **pod), readings(500), basis, Start(), NOW)
    assert getattr(grouped, group) == {"p0"}, title


def test_no_reading_that_counts_is_an_error() -> None:
    with pytest.raises(MetricError, match="did not receive metrics"):
        by_utilization({}, pods(2), 50, Basis.CPU)


def test_averages_and_objects() -> None:
    used = readings(30, 30)
    grouped = group_pods(pods(2), used, Basis.OTHER, Start(), NOW)
    assert count_by_average(grouped, used, Decimal(10), 2, TEN_PERCENT) == 6
    assert count_by_average(grouped, used, Decimal(29), 2, TEN_PERCENT) == 2
    assert count_by_object_value(Decimal(300), Decimal(100), 2, 2, TEN_PERCENT) == 6
    assert count_by_object_value(Decimal(105), Decimal(100), 2, 2, TEN_PERCENT) == 2
    assert count_by_object_value(Decimal(300), Decimal(100), 0, 0, TEN_PERCENT) == 3
    assert count_by_object_average(Decimal(300), Decimal(50), 2, TEN_PERCENT) == 6
    assert count_by_object_average(Decimal(105), Decimal(50), 2, TEN_PERCENT) == 2


def test_each_direction_has_its_own_tolerance() -> None:
    used = readings(14, 14)
    grouped = group_pods(pods(2), used, Basis.OTHER, Start(), NOW)
    assert count_by_average(grouped, used, Decimal(10), 2, Tolerance(up=0.5)) == 2
    assert count_by_average(grouped, used, Decimal(10), 2, Tolerance(down=0.5)) == 3


def test_the_highest_metric_decides_and_a_failing_one_forbids_to_scale_down() -> None:
    failed = MetricError("unable to fetch metrics")
    assert highest_count([2, 5], 3) == 5
    assert highest_count([5, failed], 3) == 5
    with pytest.raises(MetricError, match="1 invalid out of 2"):
        highest_count([2, failed], 3)
    with pytest.raises(MetricError, match="1 invalid out of 1"):
        highest_count([failed], 3)


def pace(most: int = 100, least: int = 1, up: Rules | None = None, down: Rules | None = None) -> Bounds:
    plain = Bounds(most=most)
    return Bounds(least=least, most=most, up=up or plain.up, down=down or plain.down)


def rules(*policies: Policy, select: Selection = Selection.MAX) -> Rules:
    return Rules(policies=policies, window=0.0, select=select)


FOUR, HALF = Policy(Unit.PODS, 4, 60.0), Policy(Unit.PERCENT, 50, 60.0)


@pytest.mark.parametrize(
    ("title", "bounds", "current", "recommended", "wanted", "limit"),
    [
        ("four more are allowed from one", pace(), 1, 50, 5, Limit.UP),
        ("twice as many are allowed from ten", pace(), 10, 50, 20, Limit.UP),
        ("no more than the most", pace(most=8), 5, 50, 8, Limit.MOST),
        ("at the most it is the most that limits", pace(most=8), 8, 50, 8, Limit.MOST),
        ("no fewer than the least", pace(least=2, down=rules(Policy(Unit.PERCENT, 100, 15.0))), 8, 1, 2, Limit.LEAST),
        ("what is in reach is taken", pace(), 3, 5, 5, Limit.NONE),
        ("down by the greatest change", pace(down=rules(FOUR, HALF)), 20, 1, 10, Limit.DOWN),
        ("down by the smallest", pace(down=rules(FOUR, HALF, select=Selection.MIN)), 20, 1, 16, Limit.DOWN),
        ("half of nine is rounded off going down", pace(down=rules(HALF)), 9, 1, 4, Limit.DOWN),
        ("half of nine is rounded up going up", pace(up=rules(HALF)), 9, 90, 14, Limit.UP),
        ("never down", pace(down=rules(FOUR, select=Selection.DISABLED)), 9, 1, 9, Limit.DOWN),
    ],
)
def test_pace(title: str, bounds: Bounds, current: int, recommended: int, wanted: int, limit: Limit) -> None:
    settled = settle(bounds, History(), current, recommended, NOW)
    assert (settled.replicas, settled.limit) == (wanted, limit), title


def test_what_was_scaled_in_the_period_counts_against_the_policy() -> None:
    bounds = pace(up=rules(FOUR))
    history = note_scaling(bounds, History(), 1, 4, NOW)
    assert settle(bounds, history, 4, 50, NOW + 30).replicas == 5
    assert settle(bounds, history, 4, 50, NOW + 60).replicas == 8


def test_scaling_down_waits_for_the_window_and_then_follows_the_highest_recommendation_in_it() -> None:
    bounds, history, current, timeline = pace(most=8), History(), 8, list[int]()
    for second in range(0, 421, 60):
        settled = settle(bounds, history, current, 8 if second == 0 else 3 if second == 60 else 1, NOW + second)
        history = note_scaling(bounds, settled.history, current, settled.replicas, NOW + second)
        current = settled.replicas
        timeline.append(current)
    assert timeline == [8, 8, 8, 8, 8, 3, 1, 1]


def test_scaling_up_with_a_window_follows_the_lowest_recommendation_in_it() -> None:
    bounds = pace(up=Rules(policies=(Policy(Unit.PODS, 100, 15.0),), window=60.0))
    first = settle(bounds, History(), 2, 2, NOW)
    second = settle(bounds, first.history, 2, 9, NOW + 30)
    assert (second.replicas, second.stabilized) == (2, 2)
    assert settle(bounds, second.history, 2, 7, NOW + 61).replicas == 7


def test_from_one_to_eight_and_back_under_a_load_curve() -> None:
    """Load in requests per second, 10 wanted of each pod; the timeline is worked out by hand from the defaults."""
    load = [5, 30, 80, 80, 80, 40, 10, *[10] * 21]
    bounds, history, current, timeline = pace(most=8), History(), 1, list[int]()
    for number, whole in enumerate(load):
        now = NOW + 15 * number
        wanted = count_by_object_average(Decimal(whole), Decimal(10), current, TEN_PERCENT)
        settled = settle(bounds, history, current, wanted, now)
        history = note_scaling(bounds, settled.history, current, settled.replicas, now)
        current = settled.replicas
        timeline.append(current)
    assert timeline == [1, 3, *[7] * 1, *[8] * 21, 4, *[1] * 3]
