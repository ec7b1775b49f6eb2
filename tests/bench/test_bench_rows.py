"""The benchmark of rows runs, and its figures hang together."""

import pytest

from fairlead.bench.rows import program_rows

pytestmark = pytest.mark.kernel


def test_a_small_run_gives_every_figure_with_its_baseline() -> None:
    figures = {each.name.removeprefix("rows 40 x 3: "): each for each in program_rows(40, 3)}
    total = figures["programmed"]
    assert figures["of this, encoding in Python"].value > 0
    assert total.value > figures["of this, rendering in Python"].value + figures["of this, the kernel"].value > 0
    assert total.baseline is not None
    assert total.ratio == pytest.approx(total.value / total.baseline)
    p50, p99 = figures["one row replaced, p50"], figures["one row replaced, p99"]
    assert 0 < p50.value <= p99.value
    assert p50.baseline is not None
    assert 0 < figures["of this, the kernel, p50"].value < p50.value
