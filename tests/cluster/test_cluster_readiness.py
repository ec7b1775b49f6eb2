"""What `up` says of a pod that does not come up."""

from fairlead.cluster.readiness import missing_pods
from fairlead.kube.meta import ObjectMeta
from fairlead.kube.pods import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
    PodStatus,
)

NOTHING = ContainerState()
RUNS = ContainerState(running=ContainerStateRunning())
BACKS_OFF = ContainerState(waiting=ContainerStateWaiting(reason="CrashLoopBackOff", message="back-off 10s"))
MISSING = ContainerState(waiting=ContainerStateWaiting(reason="ErrImageNeverPull", message="no such image"))
FAILED = ContainerState(terminated=ContainerStateTerminated(exit_code=3))


def said(state: ContainerState, last: ContainerState = NOTHING) -> list[str]:
    status = ContainerStatus(name="c", ready=False, state=state, last_state=last)
    pod = Pod(
        metadata=ObjectMeta(namespace="n", name="p"), status=PodStatus(phase="Running", container_statuses=(status,))
    )
    return missing_pods([pod])


def test_a_container_that_ends_again_and_again_leads_to_its_log() -> None:
    told = ["pod n/p: container c has ended with 3, and again: kubectl logs -n n p -c c"]
    assert said(BACKS_OFF, FAILED) == said(RUNS, FAILED) == told


def test_a_container_that_waits_says_for_what() -> None:
    assert said(MISSING) == ["pod n/p: container c is waiting: ErrImageNeverPull no such image"]


def test_a_container_that_runs_is_not_ready_yet() -> None:
    assert said(RUNS) == ["pod n/p: phase Running, not ready"]
