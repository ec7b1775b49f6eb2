"""What happens to a pod, and what its machine wants done about it: the two closed unions of the kubelet's core."""

from msgspec import Struct

from fairlead.cluster.kubelet.probes import Outcome, ProbeKind
from fairlead.kube.containers import Container, LifecycleHandler, Probe
from fairlead.kube.documents import Document
from fairlead.kube.pods import Pod


class PodSeen(Struct, frozen=True):
    """The API shows the pod so."""

    pod: Pod


class Prepared(Struct, frozen=True):
    """Network and volumes are there; addresses in the pod's order."""

    addresses: tuple[str, ...]


class NotPrepared(Struct, frozen=True):
    """Network or volumes could not be had; tried again later."""

    reason: str
    message: str


class ContainerStarted(Struct, frozen=True):
    """The container runs."""

    name: str


class ContainerRefused(Struct, frozen=True):
    """The container could not be started; `reason` is what its waiting state shows."""

    name: str
    reason: str
    message: str


class ContainerEnded(Struct, frozen=True):
    """The container has ended; killed by signal N is 128 + N. `reason` is for an end that has one of its own."""

    name: str
    exit_code: int
    message: str = ""
    reason: str = ""


class Probed(Struct, frozen=True):
    """A look at the run `restarts` of a container found this."""

    name: str
    restarts: int
    kind: ProbeKind
    outcome: Outcome
    message: str = ""


class HookEnded(Struct, frozen=True):
    """The preStop hook of a container is over; `failure` is empty if it went well."""

    name: str
    failure: str = ""


class Tick(Struct, frozen=True):
    """Time has passed."""


class TryAgain(Struct, frozen=True):
    """Something that the pod refers to has changed: what was refused may work now."""


ContainerEvent = ContainerStarted | ContainerRefused | ContainerEnded | Probed | HookEnded
Event = PodSeen | Prepared | NotPrepared | Tick | TryAgain | ContainerEvent


class Prepare(Struct, frozen=True):
    """Get the pod its network and volumes."""


class StartContainer(Struct, frozen=True):
    """Start a container; `restarts` tells its runs apart."""

    container: Container
    restarts: int


class RunHook(Struct, frozen=True):
    """Run a preStop hook, for at most `seconds`."""

    name: str
    restarts: int
    handler: LifecycleHandler
    seconds: float


class Terminate(Struct, frozen=True):
    """Ask a container to end; it is killed after `grace` seconds."""

    name: str
    restarts: int
    grace: float
    signal: str = "SIGTERM"


class Kill(Struct, frozen=True):
    """End a container now."""

    name: str
    restarts: int


class Look(Struct, frozen=True):
    """Carry out a probe once."""

    name: str
    restarts: int
    kind: ProbeKind
    probe: Probe


class WriteStatus(Struct, frozen=True):
    """The pod's status is this; `settled` is false while more is about to change."""

    status: Document
    settled: bool


class Remove(Struct, frozen=True):
    """All has ended: take the network away and the object from the API."""


class Tell(Struct, frozen=True):
    """Say something about the pod, or one of its containers, in an Event."""

    reason: str
    message: str
    warning: bool = False
    container: str = ""


Command = Prepare | StartContainer | RunHook | Terminate | Kill | Look | WriteStatus | Remove | Tell
