"""The life of one pod as a machine: events come in, commands go out. Pure: the clock is an argument, nothing is
awaited.

In order: prepare the network, run init containers one by one, then all others; start again what ends, by policy and
with back-off; probe; and, when the pod is deleted, end everything gracefully and remove it. Source:
pkg/kubelet/kuberuntime (syncPod, killContainer), pkg/kubelet/prober.
"""

from collections.abc import Iterator

from fairlead.cluster.kubelet.adoption import adopted
from fairlead.cluster.kubelet.commands import (
    Command,
    ContainerEnded,
    ContainerEvent,
    ContainerRefused,
    ContainerStarted,
    Event,
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
from fairlead.cluster.kubelet.probes import Outcome, ProbeCourse, ProbeKind, courses_of
from fairlead.cluster.kubelet.runs import ContainerRun, Stage, Stopping
from fairlead.cluster.kubelet.statuses import (
    TERMINAL,
    conditions_of,
    container_id,
    container_status,
    contradicted,
    known_conditions,
    phase_of,
    time_text,
)
from fairlead.cluster.standins.controls import parse_controls
from fairlead.kube.documents import Document, items_at
from fairlead.kube.pods import Pod

_RETRY_FIRST, _RETRY_LAST = 0.5, 30.0  # seconds before a refused preparation is tried again
_REFUSED_RETRY = 10.0  # seconds before a refused container is tried again, unless something it needs changes
_LEAST_AFTER_HOOK = 2.0  # seconds a container gets after a preStop hook that took all there was
_DEFAULT_GRACE = 30


class PodMachine:
    """One pod from its assignment to its removal."""

    def __init__(self, pod: Pod, node_addresses: tuple[str, ...], now: float) -> None:
        self.pod = pod
        self._node_addresses = node_addresses
        self._addresses: tuple[str, ...] = ()
        self._preparing = self._prepared = False
        self._prepare_at, self._prepare_delay = now, _RETRY_FIRST
        self._removed = False
        self._start_time = pod.status.start_time or time_text(now)
        self._conditions = known_conditions(pod)
        self._final = pod.status.phase if pod.status.phase in TERMINAL else ""
        self._failure: tuple[str, str] = ("", "")
        self._written: Document = {}
        self._told: set[tuple[str, str, str]] = set()
        known = {each.name: each for each in (*pod.status.init_container_statuses, *pod.status.container_statuses)}
        policy = "Never" if self._final else pod.spec.restart_policy
        self.runs = {
            spec.name: adopted(spec, known.get(spec.name), now, init=init, policy=policy)
            for init, specs in ((True, pod.spec.init_containers), (False, pod.spec.containers))
            for spec in specs
        }
        first = next(iter(pod.spec.init_containers), None)
        if first is not None:
            for run in self.runs.values():
                if run.spec is not first and run.stage is Stage.WAITING:
                    run.reason = "PodInitializing"

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do for this pod."""
        return self._removed

    @property
    def deleting(self) -> bool:
        """Whether the pod is to go."""
        return self.pod.metadata.deletion_timestamp is not None

    def step(self, event: Event, now: float) -> tuple[Command, ...]:
        """Take what happened and return what to do, in order."""
        if self._removed:
            return ()
        return (*self._take(event, now), *self._advance(now), *self._show(now))

    def next_due(self) -> float | None:
        """When to send the next Tick, or None if only events matter."""
        times: list[float] = []
        if not self._prepared and not self._preparing and not self._over:
            times.append(self._prepare_at)
        for run in self.runs.values():
            if run.stopping is not None and run.alive and not run.stopping.killed:
                times.append(run.stopping.kill_at)
            if run.stage is Stage.RUNNING and not (self._final and not self.deleting):
                times += [course.due for course in self._active(run) if course.due is not None]
        if self._prepared and not self._over:
            times += [run.not_before for run in self._startable() if run.stage is Stage.WAITING]
        deadline = self._deadline()
        if deadline is not None and not self._over:
            times.append(deadline)
        return min(times, default=None)

    @property
    def _over(self) -> bool:
        return self.deleting or bool(self._final)

    def _deadline(self) -> float | None:
        seconds = self.pod.spec.active_deadline_seconds
        if seconds is None:
            return None
        from datetime import datetime

        return datetime.fromisoformat(self._start_time).timestamp() + seconds

    # What happened

    def _take(self, event: Event, now: float) -> Iterator[Command]:
        if isinstance(event, PodSeen):
            yield from self._see(event.pod, now)
        elif isinstance(event, Prepared):
            self._preparing, self._prepared, self._addresses = False, True, event.addresses
        elif isinstance(event, NotPrepared):
            self._preparing = False
            self._prepare_at = now + self._prepare_delay
            self._prepare_delay = min(self._prepare_delay * 2, _RETRY_LAST)
            yield Tell(event.reason, event.message, warning=True)
        elif isinstance(event, TryAgain):
            self._prepare_at = now
            for run in self.runs.values():
                if run.stage is Stage.WAITING and run.reason == "CreateContainerConfigError":
                    run.not_before = now
        elif not isinstance(event, Tick):
            yield from self._take_of_container(event, now)

    def _take_of_container(self, event: ContainerEvent, now: float) -> Iterator[Command]:
        if isinstance(event, ContainerStarted):
            run = self.runs[event.name]
            run.stage, run.started_at, run.reason, run.message = Stage.RUNNING, now, "", ""
            run.probes = courses_of(run.spec, now)
            pulled = f'Container image "{run.spec.image}" already present on machine'
            yield Tell("Pulled", pulled, container=event.name)
            yield Tell("Created", f"Created container: {event.name}", container=event.name)
            yield Tell("Started", f"Started container {event.name}", container=event.name)
        elif isinstance(event, ContainerRefused):
            run = self.runs[event.name]
            run.stage, run.reason, run.message = Stage.WAITING, event.reason, event.message
            run.not_before = now + _REFUSED_RETRY
            run.stopping = None
            yield Tell("Failed", f"Error: {event.message}", warning=True, container=event.name)
        elif isinstance(event, ContainerEnded):
            yield from self._end(self.runs[event.name], event, now)
        elif isinstance(event, Probed):
            yield from self._probed(self.runs[event.name], event, now)
        else:
            run = self.runs[event.name]
            if event.failure:
                yield Tell("FailedPreStopHook", event.failure, warning=True, container=event.name)
            if run.stopping is not None and run.stopping.hooking:
                yield from self._ask_to_end(run, run.stopping, now)

    def _see(self, pod: Pod, now: float) -> Iterator[Command]:
        self.pod = pod
        if contradicted(pod, items_at(self._written, "conditions")):
            self._written = {}
        controls, _ = parse_controls(pod.metadata.annotations)
        for run in self.runs.values():
            run.held = not controls.ready
        for spec in (*pod.spec.init_containers, *pod.spec.containers):
            run = self.runs.get(spec.name)
            if run is not None and run.spec.image != spec.image:
                run.spec = spec
                if run.alive and run.stopping is None and not self._over:
                    message = f"Container {spec.name} definition changed, will be restarted"
                    yield from self._begin_to_end(run, float(self._grace), message, now)

    def _end(self, run: ContainerRun, event: ContainerEnded, now: float) -> Iterator[Command]:
        run.stage, run.exit_code, run.stopping = Stage.ENDED, event.exit_code, None
        run.probes = {}
        run.ended = {
            "exitCode": event.exit_code,
            "reason": event.reason or ("Completed" if event.exit_code == 0 else "Error"),
            "startedAt": time_text(run.started_at or now),
            "finishedAt": time_text(now),
            "containerID": container_id(self.pod, run),
        }
        if event.message:
            run.ended["message"] = event.message
        if self._over or not self._restarts(run):
            return
        run.last = run.ended
        waits = run.back_off(now)
        run.stage, run.again = Stage.WAITING, True
        run.reason, run.message = "ContainerCreating", ""
        if waits:
            meta, seconds = self.pod.metadata, int(run.not_before - now)
            named = f"container={run.spec.name} pod={meta.name}_{meta.namespace}({meta.uid})"
            run.reason, run.message = "CrashLoopBackOff", f"back-off {_duration(seconds)} restarting failed {named}"
            text = (
                f"Back-off restarting failed container {run.spec.name} in pod {meta.name}_{meta.namespace}({meta.uid})"
            )
            yield Tell("BackOff", text, warning=True, container=run.spec.name)

    def _restarts(self, run: ContainerRun) -> bool:
        policy = self.pod.spec.restart_policy
        if run.sidecar:
            return True
        if run.init:
            return run.exit_code != 0 and policy != "Never"
        return policy == "Always" or (policy == "OnFailure" and run.exit_code != 0)

    def _probed(self, run: ContainerRun, event: Probed, now: float) -> Iterator[Command]:
        course = run.probes.get(event.kind)
        if course is None or event.restarts != run.restarts or run.stage is not Stage.RUNNING:
            return
        changed = course.take(event.outcome, now)
        if event.outcome is Outcome.FAILURE:
            text = f"{event.kind.value} probe failed: {event.message}"
            yield Tell("Unhealthy", text, warning=True, container=run.spec.name)
        if event.kind is ProbeKind.READINESS or not changed or course.outcome is not Outcome.FAILURE:
            return
        if run.stopping is None and not self._over:
            text = f"Container {run.spec.name} failed {event.kind.value.lower()} probe, will be restarted"
            grace = course.probe.termination_grace_period_seconds
            yield from self._begin_to_end(run, float(self._grace if grace is None else grace), text, now)

    # What follows

    def _advance(self, now: float) -> Iterator[Command]:
        yield from self._press(now)
        deadline = self._deadline()
        if deadline is not None and now >= deadline and not self._over:
            self._final = "Failed"
            self._failure = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
        if self._over:
            yield from self._wind_up(now)
            return
        if not self._prepared:
            if not self._preparing and now >= self._prepare_at:
                self._preparing = True
                yield Prepare()
            return
        yield from self._start_due(now)
        phase = phase_of(self.pod, tuple(self.runs.values()))
        if phase in TERMINAL and not any(run.alive for run in self.runs.values() if not run.sidecar):
            self._final = phase
            yield from self._wind_up(now)
            return
        for run in self.runs.values():
            yield from self._look(run, now)

    def _start_due(self, now: float) -> Iterator[Command]:
        for run in self._startable():
            if run.stage is Stage.WAITING and now >= run.not_before:
                run.stage = Stage.STARTING
                if run.again:
                    run.again, run.restarts = False, run.restarts + 1
                if run.reason in ("PodInitializing", "CrashLoopBackOff"):
                    run.reason, run.message = "ContainerCreating", ""
                yield StartContainer(run.spec, run.restarts)

    def _startable(self) -> Iterator[ContainerRun]:
        """The containers whose turn it is: up to the first init container that has not done its work."""
        for run in self.runs.values():
            yield run
            if run.init and not run.done:
                return

    def _wind_up(self, now: float) -> Iterator[Command]:
        """End what runs: the others first, sidecars in reverse order after them."""
        alive = [run for run in self.runs.values() if run.alive]
        mains = [run for run in alive if not run.sidecar]
        for run in mains or list(reversed(alive))[:1]:
            if run.stopping is None and run.stage is Stage.RUNNING:
                yield from self._begin_to_end(run, float(self._grace), f"Stopping container {run.spec.name}", now)
        for run in alive:
            if self.deleting:
                yield from self._look(run, now)
        if not alive and self.deleting and not self._preparing:
            self._removed = True
            if not self._final:
                codes = [run.exit_code for run in self.runs.values() if not run.init]
                self._final = "Failed" if any(codes) else "Succeeded"
            yield from self._show(now)
            yield Remove()

    @property
    def _grace(self) -> int:
        meta, spec = self.pod.metadata, self.pod.spec
        if meta.deletion_timestamp is not None and meta.deletion_grace_period_seconds is not None:
            return meta.deletion_grace_period_seconds
        grace = spec.termination_grace_period_seconds
        return _DEFAULT_GRACE if grace is None else grace

    def _begin_to_end(self, run: ContainerRun, grace: float, why: str, now: float) -> Iterator[Command]:
        yield Tell("Killing", why, container=run.spec.name)
        stopping = run.stopping = Stopping(now + grace)
        hook = run.spec.lifecycle.pre_stop if run.spec.lifecycle is not None else None
        if hook is not None and grace > 0 and run.stage is Stage.RUNNING:
            stopping.hooking = True
            yield RunHook(run.spec.name, run.restarts, hook, grace)
        else:
            yield from self._ask_to_end(run, stopping, now)

    def _ask_to_end(self, run: ContainerRun, stopping: Stopping, now: float) -> Iterator[Command]:
        if stopping.hooking:
            stopping.kill_at = max(stopping.kill_at, now + _LEAST_AFTER_HOOK)
        stopping.hooking, stopping.termed = False, True
        signal = run.spec.lifecycle.stop_signal if run.spec.lifecycle is not None else ""
        yield Terminate(run.spec.name, run.restarts, max(0.0, stopping.kill_at - now), signal or "SIGTERM")

    def _press(self, now: float) -> Iterator[Command]:
        """Lose patience where it is time to, also earlier if the pod's deletion has been hastened."""
        for run in self.runs.values():
            stopping = run.stopping
            if stopping is None or not run.alive or stopping.killed:
                continue
            if self.deleting:
                stopping.kill_at = min(stopping.kill_at, now + self._grace)
            if now < stopping.kill_at:
                continue
            if stopping.hooking:
                yield from self._ask_to_end(run, stopping, now)
            else:
                stopping.killed = True
                yield Kill(run.spec.name, run.restarts)

    def _active(self, run: ContainerRun) -> list[ProbeCourse]:
        probes = run.probes
        startup = probes.get(ProbeKind.STARTUP)
        if self._over or run.stopping is not None:
            return [course for kind, course in probes.items() if kind is ProbeKind.READINESS and run.started]
        if startup is not None and startup.outcome is not Outcome.SUCCESS:
            return [startup]
        return [course for kind, course in probes.items() if kind is not ProbeKind.STARTUP]

    def _look(self, run: ContainerRun, now: float) -> Iterator[Command]:
        if run.stage is Stage.RUNNING:
            for course in self._active(run):
                if course.due is not None and now >= course.due:
                    course.begin()
                    yield Look(run.spec.name, run.restarts, course.kind, course.probe)

    # What is shown

    def _show(self, now: float) -> Iterator[Command]:
        status = self._status(now)
        if status != self._written:
            self._written = status
            runs = self.runs.values()
            unsettled = self._preparing or any(run.stage is Stage.STARTING for run in runs)
            yield WriteStatus(status, settled=not unsettled)

    def _status(self, now: float) -> Document:
        runs = tuple(self.runs.values())
        phase = self._final or phase_of(self.pod, runs)
        shown = phase if not (self._final and any(run.alive for run in runs)) or self._failure[0] else "Running"
        status: Document = {
            "phase": shown,
            "conditions": conditions_of(
                self.pod, runs, shown, prepared=self._prepared, now=now, former=self._conditions
            ),
            "startTime": self._start_time,
            "hostIP": self._node_addresses[0],
            "hostIPs": [{"ip": address} for address in self._node_addresses],
            "containerStatuses": [container_status(self.pod, run) for run in runs if not run.init],
        }
        if self._addresses:
            status["podIP"] = self._addresses[0]
            status["podIPs"] = [{"ip": address} for address in self._addresses]
        if self.pod.spec.init_containers:
            status["initContainerStatuses"] = [container_status(self.pod, run) for run in runs if run.init]
        if self._failure[0]:
            status["reason"], status["message"] = self._failure
        return status


def _duration(seconds: int) -> str:
    """Seconds as Go prints them."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
