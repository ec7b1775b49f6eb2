"""Where a pod may run: nodes and what already runs on them come in, the best node or the reasons against each go
out.

A machine that follows pods and nodes one change at a time, so that placing a pod costs one look per node. Filters
and their messages are kube-scheduler's; its scores are replaced by one rule: the node that most of the pod's wishes
speak for, then the one with the fewest pods in its spread domains, then the fewest pods of the same owner, then the
fewest pods, then the first by name. Knows no API, no queue and no time.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import Struct

from fairlead.cluster.controllers.eligibility import (
    admits_unschedulable,
    dislike,
    matches_selector,
    preference,
    untolerated,
)
from fairlead.cluster.controllers.informers import controller_uid
from fairlead.cluster.controllers.pods import is_finished
from fairlead.cluster.controllers.proximity import Neighbourhood
from fairlead.kube.containers import Container, Quantity
from fairlead.kube.core import Node, Pod
from fairlead.kube.quantities import parse_quantity

DEFAULT_PODS_PER_NODE = 110
_TAINT = 100  # a taint that asks to rather stay away weighs as much as the strongest wish

HostPort = tuple[str, str, int]
"""Protocol, host address and port; `0.0.0.0` is every address."""


class Claim(Struct, frozen=True, kw_only=True):
    """What a pod takes of its node: processor cores, bytes of memory and host ports."""

    cpu: float
    memory: float
    host_ports: tuple[HostPort, ...]
    owner: str


class Unplaced(Struct, frozen=True):
    """No node takes the pod; the message is the one its PodScheduled condition and its Event show."""

    message: str


class _Room(Struct):
    """One node's share of the cluster: what it has, what is claimed of it."""

    claims: dict[str, Claim]
    owners: Counter[str]
    node: Node | None = None
    cpu: float = 0.0
    memory: float = 0.0
    pods: float = 0.0
    claimed_cpu: float = 0.0
    claimed_memory: float = 0.0

    def add(self, uid: str, claim: Claim) -> None:
        self.claims[uid] = claim
        self.owners[claim.owner] += 1
        self.claimed_cpu += claim.cpu
        self.claimed_memory += claim.memory

    def drop(self, uid: str) -> None:
        claim = self.claims.pop(uid)
        self.owners[claim.owner] -= 1
        if not self.owners[claim.owner]:
            del self.owners[claim.owner]
        self.claimed_cpu -= claim.cpu
        self.claimed_memory -= claim.memory


class Placement:
    """Nodes, and the claims of the pods on them; feed it every change, then ask `place`."""

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}
        self._node_of: dict[str, str] = {}
        self._neighbourhood = Neighbourhood()

    def follow_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """A namespace came, changed its labels or (None) went."""
        self._neighbourhood.follow_namespace(name, labels)

    def follow_node(self, name: str, node: Node | None) -> None:
        """A node came, changed or (None) went."""
        room = self._room(name)
        room.node = node
        if node is not None:
            has = node.status.allocatable or node.status.capacity
            room.cpu = _amount(has.get("cpu"), float("inf"))
            room.memory = _amount(has.get("memory"), float("inf"))
            room.pods = _amount(has.get("pods"), DEFAULT_PODS_PER_NODE)
        elif not room.claims:
            del self._rooms[name]

    def follow_pod(self, uid: str, pod: Pod | None) -> bool:
        """A pod came, changed or (None) went; return whether it freed something. Finished pods claim nothing.

        A pod assumed on a node stays there while the API server does not say otherwise.
        """
        node = "" if pod is None or is_finished(pod) else pod.spec.node_name
        held = self._node_of.get(uid, "")
        if held == node and pod is not None and node:
            self._neighbourhood.follow(pod, node)
        if node == held or (held and pod is not None and not is_finished(pod) and not node):
            return False
        if held:
            self._rooms[held].drop(uid)
            del self._node_of[uid]
            self._neighbourhood.forget(uid)
        if node and pod is not None:
            self.assume(pod, node)
        return bool(held)

    def holds(self, uid: str) -> bool:
        """Whether a pod is counted on a node."""
        return uid in self._node_of

    def assume(self, pod: Pod, node: str) -> None:
        """Count a pod as on a node, before the API server says so."""
        uid = pod.metadata.uid
        if uid not in self._node_of:
            self._room(node).add(uid, claim_of(pod))
            self._node_of[uid] = node
            self._neighbourhood.follow(pod, node)

    def _room(self, name: str) -> _Room:
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = _Room({}, Counter())
        return room

    def place(self, pod: Pod) -> str | Unplaced:
        """The node for a pod, or why there is none."""
        claim = claim_of(pod)
        nodes = {name: room.node for name, room in self._rooms.items() if room.node is not None}
        judge = self._neighbourhood.judge(pod, nodes)
        best: tuple[int, int, int, int, str] | None = None
        against: Counter[str] = Counter()
        for name, node in nodes.items():
            room = self._rooms[name]
            reasons = _reasons_against(pod, claim, room, node)
            wished, fullness = 0, 0
            if judge is not None and not reasons:
                verdict = judge.judge(node)
                reasons = (verdict.reason,) if verdict.reason else ()
                wished, fullness = verdict.rank
            against.update(reasons)
            if not reasons:
                liking = wished - preference(pod, node) + _TAINT * dislike(pod, node)
                rank = (liking, fullness, room.owners.get(claim.owner, 0) if claim.owner else 0, len(room.claims), name)
                best = rank if best is None or rank < best else best
        return best[-1] if best is not None else Unplaced(_explain(len(nodes), against))


def claim_of(pod: Pod) -> Claim:
    """The larger of what all containers request together and what any init container does (KEP-753 for sidecars)."""
    cpu, memory = (_request(pod, name) for name in ("cpu", "memory"))
    ports: list[HostPort] = [
        (port.protocol, port.host_ip or "0.0.0.0", port.host_port)
        for container in pod.spec.containers
        for port in container.ports
        if port.host_port
    ]
    return Claim(cpu=cpu, memory=memory, host_ports=tuple(ports), owner=controller_uid(pod))


def _request(pod: Pod, resource: str) -> float:
    sidecars = [each for each in pod.spec.init_containers if each.restart_policy == "Always"]
    steady = sum(_requested(each, resource) for each in (*pod.spec.containers, *sidecars))
    peak, started = 0.0, 0.0
    for each in pod.spec.init_containers:
        amount = _requested(each, resource)
        if each.restart_policy == "Always":
            started += amount
        peak = max(peak, started + (0.0 if each.restart_policy == "Always" else amount))
    return max(steady, peak) + _amount(pod.spec.overhead.get(resource), 0.0)


def _requested(container: Container, resource: str) -> float:
    return _amount(container.resources.requests.get(resource), 0.0)


def _amount(quantity: Quantity | None, absent: float) -> float:
    return absent if quantity is None else float(parse_quantity(quantity))


def _reasons_against(pod: Pod, claim: Claim, room: _Room, node: Node) -> tuple[str, ...]:
    """Why a node does not take a pod, in kube-scheduler's words; only the last filter can give several reasons."""
    if not admits_unschedulable(node, pod.spec.tolerations):
        return ("node(s) were unschedulable",)
    taint = untolerated(node, pod.spec.tolerations)
    if taint is not None:
        return (f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}",)
    if not matches_selector(pod, node):
        return ("node(s) didn't match Pod's node affinity/selector",)
    if claim.host_ports and _conflict(claim.host_ports, room.claims.values()):
        return ("node(s) didn't have free ports for the requested pod ports",)
    reasons: list[str] = []
    if len(room.claims) + 1 > room.pods:
        reasons.append("Too many pods")
    if claim.cpu > 0 and room.claimed_cpu + claim.cpu > room.cpu + 1e-9:
        reasons.append("Insufficient cpu")
    if claim.memory > 0 and room.claimed_memory + claim.memory > room.memory:
        reasons.append("Insufficient memory")
    return tuple(reasons)


def _conflict(wanted: Iterable[HostPort], claims: Iterable[Claim]) -> bool:
    taken = [port for claim in claims for port in claim.host_ports]
    every = "0.0.0.0"
    return any(
        protocol == other_protocol and port == other_port and (address == other or every in (address, other))
        for protocol, address, port in wanted
        for other_protocol, other, other_port in taken
    )


def _explain(nodes: int, against: Counter[str]) -> str:
    if not nodes:
        return "no nodes available to schedule pods"
    reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in against.items()))
    return f"0/{nodes} nodes are available: {reasons}."
