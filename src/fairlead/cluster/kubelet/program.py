"""The kubelet of all nodes: pods assigned to them come in by watch, workers run them.

One process, one loop. Refuses to know what a container is; keeps a worker per pod uid.
"""

import asyncio
import shutil
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Set
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from fairlead.cluster.kubelet.claims import ClaimFolders
from fairlead.cluster.kubelet.commands import TryAgain
from fairlead.cluster.kubelet.events import EventRecorder
from fairlead.cluster.kubelet.execserver import serve_commands
from fairlead.cluster.kubelet.inside import Inside
from fairlead.cluster.kubelet.logserver import LogFile, follow_new_lines, start_log_server
from fairlead.cluster.kubelet.nodes import NodeReporter
from fairlead.cluster.kubelet.references import References
from fairlead.cluster.kubelet.runtime import Containers, Surroundings
from fairlead.cluster.kubelet.tokens import PodTokens
from fairlead.cluster.kubelet.worker import PodWorker
from fairlead.cluster.launch import ImageRule
from fairlead.cluster.orders import Order
from fairlead.cluster.places import Place, serve_places
from fairlead.cluster.standins.process import raise_descriptor_limit
from fairlead.cluster.topology import Topology
from fairlead.drivers.kubeapi import Applied, Deleted, HttpTransport, KubeClient
from fairlead.kube.pods import Pod

_PLACES_TOLD = 50  # of pods, to somebody who asked for one there is not
_WRITES_AT_ONCE = 8
_AT_ONCE = 32  # pods being prepared, or containers being started, at a time
_RENEWAL = 30.0  # seconds between looks at tokens that end


class KubeletConfig(Struct, frozen=True, kw_only=True):
    """How to reach the API server and the stand-ins process, the network, and where to keep files."""

    kubeconfig: Path
    topology: Topology
    images: tuple[ImageRule, ...] = ()
    state: Path
    """Holds logs/, pods/ and claims/."""
    sockets: Path
    """Where the log server listens, as `kubelet`, and the ways in for `fairlead exec`, as `places`, and for
    `kubectl exec`, as `commands`.
    """
    standins_socket: Path


async def main(config: KubeletConfig) -> None:
    """Run for ever. Ends when one of its parts breaks, and is then started again by the supervisor."""
    client = KubeClient(HttpTransport.from_kubeconfig(config.kubeconfig))
    await Kubelet(config, client).run()


class Kubelet:
    """All pods of all nodes."""

    def __init__(self, config: KubeletConfig, client: KubeClient) -> None:
        self._config = config
        self._client = client
        self._workers: dict[str, PodWorker] = {}
        self._events = EventRecorder(client)
        self._references = References(client, self._changed)
        self._tokens = PodTokens(client)
        self._claims = ClaimFolders(client, config.state / "claims")
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._around = Surroundings(
            client=client,
            topology=config.topology,
            references=self._references,
            claims=self._claims,
            tokens=self._tokens,
            images=config.images,
            state=config.state,
            sockets=config.sockets,
            writes=asyncio.Semaphore(_WRITES_AT_ONCE),
            tell=self._events.tell,
            told=_told,
        )
        self._containers = Containers(self._around, config.standins_socket, self._ended)

    async def run(self) -> None:
        """Run for ever."""
        raise_descriptor_limit()
        nodes = self._config.topology.nodes.values()
        runner = await start_log_server(self._config.sockets / "kubelet", self._find_log, {"/usage": self._usage})
        parts: list[Coroutine[Any, Any, None]] = [
            *(NodeReporter(self._client, node, _told).run() for node in nodes),
            self._references.follow_config_maps(),
            self._references.follow_secrets(),
            self._references.follow_services(),
            self._claims.follow(),
            self._events.run(),
            self._renew_tokens(),
            self._containers.standins.run(),
            self._follow_pods(),
            serve_places(self._config.sockets / "places", self._find_place, self._known_places),
            serve_commands(self._config.sockets / "commands", self._find_inside, self._follow_log, self._talked),
        ]
        tasks = [asyncio.ensure_future(part) for part in parts]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await runner.cleanup()
            await self._client.close()

    async def _renew_tokens(self) -> None:
        while True:
            await asyncio.sleep(_RENEWAL)
            for uid in self._tokens.due():
                if uid in self._workers:
                    self._workers[uid].refresh()

    async def _follow_pods(self) -> None:
        async for change in self._client.reflect(Pod):
            if isinstance(change, Applied):
                self._see(change.object)
            elif isinstance(change, Deleted):
                self._lose(change.object.metadata.uid)
            else:
                seen = {pod.metadata.uid for pod in change.items}
                sweep(self._config.state, seen, set(self._workers))
                for uid in tuple(self._workers):
                    if uid not in seen:
                        self._lose(uid)
                for pod in change.items:
                    self._see(pod)

    def _see(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        worker = self._workers.get(uid)
        if worker is not None:
            worker.see(pod)
        elif pod.spec.node_name in self._config.topology.nodes:
            worker = PodWorker(pod, self._around, self._containers, self._slots, lambda: self._forget(uid))
            self._workers[uid] = worker
            worker.see(pod)

    def _lose(self, uid: str) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.abandon()

    def _forget(self, uid: str) -> None:
        self._tokens.forget(uid)
        worker = self._workers.pop(uid, None)
        if worker is not None:
            meta = worker.pod.metadata
            folder = self._config.state / "logs" / f"{meta.namespace}_{meta.name}_{meta.uid}"
            asyncio.get_running_loop().call_later(1.0, lambda: shutil.rmtree(folder, ignore_errors=True))

    def _ended(self, uid: str, name: str, exit_code: int, message: str, reason: str) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.ended(name, exit_code, message, reason)

    def _changed(self, namespace: str) -> None:
        for worker in tuple(self._workers.values()):
            if worker.pod.metadata.namespace == namespace and worker.refers:
                worker.send(TryAgain())
                worker.refresh()

    def _find_place(self, text: str) -> Place | None:
        netns = self._config.topology.place(text)
        if netns is not None:
            return Place(netns, hostname=text.rsplit("/", 1)[-1])
        found = [worker for worker in self._workers.values() if text == _place_of(worker.pod)]
        found.sort(key=lambda worker: worker.pod.metadata.deletion_timestamp is not None)
        return found[0].place() if found else None

    def _known_places(self) -> list[str]:
        pods = [_place_of(worker.pod) for worker in self._workers.values()]
        return [*self._config.topology.places(), *sorted(pods)[:_PLACES_TOLD]]

    def _find_log(self, namespace: str, pod: str, container: str, previous: bool) -> LogFile | str:
        worker = self._worker_of(namespace, pod)
        return worker.find_log(container, previous=previous) if worker else f'pod "{pod}" not found'

    async def _find_inside(self, order: Order) -> Inside | str:
        worker = self._worker_of(order.namespace, order.pod)
        return await worker.inside(order.container) if worker else f'pod "{order.pod}" not found'

    async def _usage(self) -> bytes:
        from fairlead.cluster.kubelet.measuring import measure  # few clusters are measured
        from fairlead.cluster.metrics.usage import Usage

        served = await self._containers.standins.count()
        pods = [worker.running() for worker in self._workers.values()]
        return msgspec.json.encode(Usage(time.time(), measure(pods, self._containers.pids(), served)))

    def _follow_log(self, order: Order) -> AsyncIterator[tuple[str, bytes]]:
        return follow_new_lines(lambda: self._find_log(order.namespace, order.pod, order.container, False))

    def _talked(self, order: Order, code: int) -> None:
        worker = self._worker_of(order.namespace, order.pod)
        if worker is not None:
            worker.end_standin(order.container, code)

    def _worker_of(self, namespace: str, pod: str) -> PodWorker | None:
        for worker in self._workers.values():
            meta = worker.pod.metadata
            if (meta.namespace, meta.name) == (namespace, pod):
                return worker
        return None


def sweep(state: Path, seen: Set[str], running: Set[str]) -> None:
    """Remove what an earlier kubelet left of pods that are gone; of the others keep the volumes and logs."""
    for folder in (state / "pods").glob("*"):
        if folder.name not in running:
            parts = [folder / "containers", folder / "place"] if folder.name in seen else [folder]
            for part in parts:
                shutil.rmtree(part, ignore_errors=True)
    for folder in (state / "logs").glob("*_*_*"):
        if folder.name.rsplit("_", 1)[1] not in seen | running:
            shutil.rmtree(folder, ignore_errors=True)


def _place_of(pod: Pod) -> str:
    return f"pod/{pod.metadata.namespace}/{pod.metadata.name}"


def _told(line: str) -> None:
    sys.stderr.write(f"component=kubelet {line}\n")
