"""An API server in this process, with the real engine and kinds, and a kubelet that only writes statuses."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.cluster.apiserver.log import SqliteLog
from fairlead.cluster.apiserver.loopback import InProcessTransport
from fairlead.drivers.kubeapi import Applied, KubeClient, Replaced
from fairlead.kube.core import Pod
from fairlead.kube.documents import Document, Json
from fairlead.kube.resources import find_resource
from fairlead.net import parse_prefix


class Cluster:
    """What a test drives: a client, and waiting for what the controllers bring about."""

    def __init__(self, client: KubeClient) -> None:
        self.client = client

    async def apply(self, *documents: Document) -> None:
        for document in documents:
            resource = find_resource(str(document["apiVersion"]), str(document["kind"]))
            assert resource is not None
            metadata = document["metadata"]
            assert isinstance(metadata, dict)
            await self.client.create_document(resource, document, str(metadata.get("namespace", "")))

    async def until(self, condition: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> float:
        started = time.monotonic()
        while not await condition():
            if time.monotonic() - started > seconds:
                raise AssertionError(f"waited {seconds} s in vain")
            await asyncio.sleep(0.005)
        return time.monotonic() - started

    async def add_nodes(self, count: int, pods: int = 110) -> None:
        for number in range(1, count + 1):
            await self.apply(node(f"node-{number}", pods=pods))


def node(name: str, pods: int = 110) -> Document:
    room: Document = {"cpu": "64", "memory": "64Gi", "pods": str(pods)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {
            "capacity": room,
            "allocatable": room,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        },
    }


class Kubelet:
    """Runs pods by saying so: Running and Ready once bound, gone once deleted."""

    def __init__(self, client: KubeClient) -> None:
        self.client = client
        self.held: set[str] = set()
        """Images whose pods never become ready."""
        self.lingering = False
        """Whether pods that are deleted go on until `let_go`."""
        self._leaving: list[Pod] = []
        self._addresses: dict[str, str] = {}
        self._ended: set[str] = set()

    async def run(self) -> None:
        async for change in self.client.reflect(Pod):
            match change:
                case Replaced(items=items):
                    for pod in items:
                        await self._follow(pod)
                case Applied(object=pod):
                    await self._follow(pod)
                case _:
                    pass

    async def _follow(self, pod: Pod) -> None:
        meta = pod.metadata
        if not pod.spec.node_name:
            return
        if meta.deletion_timestamp is not None:
            if meta.uid not in self._ended:
                self._ended.add(meta.uid)
                self._leaving.append(pod)
                if not self.lingering:
                    await self.let_go()
            return
        if meta.uid not in self._addresses:
            number = len(self._addresses)
            self._addresses[meta.uid] = f"10.244.{number // 250 + 1}.{number % 250 + 2}"
            await self.client.patch(Pod, meta.name, meta.namespace, self._status(pod), subresource="status")

    async def let_go(self) -> None:
        """End the pods that are being deleted."""
        self.lingering = False
        while self._leaving:
            meta = self._leaving.pop().metadata
            await self.client.delete(Pod, meta.name, meta.namespace, grace_seconds=0, uid=meta.uid)

    @property
    def leaving(self) -> int:
        """How many pods are being deleted and have not ended."""
        return len(self._leaving)

    def _status(self, pod: Pod) -> Document:
        address = self._addresses[pod.metadata.uid]
        ready = "False" if pod.spec.containers[0].image in self.held else "True"
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        conditions: list[Json] = [
            {"type": kind, "status": ready if kind == "Ready" else "True", "lastTransitionTime": now}
            for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        ]
        return {
            "status": {
                "phase": "Running",
                "podIP": address,
                "podIPs": [{"ip": address}],
                "hostIP": "172.18.0.2",
                "conditions": conditions,
            }
        }


@contextlib.asynccontextmanager
async def running(*tasks: Awaitable[None]) -> AsyncGenerator[None, None]:
    started = [asyncio.ensure_future(task) for task in tasks]
    try:
        yield
    finally:
        failed = [each.exception() for each in started if each.done() and not each.cancelled()]
        for each in started:
            each.cancel()
        await asyncio.gather(*started, return_exceptions=True)
        if failed:
            raise ExceptionGroup(
                "tasks that should run on have ended", [each for each in failed if isinstance(each, Exception)]
            )


def make_server(folder: Path) -> ApiServer:
    """The real engine with the real kinds, over a database in `folder`."""
    return ApiServer(SqliteLog(folder / "data.sqlite"), KINDS, service_ranges=(parse_prefix("10.96.0.0/16"),))


def make_client(server: ApiServer) -> KubeClient:
    """A client in the same process."""
    return KubeClient(InProcessTransport(server))
