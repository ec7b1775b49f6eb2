"""One figure of a benchmark: what was measured, what it is compared with, what it should reach."""

from msgspec import Struct


class Measurement(Struct, frozen=True):
    """A figure in its unit, and beside it what the present alternative took in the same run.

    `ratio` is value by baseline, so below 1 is better where less is better. `target` has the unit of `value`, and
    `met` says whether it was reached; None where the figure only informs.
    """

    name: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    target: float | None = None
    met: bool | None = None


def at_most(name: str, value: float, unit: str, target: float, baseline: float | None = None) -> Measurement:
    """Return a figure that should not exceed its target."""
    ratio = value / baseline if baseline else None
    return Measurement(name, value, unit, baseline, ratio, target, value <= target)
