"""A probe's course: when it is due, and what a row of results means. Pure; the prober only looks.

Source: pkg/kubelet/prober/worker.go. Results count in runs: as many of one kind in a row as the threshold says
change the outcome. A probe that could not be carried out counts for nothing. After the outcome failure, liveness
and startup probes hold until the container has been started anew, so that one series of failures is one kill.
"""

from enum import Enum

from msgspec import Struct

from fairlead.kube.containers import Container, Probe


class ProbeKind(Enum):
    """What a probe decides; the value is as events spell it."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


class Outcome(Enum):
    """What one look found."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"
    """The probe could not be carried out."""


_INITIAL = {
    ProbeKind.STARTUP: Outcome.UNKNOWN,
    ProbeKind.LIVENESS: Outcome.SUCCESS,
    ProbeKind.READINESS: Outcome.FAILURE,
}


class ProbeCourse(Struct):
    """One probe of one run of a container. `due` is when to look next; None while a look is under way or on hold."""

    kind: ProbeKind
    probe: Probe
    due: float | None
    outcome: Outcome
    run: int = 0
    previous: Outcome | None = None

    def begin(self) -> None:
        """A look begins."""
        self.due = None

    def take(self, found: Outcome, now: float) -> bool:
        """Take what a look found; whether the outcome has changed by it."""
        self.due = now + self.probe.period_seconds
        if found is Outcome.UNKNOWN:
            return False
        self.run = self.run + 1 if found is self.previous else 1
        self.previous = found
        enough = self.probe.success_threshold if found is Outcome.SUCCESS else self.probe.failure_threshold
        if self.run < enough:
            return False
        before, self.outcome = self.outcome, found
        if found is Outcome.FAILURE and self.kind is not ProbeKind.READINESS:
            self.due, self.run = None, 0
            return True
        if found is Outcome.SUCCESS and self.kind is ProbeKind.STARTUP:
            self.due = None
        return before is not found


def courses_of(container: Container, started_at: float) -> dict[ProbeKind, ProbeCourse]:
    """The probes of a container that has just started, the first look after the initial delay."""
    wanted = {
        ProbeKind.STARTUP: container.startup_probe,
        ProbeKind.LIVENESS: container.liveness_probe,
        ProbeKind.READINESS: container.readiness_probe,
    }
    return {
        kind: ProbeCourse(kind, probe, started_at + probe.initial_delay_seconds, _INITIAL[kind])
        for kind, probe in wanted.items()
        if probe is not None
    }
