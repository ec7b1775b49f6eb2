"""What a kubelet that starts makes of containers that the API says ran before: none of them runs any more. Pure."""

from fairlead.cluster.kubelet.runs import ContainerRun, Stage
from fairlead.cluster.kubelet.statuses import time_text
from fairlead.kube.containers import Container
from fairlead.kube.pods import ContainerStatus


def adopted(spec: Container, known: ContainerStatus | None, now: float, *, init: bool, policy: str) -> ContainerRun:
    """A container to be run; if the API says it ran before, this is its next run, or it stays ended if it had done."""
    run = ContainerRun(spec, init, not_before=now)
    if known is None:
        return run
    run.restarts = known.restart_count
    ended = known.state.terminated
    always = run.sidecar if init else policy == "Always"
    goes_on = ended is not None and (always or (ended.exit_code != 0 and policy != "Never"))
    if known.state.running is not None or goes_on:
        run.again = True
        run.last = {
            "exitCode": ended.exit_code if ended else 137,
            "reason": ended.reason if ended else "ContainerStatusUnknown",
            "message": ended.message if ended else "The container was gone when the kubelet started",
            "startedAt": (ended.started_at if ended else known.state.running and known.state.running.started_at)
            or None,
            "finishedAt": (ended.finished_at if ended else None) or time_text(now),
        }
    elif ended is not None:
        run.stage, run.exit_code = Stage.ENDED, ended.exit_code
        run.ended = {
            "exitCode": ended.exit_code,
            "reason": ended.reason,
            "startedAt": ended.started_at,
            "finishedAt": ended.finished_at,
        }
    return run
