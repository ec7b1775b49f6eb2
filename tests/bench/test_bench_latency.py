"""The benchmark of first packets runs at every size it is given, and its figures hang together."""

import pytest

from fairlead.bench.latency import latency

pytestmark = pytest.mark.kernel


def test_each_size_is_measured_beside_the_straight_way_and_beside_the_smallest() -> None:
    figures = {each.name.removeprefix("latency: "): each for each in latency((3, 40), 40)}
    small = figures["first packets through 3 services (baseline: straight)"]
    large = figures["first packets through 40 services (baseline: straight)"]
    assert small.baseline is not None
    assert small.value > 0 < small.baseline
    flat = figures["40 services against 3, median"]
    assert flat.value == large.value
    assert flat.baseline == small.value
    assert flat.ratio == pytest.approx(large.value / small.value)
    assert flat.met is (large.value <= 1.05 * small.value)
    assert figures["40 services against 3, quartile range of 20 ratios"].value >= 0
