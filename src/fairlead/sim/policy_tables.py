"""The policy table of one node of a world, as its agent would program it, and what it has to say for itself.

Comes in: a world and one of its nodes. Goes out: a table to walk packets through. For a packet that is dropped the
model is asked too (`sim.policies`), which also names the rule that came nearest: an AssertionError where the model
would have let it pass.
"""

from fairlead.compile.cluster_policies import compile_cluster_policy
from fairlead.compile.policies import compile_network_policy
from fairlead.compile.policy_node import NodePolicies
from fairlead.compile.policy_pods import compile_pod
from fairlead.kube.core import Node
from fairlead.kube.networking import NetworkPolicy
from fairlead.model import Origin
from fairlead.model.policies import Tier
from fairlead.net import Address, Family
from fairlead.nft.evaluate import Packet, Step
from fairlead.nft.objects import AnySet
from fairlead.nft.tables import TableContents
from fairlead.render.policy_chains import PolicySettings
from fairlead.render.policy_rows import PolicyRows
from fairlead.sim.policies import SideVerdict, judge_flow
from fairlead.sim.policy_matching import Dialled, End
from fairlead.sim.tables import Reason
from fairlead.sim.world import World

_GENERATION = 1


class PolicyTable:
    """The rows of a node's policies, and the model they were made of."""

    def __init__(self, world: World, machine: NodePolicies, rows: PolicyRows) -> None:
        self._world = world
        self._machine = machine
        self._rows = rows
        self.contents: TableContents = rows.desired()
        self.sets: tuple[AnySet, ...] = rows.sets

    def origin(self, packet: Packet, step: Step) -> Origin | None:
        """The first policy of the profile that a packet's address leads to."""
        del packet
        for looked in step.looked:
            subject = self._rows.subjects.get(Address(looked.key)) if looked.found and looked.key else None
            profile = getattr(subject, looked.set, None) if subject and looked.set in ("ingress", "egress") else None
            if profile is not None:
                return profile.policies[0]
        return None

    def refusal(self, packet: Packet, step: Step, onward: Packet) -> Reason:
        """Which side isolates, by which policies, and which rule nearly allowed the connection."""
        del step
        dialled = Dialled(onward.protocol, onward.destination_port)
        source, destination = self._end(packet.source), self._end(onward.destination)
        verdict = judge_flow(self._machine.index, source, destination, dialled)
        denial = verdict.denial
        assert denial is not None, f"rules drop {source.address} to {destination.address}, {dialled}: the model not"
        end = destination if denial is verdict.ingress else source
        assert end.pod is not None
        return _reason(denial, f"{end.pod.namespace}/{end.pod.name}")

    def _end(self, address: Address) -> End:
        pod = self._world.pod_holding(address)
        node = self._world.node_holding(address)
        name = (pod.metadata.namespace, pod.metadata.name) if pod else ("", "")
        return End(address, self._machine.index.pod(name), node.metadata.name if node else "")


def policy_table(world: World, node: Node, family: Family) -> PolicyTable | None:
    """The policy table of one node and one family, None where no policy selects a pod there."""
    if not world.policies:
        return None
    machine = NodePolicies(node.metadata.name)
    for policy in world.policies:
        known = isinstance(policy, NetworkPolicy)
        machine.put_policy((compile_network_policy(policy) if known else compile_cluster_policy(policy))[0])
    for namespace in world.namespaces:
        machine.put_namespace(namespace.metadata.name, namespace.metadata.labels)
    for pod in world.pods.values():
        compiled = compile_pod(pod)
        if compiled is not None:
            machine.put_pod(compiled)
    rows = PolicyRows(family, PolicySettings(), _GENERATION)
    rows.replace(machine.round())
    return PolicyTable(world, machine, rows) if rows.subjects else None


def _reason(denial: SideVerdict, pod: str) -> Reason:
    side = f"{denial.direction.value} of pod {pod}"
    if denial.tier is not Tier.NETWORK_POLICY:
        assert denial.rule is not None
        return Reason(f"{side} is denied by {denial.rule.origin}", denial.rule.origin)
    isolating = ", ".join(str(each) for each in denial.isolating)
    if denial.nearest is None:
        return Reason(f"{side} is isolated by {isolating}, and no rule allows anything", denial.isolating[0])
    return Reason(f"{side} is isolated by {isolating}; nearest rule: {denial.nearest}", denial.nearest.origin)
