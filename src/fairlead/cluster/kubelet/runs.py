"""One container of a pod as its machine sees it: waiting, starting, running or ended, with its back-off. Pure state.

Source of the back-off: doBackOff in pkg/kubelet/kuberuntime, and client-go's flowcontrol: the first restart is
immediate, then 10 seconds, doubling up to 300, and from the start again after ten minutes without a failure.
"""

from enum import Enum

from msgspec import Struct, field

from fairlead.cluster.kubelet.probes import Outcome, ProbeCourse, ProbeKind
from fairlead.kube.containers import Container
from fairlead.kube.documents import Document

FIRST_DELAY, LAST_DELAY, FORGIVEN_AFTER = 10.0, 300.0, 600.0  # seconds


class Stage(Enum):
    """Where a container's present run is."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"


class Stopping(Struct):
    """A container is being ended: `kill_at` is when patience is over, `termed` whether it has been asked."""

    kill_at: float
    hooking: bool = False
    termed: bool = False
    killed: bool = False


class ContainerRun(Struct):
    """A container's present run, and what is kept of the ones before."""

    spec: Container
    init: bool
    stage: Stage = Stage.WAITING
    reason: str = "ContainerCreating"
    message: str = ""
    restarts: int = 0
    again: bool = False
    """Whether the next start is one more restart."""
    started_at: float = 0.0
    exit_code: int = 0
    ended: Document | None = None
    last: Document | None = None
    delay: float = 0.0
    delayed_since: float = 0.0
    not_before: float = 0.0
    stopping: Stopping | None = None
    held: bool = False
    """Whether its pod's annotations ask that it be not ready."""
    probes: dict[ProbeKind, ProbeCourse] = field(default_factory=dict[ProbeKind, ProbeCourse])

    @property
    def sidecar(self) -> bool:
        """Whether this init container goes on beside the others."""
        return self.init and self.spec.restart_policy == "Always"

    @property
    def alive(self) -> bool:
        """Whether it runs or is about to."""
        return self.stage in (Stage.STARTING, Stage.RUNNING)

    @property
    def started(self) -> bool:
        """Whether it runs and its startup probe, if any, has succeeded."""
        course = self.probes.get(ProbeKind.STARTUP)
        return self.stage is Stage.RUNNING and (course is None or course.outcome is Outcome.SUCCESS)

    @property
    def ready(self) -> bool:
        """Whether it may get traffic. An init container is ready when it has done its work."""
        if self.init and not self.sidecar:
            return self.stage is Stage.ENDED and self.exit_code == 0
        course = self.probes.get(ProbeKind.READINESS)
        return self.started and not self.held and (course is None or course.outcome is Outcome.SUCCESS)

    @property
    def done(self) -> bool:
        """Whether, as an init container, it lets the next one begin."""
        return self.started if self.sidecar else self.ready

    def back_off(self, now: float) -> bool:
        """Decide when the run after an ended one may begin; whether that is later than now."""
        if self.delay and now - self.delayed_since > FORGIVEN_AFTER:
            self.delay = 0.0
        waits = self.delay
        self.delay = min(self.delay * 2, LAST_DELAY) if self.delay else FIRST_DELAY
        self.delayed_since = now + waits
        self.not_before = now + waits
        return waits > 0

    def state(self, time_of: Document) -> Document:
        """The container's state as the API has it; `time_of` carries startedAt of a running one."""
        if self.stage is Stage.RUNNING:
            return {"running": time_of}
        if self.stage is Stage.ENDED and self.ended is not None:
            return {"terminated": self.ended}
        waiting: Document = {"reason": self.reason}
        if self.message:
            waiting["message"] = self.message
        return {"waiting": waiting}
