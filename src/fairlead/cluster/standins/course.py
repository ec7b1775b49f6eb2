"""What one stand-in does with its requests, and what it has done so far: its controls and its counts."""

import random

from msgspec import Struct

from fairlead.cluster.standins.controls import Controls


class Fate(Struct, frozen=True):
    """What becomes of one request: the seconds it waits, and the status it fails with, 0 for none."""

    wait: float
    status: int


_AT_ONCE = Fate(0.0, 0)


class Course:
    """The controls of one container, which may be replaced at any time, and its counts since its start."""

    def __init__(self, controls: Controls) -> None:
        self.controls = controls
        self.requests = 0
        self.errors = 0
        self.cpu = 0.0
        """CPU seconds, as declared."""

    def take(self, *, probe: bool = False) -> Fate:
        """Count one more request and return its fate. The kubelet's probes wait and fail too, but do not count."""
        controls = self.controls
        if not probe:
            self.requests += 1
            self.cpu += controls.cpu_per_request
        if controls.plain:
            return _AT_ONCE
        fails = bool(controls.error_rate) and random.random() < controls.error_rate
        self.errors += fails and not probe
        return Fate(random.uniform(*controls.latency), controls.error_status if fails else 0)
