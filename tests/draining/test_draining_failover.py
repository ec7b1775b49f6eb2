"""Does the benchmark of failing nodes measure what it says? It boots a cluster, so only where tests may take longer."""

import os

import pytest

from fairlead.bench.failover import failover

pytestmark = [pytest.mark.kernel, pytest.mark.cluster]


@pytest.mark.skipif(not os.environ.get("FAIRLEAD_LONG"), reason="FAIRLEAD_LONG is not set")
def test_each_cause_has_its_median_and_its_longest() -> None:
    figures = {each.name.removeprefix("failover: external, "): each for each in failover(3)}
    for cause in ("node cut off", "agent hangs"):
        median, longest = figures[f"{cause}, 3 rounds, median"], figures[f"{cause}, 3 rounds, longest"]
        assert 0.3 < median.value <= longest.value, "two silences take longer than that"
        assert longest.met is (longest.value <= 1.0)
