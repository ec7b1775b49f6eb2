"""Runs the node controllers: looks at every node every few seconds and after every change, and removes pods of
nodes gone.
"""

from collections.abc import Callable

from fairlead.cluster.controllers.loops import Loop
from fairlead.cluster.controllers.nodes import PERIOD_SECONDS, Heard, note_sign, reconcile_node
from fairlead.cluster.controllers.performer import Performer
from fairlead.cluster.controllers.queue import WorkQueue
from fairlead.cluster.controllers.replicasets import delete_pod
from fairlead.cluster.controllers.world import NODE_LEASES, World
from fairlead.kube.core import Node, Pod

ORPHAN_SECONDS = 10.0
"""How long a node may be missing before its pods are removed; upstream's PodGC waits 40 s."""


class NodeLoop:
    """Follows the life of nodes."""

    def __init__(self, world: World, performer: Performer, clock: Callable[[], float]) -> None:
        self._world = world
        self._performer = performer
        self._clock = clock
        self._heard: dict[str, Heard] = {}
        self._looked: dict[str, float] = {}
        self._missing: dict[str, float] = {}
        self.loop = Loop("node", WorkQueue[str](), self.reconcile)
        world.nodes.listen(self._on_node)
        world.pods.listen(self._on_pod)

    def _on_node(self, old: Node | None, new: Node | None) -> None:
        node = old if new is None else new
        if node is not None:
            self.loop.queue.add(node.metadata.name)

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        """A pod that comes to a node that is gone or tainted has to leave."""
        name = new.spec.node_name if new is not None and (old is None or not old.spec.node_name) else ""
        if name:
            node = self._world.nodes.get("", name)
            if node is None or node.spec.taints:
                self.loop.queue.add(name)

    async def reconcile(self, name: str) -> float | None:
        """Look at one node."""
        now = self._clock()
        node = self._world.nodes.get("", name)
        if node is None:
            self._heard.pop(name, None)
            self._looked.pop(name, None)
            return await self._collect(name, now)
        self._missing.pop(name, None)
        heard = self._heard[name] = note_sign(self._heard.get(name), self._sign(node), now, self._looked.get(name))
        self._looked[name] = now
        again = await self._performer.perform(reconcile_node(node, self._world.pods_by_node.find(name), heard, now))
        return PERIOD_SECONDS if again is None else min(again, PERIOD_SECONDS)

    def _sign(self, node: Node) -> str:
        lease = self._world.leases.get(NODE_LEASES, node.metadata.name)
        ready = next((each for each in node.status.conditions if each.type == "Ready"), None)
        renewed = lease.spec.renew_time if lease is not None else ""
        said = (ready.status, ready.last_heartbeat_time) if ready is not None and ready.status != "Unknown" else ()
        return f"{renewed} {said}"

    async def _collect(self, name: str, now: float) -> float | None:
        """Remove the pods of a node that has been missing long enough; nobody else can end them."""
        pods = self._world.pods_by_node.find(name)
        if not pods:
            self._missing.pop(name, None)
            return None
        missing = now - self._missing.setdefault(name, now)
        if missing < ORPHAN_SECONDS:
            return ORPHAN_SECONDS - missing
        await self._performer.delete_all([delete_pod(pod, grace_seconds=0) for pod in pods])
        return ORPHAN_SECONDS
