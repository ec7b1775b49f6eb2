"""Does a pod live as upstream's pods do? The machine alone: events and a clock in, commands and statuses out."""

from msgspec.structs import replace

from fairlead.cluster.kubelet.commands import (
    Command,
    ContainerEnded,
    ContainerRefused,
    ContainerStarted,
    Event,
    HookEnded,
    Kill,
    Look,
    NotPrepared,
    PodSeen,
    Prepare,
    Prepared,
    Probed,
    Remove,
    RunHook,
    StartContainer,
    Tell,
    Terminate,
    Tick,
    TryAgain,
    WriteStatus,
)
from fairlead.cluster.kubelet.machine import PodMachine
from fairlead.cluster.kubelet.probes import Outcome, ProbeKind
from fairlead.cluster.kubelet.statuses import time_text
from fairlead.kube.containers import Container, Lifecycle, LifecycleHandler, Probe, SleepAction, TCPSocketAction
from fairlead.kube.documents import items_at, text_at, value_at
from fairlead.kube.meta import Condition, ObjectMeta
from fairlead.kube.pods import Pod, PodSpec, PodStatus

START = 1_000_000.0
META = ObjectMeta(name="web", namespace="shop", uid="u1")
TCP = TCPSocketAction(port=80)


class Life:
    """A pod's machine and its clock, and everything it has commanded."""

    def __init__(self, *containers: Container, **spec: object) -> None:
        self.pod = Pod(metadata=META, spec=PodSpec(containers=containers or (Container(name="c"),), **spec))  # pyright: ignore[reportArgumentType] - fields by name
        self.now = START
        self.machine = PodMachine(self.pod, ("172.18.0.2",), START)
        self.status: WriteStatus | None = None

    def on(self, event: Event, at: float | None = None) -> list[Command]:
        self.now = self.now if at is None else START + at
        done = list(self.machine.step(event, self.now))
        for command in done:
            if isinstance(command, WriteStatus):
                self.status = command
        return [command for command in done if not isinstance(command, WriteStatus | Tell)]

    def run(self) -> list[Command]:
        """Bring the pod to where its first containers have been told to start."""
        assert self.on(Tick()) == [Prepare()]
        return self.on(Prepared(("10.244.1.2",)))

    def delete(self, grace: int, at: float) -> list[Command]:
        meta = ObjectMeta(
            name="web", namespace="shop", uid="u1", deletion_timestamp="x", deletion_grace_period_seconds=grace
        )
        return self.on(PodSeen(Pod(metadata=meta, spec=self.pod.spec)), at)

    def shown(self, *path: str) -> object:
        assert self.status is not None
        return value_at(self.status.status, *path)

    def condition(self, kind: str) -> str:
        assert self.status is not None
        found = (each for each in items_at(self.status.status, "conditions") if text_at(each, "type") == kind)
        return text_at(next(found), "status")

    def state(self) -> object:
        assert self.status is not None
        return value_at(items_at(self.status.status, "containerStatuses")[0], "state")


def test_a_pod_without_probes_is_ready_in_one_settled_status() -> None:
    life = Life()
    settled: list[WriteStatus] = []
    for event in (Tick(), Prepared(("10.244.1.2",)), ContainerStarted("c"), Tick()):
        settled += [each for each in life.machine.step(event, START) if isinstance(each, WriteStatus) and each.settled]
    assert len(settled) == 1
    life.status = settled[0]
    assert (life.shown("phase"), life.shown("podIP")) == ("Running", "10.244.1.2")
    assert life.condition("Ready") == "True"


def test_the_first_restart_is_immediate_and_later_ones_wait_twice_as_long_each() -> None:
    life = Life()
    assert life.run() == [StartContainer(Container(name="c"), 0)]
    life.on(ContainerStarted("c"))
    assert life.on(ContainerEnded("c", 1), 1) == [StartContainer(Container(name="c"), 1)]
    life.on(ContainerStarted("c"), 1)
    assert life.on(ContainerEnded("c", 1), 2) == []
    message = "back-off 10s restarting failed container=c pod=web_shop(u1)"
    assert life.state() == {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
    assert life.machine.next_due() == START + 12
    assert life.on(Tick(), 11.9) == []
    assert life.on(Tick(), 12) == [StartContainer(Container(name="c"), 2)]
    life.on(ContainerStarted("c"), 12)
    life.on(ContainerEnded("c", 1), 13)
    assert life.machine.next_due() == START + 33
    life.on(Tick(), 33)
    life.on(ContainerStarted("c"), 33)
    assert life.on(ContainerEnded("c", 1), 33 + 700) == [StartContainer(Container(name="c"), 4)]


def test_a_pod_that_never_restarts_ends_by_its_exit_codes() -> None:
    for code, phase in ((0, "Succeeded"), (3, "Failed")):
        life = Life(restart_policy="Never")
        life.run()
        life.on(ContainerStarted("c"))
        assert life.on(ContainerEnded("c", code)) == []
        assert life.shown("phase") == phase
        assert life.condition("Ready") == "False"
        assert life.machine.next_due() is None


def test_init_containers_run_one_by_one_and_a_sidecar_goes_on() -> None:
    first, sidecar = Container(name="i"), Container(name="s", restart_policy="Always")
    life = Life(init_containers=(first, sidecar))
    assert life.run() == [StartContainer(first, 0)]
    assert life.on(ContainerStarted("i")) == []
    assert life.condition("Initialized") == "False"
    assert life.on(ContainerEnded("i", 0)) == [StartContainer(sidecar, 0)]
    assert life.on(ContainerStarted("s")) == [StartContainer(Container(name="c"), 0)]
    life.on(ContainerStarted("c"))
    assert life.condition("Ready") == "True"
    assert life.delete(30, 1) == [Terminate("c", 0, 30.0)]
    assert life.on(ContainerEnded("c", 0), 2) == [Terminate("s", 0, 30.0)]
    assert life.on(ContainerEnded("s", 0), 3) == [Remove()]


def test_readiness_follows_the_probe_by_its_thresholds() -> None:
    probe = Probe(tcp_socket=TCP, period_seconds=5, initial_delay_seconds=3, success_threshold=2, failure_threshold=2)
    life = Life(Container(name="c", readiness_probe=probe))
    life.run()
    assert life.on(ContainerStarted("c"), 0) == []
    look = Look("c", 0, ProbeKind.READINESS, probe)
    assert life.on(Tick(), 3) == [look]
    found = Probed("c", 0, ProbeKind.READINESS, Outcome.SUCCESS)
    lost = Probed("c", 0, ProbeKind.READINESS, Outcome.FAILURE)
    life.on(found, 3)
    assert life.condition("Ready") == "False"
    assert life.on(Tick(), 8) == [look]
    life.on(found, 8)
    assert life.condition("Ready") == "True"
    life.on(lost, 13)
    assert life.condition("Ready") == "True"
    life.on(Probed("c", 0, ProbeKind.READINESS, Outcome.UNKNOWN), 18)
    life.on(lost, 23)
    assert life.condition("Ready") == "False"
    life.on(Probed("c", 7, ProbeKind.READINESS, Outcome.SUCCESS), 28)
    assert life.condition("Ready") == "False"


def test_liveness_waits_for_startup_and_kills_once_per_series() -> None:
    startup, liveness = Probe(tcp_socket=TCP, period_seconds=1), Probe(tcp_socket=TCP, failure_threshold=2)
    life = Life(Container(name="c", startup_probe=startup, liveness_probe=liveness), termination_grace_period_seconds=4)
    life.run()
    assert life.on(ContainerStarted("c"), 0) == [Look("c", 0, ProbeKind.STARTUP, startup)]
    assert life.condition("Ready") == "False"
    begun = life.on(Probed("c", 0, ProbeKind.STARTUP, Outcome.SUCCESS), 1)
    assert begun == [Look("c", 0, ProbeKind.LIVENESS, liveness)]
    assert life.condition("Ready") == "True"
    dead = Probed("c", 0, ProbeKind.LIVENESS, Outcome.FAILURE)
    assert life.on(dead, 2) == []
    assert life.on(dead, 12) == [Terminate("c", 0, 4.0)]
    assert life.on(Tick(), 15) == []
    assert life.on(Tick(), 16) == [Kill("c", 0)]
    assert life.on(Tick(), 17) == []
    assert life.on(ContainerEnded("c", 137), 17)[0] == StartContainer(life.pod.spec.containers[0], 1)


def test_deletion_runs_the_hook_inside_the_grace_and_leaves_two_seconds_after_it() -> None:
    hook = LifecycleHandler(sleep=SleepAction(seconds=100))
    life = Life(Container(name="c", lifecycle=Lifecycle(pre_stop=hook)))
    life.run()
    life.on(ContainerStarted("c"))
    assert life.delete(10, 0) == [RunHook("c", 0, hook, 10.0)]
    assert life.machine.next_due() == START + 10
    assert life.on(Tick(), 10) == [Terminate("c", 0, 2.0)]
    assert life.on(HookEnded("c"), 11) == []
    assert life.on(Tick(), 12) == [Kill("c", 0)]
    assert life.on(ContainerEnded("c", 137), 12) == [Remove()]
    assert life.shown("phase") == "Failed"
    assert life.machine.finished


def test_a_hastened_deletion_shortens_the_grace() -> None:
    life = Life()
    life.run()
    life.on(ContainerStarted("c"))
    life.delete(30, 0)
    assert life.delete(1, 5) == []
    assert life.machine.next_due() == START + 6


def test_what_is_refused_is_tried_again_when_something_changes() -> None:
    life = Life()
    assert life.on(Tick()) == [Prepare()]
    assert life.on(NotPrepared("FailedMount", "no"), 0) == []
    assert life.on(TryAgain(), 0.1) == [Prepare()]
    life.on(Prepared(("10.244.1.2",)))
    life.on(ContainerRefused("c", "CreateContainerConfigError", 'secret "s" not found'), 1)
    assert life.state() == {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "s" not found'}}
    assert life.shown("phase") == "Pending"
    assert life.on(TryAgain(), 2) == [StartContainer(Container(name="c"), 0)]


def test_a_pod_deleted_while_it_is_prepared_is_removed_once_that_is_over() -> None:
    life = Life()
    life.on(Tick())
    assert life.delete(30, 0) == []
    assert life.on(Prepared(("10.244.1.2",))) == [Remove()]


def test_an_active_deadline_ends_the_pod() -> None:
    life = Life(active_deadline_seconds=60)
    life.run()
    life.on(ContainerStarted("c"))
    assert life.on(Tick(), 60) == [Terminate("c", 0, 30.0)]
    life.on(ContainerEnded("c", 0), 61)
    assert (life.shown("phase"), life.shown("reason")) == ("Failed", "DeadlineExceeded")


def shown(life: Life, ready: str, at: float) -> Pod:
    """The pod as the API shows it when somebody wrote its readiness at a time."""
    conditions = tuple(
        Condition(type=kind, status=ready if kind == "Ready" else "True", last_transition_time=time_text(START + at))
        for kind in ("Ready", "ContainersReady")
    )
    return replace(life.pod, status=PodStatus(phase="Running", conditions=conditions))


def test_what_others_said_while_nobody_heard_of_the_node_is_put_right() -> None:
    life = Life()
    life.run()
    life.on(ContainerStarted("c"), at=10)
    assert life.status is not None
    life.status = None
    life.on(PodSeen(shown(life, "False", at=5)), at=11)
    assert life.status is None, "an older state of our own is no contradiction"
    life.on(PodSeen(shown(life, "True", at=60)), at=60)
    assert life.status is None
    life.on(PodSeen(shown(life, "False", at=70)), at=71)
    assert life.status is not None
    [ready] = [each for each in items_at(life.status.status, "conditions") if text_at(each, "type") == "Ready"]
    assert text_at(ready, "status") == "True"
