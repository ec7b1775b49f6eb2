"""One pod's hands: carries out what its machine commands, and tells it what came of it.

Comes in: the pod as the API shows it. Goes out: a network, containers, probes, status writes, events, and at last
the pod's removal. Decides nothing but when a status is worth writing.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

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
    WriteStatus,
)
from fairlead.cluster.kubelet.environment import references_of
from fairlead.cluster.kubelet.events import Said
from fairlead.cluster.kubelet.gate import NotIsolatedError, wait_until_isolated
from fairlead.cluster.kubelet.inside import Inside
from fairlead.cluster.kubelet.logserver import LogFile
from fairlead.cluster.kubelet.machine import PodMachine
from fairlead.cluster.kubelet.prober import look
from fairlead.cluster.kubelet.probes import Outcome
from fairlead.cluster.kubelet.runs import Stage
from fairlead.cluster.kubelet.runtime import TOKEN_VOLUME, Containers, Refused, Room, Surroundings, log_path, run_id
from fairlead.cluster.places import Place
from fairlead.cluster.standins.controls import parse_controls
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.kubeapi import ApiError, PatchType
from fairlead.kube.containers import LifecycleHandler
from fairlead.kube.documents import Document
from fairlead.kube.pods import Pod

if TYPE_CHECKING:
    from fairlead.cluster.kubelet.measuring import Running

_UNSETTLED_FOR = 0.5  # seconds a status that is about to change again is held back
_FIRST_RETRY, _LAST_RETRY = 0.1, 5.0


class PodWorker:
    """Runs one pod. `done` is called when nothing is left of it."""

    def __init__(
        self, pod: Pod, around: Surroundings, containers: Containers, slots: asyncio.Semaphore, done: Callable[[], None]
    ) -> None:
        self._around = around
        self._containers = containers
        self._slots = slots
        self._done = done
        self._node = around.topology.nodes[pod.spec.node_name]
        self._machine = PodMachine(pod, tuple(map(str, self._node.addresses)), time.time())
        self._room: Room | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._hooks: dict[str, asyncio.Task[None]] = {}
        self._status: WriteStatus | None = None
        self._status_due = asyncio.Event()
        self._writer = self._spawn(self._write_statuses())
        self._gone = False
        self._complained: set[Tell] = set()

    @property
    def pod(self) -> Pod:
        """The pod as last seen."""
        return self._machine.pod

    def send(self, event: Event) -> None:
        """Let the machine take a step, and do what it says."""
        if self._gone:
            return
        for command in self._machine.step(event, time.time()):
            self._perform(command)
        self._schedule()

    @property
    def refers(self) -> bool:
        """Whether the pod refers to objects whose change it must follow."""
        spec = self.pod.spec
        every = (*spec.init_containers, *spec.containers)
        volumes = [each for each in spec.volumes if each.host_path is None]
        if not self._containers.has_programs(self.pod):
            volumes = [each for each in volumes if not each.name.startswith(TOKEN_VOLUME)]
        return bool(volumes) or any(map(references_of, every))

    def running(self) -> "Running":
        """The containers that run, for measuring them."""
        from fairlead.cluster.kubelet.measuring import Running

        runs = [run for run in self._machine.runs.values() if run.stage is Stage.RUNNING]
        known = ((run.spec.name, run.restarts, run_id(self.pod, run.spec.name, run.restarts)) for run in runs)
        return Running(self.pod, tuple(known))

    def find_log(self, container: str, *, previous: bool) -> LogFile | str:
        """The log file of a container's present or previous run, or the words for why there is none."""
        run = self._machine.runs.get(container)
        if run is None:
            return f"container {container} is not valid for pod {self.pod.metadata.name}"
        number = run.restarts - (previous and not run.again)  # between two runs the one that ended is both
        path = log_path(self._around.state, self.pod, container, number)
        if number < 0 or (previous and not path.exists()):
            return f'previous terminated container "{container}" in pod "{self.pod.metadata.name}" not found'
        if run.stage is Stage.WAITING and run.last is None:
            told = f'container "{container}" in pod "{self.pod.metadata.name}" is waiting to start'
            return f"{told}: {run.message or run.reason}"
        return LogFile(path, live=run.alive and not previous)

    def place(self) -> Place | None:
        """Where commands are run in this pod; None while it has no network."""
        return None if self._room is None else self._containers.place(self.pod, self._room)

    async def inside(self, container: str) -> Inside | str:
        """Where commands beside a container run, or the words for why none can be."""
        run, room = self._machine.runs.get(container), self._room
        if run is None or room is None or not run.alive:
            return f'container not found ("{container}")'
        try:
            return await self._containers.inside(self.pod, run.spec, run.restarts, room)
        except Refused as refused:
            return refused.message

    def end_standin(self, container: str, code: int) -> None:
        """What somebody ran in place of a stand-in has ended; one that is talked to once ends with it."""
        run = self._machine.runs.get(container)
        if run is not None and run.alive and run.spec.stdin_once:
            self._containers.end_standin(self.pod, container, run.restarts, code)

    def see(self, pod: Pod) -> None:
        """The API shows the pod so. Files that show its labels or annotations follow them."""
        before = self.pod.metadata
        self.send(PodSeen(pod))
        self._follow_controls(before.annotations, pod.metadata.annotations)
        if (before.labels, before.annotations) != (pod.metadata.labels, pod.metadata.annotations) and any(
            volume.downward_api or volume.projected for volume in pod.spec.volumes
        ):
            self.refresh()

    def _follow_controls(self, before: dict[str, str], now: dict[str, str]) -> None:
        """Have stand-ins behave as the annotations ask by now, and tell of what cannot be followed."""
        controls, complaints = parse_controls(now)
        if controls != parse_controls(before)[0]:
            for run in self._machine.runs.values():
                self._containers.tune(self.pod, run.spec.name, run.restarts, controls)
        for each in complaints:
            said = Tell("InvalidControl", f"{each.annotation}: {each.message}", warning=True)
            if said not in self._complained:
                self._complained.add(said)
                self._tell(said)

    def refresh(self) -> None:
        """Something the pod refers to has changed: files of its volumes follow."""
        if self._room is not None:
            self._spawn(self._containers.refresh(self.pod, self._room))

    def ended(self, name: str, exit_code: int, message: str, reason: str) -> None:
        """A container has ended."""
        self.send(ContainerEnded(name, exit_code, message, reason))

    def abandon(self) -> None:
        """The object is gone from the API: leave nothing running."""
        if not self._gone:
            self._spawn(self._leave())

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = None if self._gone else self._machine.next_due()
        if due is not None:
            delay = max(0.001, due - time.time())
            self._timer = asyncio.get_running_loop().call_later(delay, self.send, Tick())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._around.told(f"pod={self.pod.metadata.namespace}/{self.pod.metadata.name} failed={error!r}")

    def _perform(self, command: Command) -> None:
        if isinstance(command, Prepare):
            self._spawn(self._prepare())
        elif isinstance(command, StartContainer):
            self._spawn(self._start(command))
        elif isinstance(command, Terminate):
            self._containers.terminate(self.pod, command)
        elif isinstance(command, Kill):
            self._containers.kill(self.pod, command)
        elif isinstance(command, RunHook):
            self._hooks[command.name] = self._spawn(self._hook(command))
        elif isinstance(command, Look):
            self._spawn(self._look(command))
        elif isinstance(command, WriteStatus):
            self._status = command
            self._status_due.set()
        elif isinstance(command, Tell):
            self._tell(command)
        elif isinstance(command, Remove):  # pyright: ignore[reportUnnecessaryIsInstance] - the union, spelt out
            self._spawn(self._remove())

    def _tell(self, said: Tell) -> None:
        meta = self.pod.metadata
        self._around.tell(
            Said(
                namespace=meta.namespace,
                pod=meta.name,
                uid=meta.uid,
                node=self._node.name,
                container=said.container,
                reason=said.reason,
                message=said.message,
                warning=said.warning,
            )
        )

    async def _prepare(self) -> None:
        async with self._slots:
            try:
                room = self._room or await self._containers.prepare(self.pod, self._node)
                self._room = room
                if self._around.sockets is not None and room.network is not None:
                    await wait_until_isolated(self._around.sockets, self.pod, self._node, room.addresses)
            except Refused as refused:
                return self.send(NotPrepared(refused.reason, refused.message))
            except (FairleadError, NotIsolatedError) as error:
                return self.send(NotPrepared("FailedCreatePodSandBox", str(error)))
            return self.send(Prepared(room.addresses))

    async def _start(self, command: StartContainer) -> None:
        assert self._room is not None
        name = command.container.name
        async with self._slots:
            try:
                await self._containers.start(self.pod, command, self._room)
            except Refused as refused:
                return self.send(ContainerRefused(name, refused.reason, refused.message))
            except FairleadError as error:
                return self.send(ContainerRefused(name, "RunContainerError", str(error)))
        self.send(ContainerStarted(name))
        hooks = command.container.lifecycle
        if hooks is not None and hooks.post_start is not None:
            failure = await self._run_handler(name, command.restarts, hooks.post_start, 30.0)
            if failure:
                self._tell(Tell("FailedPostStartHook", failure, True, name))
        return None

    async def _hook(self, command: RunHook) -> None:
        failure = await self._run_handler(command.name, command.restarts, command.handler, command.seconds)
        self.send(HookEnded(command.name, failure))

    async def _run_handler(self, name: str, restarts: int, handler: LifecycleHandler, seconds: float) -> str:
        """Run a hook; return what went wrong, or nothing."""
        room, container = self._room, self._machine.runs[name].spec
        assert room is not None
        if handler.sleep is not None:
            await asyncio.sleep(min(seconds, handler.sleep.seconds))
            return ""
        action = handler.http_get or handler.tcp_socket
        if action is not None:
            outcome, said = await look(action, container, self._node.netns, room.addresses[0], seconds)
        elif handler.exec_ is not None:
            outcome, said = await self._containers.execute(self.pod, name, restarts, handler.exec_.command, seconds)
        else:
            return ""
        return "" if outcome is Outcome.SUCCESS else said

    async def _look(self, command: Look) -> None:
        room, container = self._room, self._machine.runs[command.name].spec
        assert room is not None
        probe, seconds = command.probe, float(command.probe.timeout_seconds)
        action = probe.http_get or probe.tcp_socket or probe.grpc
        if action is not None:
            outcome, said = await look(action, container, self._node.netns, room.addresses[0], seconds)
        elif probe.exec_ is not None:
            words = probe.exec_.command
            outcome, said = await self._containers.execute(self.pod, command.name, command.restarts, words, seconds)
        else:
            outcome, said = Outcome.UNKNOWN, "the probe has no action"
        self.send(Probed(command.name, command.restarts, command.kind, outcome, said))

    async def _write_statuses(self) -> None:
        while True:
            await self._status_due.wait()
            self._status_due.clear()
            deadline = time.monotonic() + _UNSETTLED_FOR
            while self._status is not None and not self._status.settled and time.monotonic() < deadline:
                with suppress(TimeoutError):
                    async with asyncio.timeout(deadline - time.monotonic()):
                        await self._status_due.wait()
                self._status_due.clear()
            await self._flush()

    async def _flush(self) -> None:
        """Write the latest status; a server that cannot be reached is tried again."""
        delay = _FIRST_RETRY
        while self._status is not None:
            status, self._status = self._status, None
            meta = self.pod.metadata
            patch: Document = {"metadata": {"uid": meta.uid}, "status": status.status}
            try:
                async with self._around.writes:
                    await self._around.client.patch(
                        Pod, meta.name, meta.namespace, patch, subresource="status", patch_type=PatchType.MERGE
                    )
            except asyncio.CancelledError:
                self._status = self._status or status
                raise
            except ApiError as error:
                if error.status in (404, 409):  # gone, or another pod of that name by now
                    return
                self._around.told(f"pod={meta.namespace}/{meta.name} status=refused reason={error}")
                if 400 <= error.status < 500 and error.status != 429:
                    return
                self._status = self._status or status
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LAST_RETRY)

    async def _remove(self) -> None:
        self._writer.cancel()
        with suppress(asyncio.CancelledError):
            await self._writer
        await self._flush()
        await self._let_go()
        meta, delay = self.pod.metadata, _FIRST_RETRY
        while True:
            try:
                async with self._around.writes:
                    await self._around.client.delete(Pod, meta.name, meta.namespace, grace_seconds=0, uid=meta.uid)
                return self._done()
            except ApiError as error:
                if error.status in (404, 409):
                    return self._done()
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LAST_RETRY)

    async def _leave(self) -> None:
        self._writer.cancel()
        for run in self._machine.runs.values():
            if run.alive:
                self._containers.kill(self.pod, Kill(run.spec.name, run.restarts))
        await self._let_go()
        self._done()

    async def _let_go(self) -> None:
        if self._gone:
            return
        self._gone = True
        self._schedule()
        for task in tuple(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        room, self._room = self._room, None
        if room is not None:
            await self._containers.release(self.pod, room)
