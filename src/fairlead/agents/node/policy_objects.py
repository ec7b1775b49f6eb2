"""What the agent knows of policies, and of the pods and namespaces they are about.

Comes in: changes. Goes out: one machine (`compile.policy_node`), told of them; policies, so that a half world is never
programmed, before the pods they select. Refuses to know tables. A pod that is expected counts before the API server
says where it is: it must be isolated by the time it starts.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from msgspec import Struct
from msgspec.structs import replace

from fairlead.compile.cluster_policies import compile_cluster_policy
from fairlead.compile.policies import compile_network_policy
from fairlead.compile.policy_groups import Key
from fairlead.compile.policy_node import NodePolicies
from fairlead.compile.policy_pods import compile_pod
from fairlead.drivers.kubeapi import Applied, Change, Deleted, Replaced
from fairlead.kube.core import Namespace
from fairlead.kube.networking import NetworkPolicy
from fairlead.kube.outlines import PodOutline
from fairlead.kube.policy import ClusterNetworkPolicy
from fairlead.model import Finding, Origin
from fairlead.model.policies import Action, Policy, PolicyPod, PolicyRule, Tier

PODS, NAMESPACES, NETWORK_POLICIES, CLUSTER_POLICIES = "Pod", "Namespace", "NetworkPolicy", "ClusterNetworkPolicy"


class KeptPod(Struct, frozen=True, gc=False):
    """What is kept of a pod: nothing but its name where policies do not see it. `waits` says it may yet be seen."""

    key: Key
    pod: PolicyPod | None
    waits: bool


class KeptNamespace(Struct, frozen=True):
    """What is kept of a namespace."""

    name: str
    labels: dict[str, str]


class KeptPolicy(Struct, frozen=True):
    """A policy as it was understood, and what to tell its author."""

    policy: Policy
    findings: tuple[Finding, ...]


class PolicyObjects:
    """Policies, pods and namespaces as last heard of."""

    def __init__(self, node: str) -> None:
        self.machine = NodePolicies(node)
        self.findings: dict[Origin, tuple[Finding, ...]] = {}
        """What there is to tell of policies that changed, until it was told."""
        self.changed: set[Origin] = set()
        """The policies that changed since somebody cleared this."""
        self._pods: dict[Key, KeptPod] = {}
        self._namespaces: dict[str, KeptNamespace] = {}
        self._policies: dict[Origin, KeptPolicy] = {}
        self._expected: dict[Key, PolicyPod] = {}
        self._withheld: set[Origin] = set()
        self._unsynced = {PODS, NAMESPACES, NETWORK_POLICIES, CLUSTER_POLICIES}
        self._told = False

    @property
    def synced(self) -> bool:
        """Whether every kind was listed once, or is not known to the API server."""
        return not self._unsynced

    @property
    def pending(self) -> bool:
        """Whether a round would look at anything."""
        return self.synced and self.machine.pending

    def policies(self) -> AbstractSet[Origin]:
        """The policies there are."""
        return self._policies.keys()

    def withheld(self) -> AbstractSet[Origin]:
        """The policies that are kept from allowing anything."""
        return self._withheld

    def withhold(self, origins: AbstractSet[Origin]) -> None:
        """Let these policies isolate as they do, and allow nothing."""
        new = {each for each in origins if each in self._policies} - self._withheld
        self._withheld |= new
        self._put_policies(new)

    def admit(self, origins: AbstractSet[Origin]) -> None:
        """Let these policies say again what they say."""
        back = origins & self._withheld
        self._withheld -= back
        self._put_policies(back)

    def expect(self, pod: PolicyPod) -> None:
        """Count a pod that is about to start, until the API server tells of its address or its end."""
        self._expected[pod.key] = pod
        if self._told:
            known = self._pods.get(pod.key)
            if known is None or known.pod is None:
                self.machine.put_pod(pod)

    def absent(self, kind: str) -> None:
        """Note that the API server knows no such kind; there are no objects of it."""
        if kind in self._unsynced:
            self._settle(kind)

    def take_pods(self, change: Change[KeptPod]) -> None:
        """Note a change of pods."""
        match change:
            case Replaced(items):
                gone = self._pods.keys() - {item.key for item in items}
                self._pods = {item.key: item for item in items}
                if self._told:
                    for key in gone:
                        self._drop_pod(key)
                    for item in items:
                        self._see_pod(item)
                self._settle(PODS)
            case Applied(item):
                self._pods[item.key] = item
                self._see_pod(item)
            case Deleted(item):
                self._pods.pop(item.key, None)
                self._drop_pod(item.key)

    def take_namespaces(self, change: Change[KeptNamespace]) -> None:
        """Note a change of namespaces."""
        match change:
            case Replaced(items):
                before = self._namespaces
                self._namespaces = {item.name: item for item in items}
                if self._told:
                    for name in before.keys() - self._namespaces.keys():
                        self.machine.put_namespace(name, None)
                    for item in items:
                        if before.get(item.name) != item:
                            self.machine.put_namespace(item.name, item.labels)
                self._settle(NAMESPACES)
            case Applied(item):
                known = self._namespaces.get(item.name)
                self._namespaces[item.name] = item
                if self._told and known != item:
                    self.machine.put_namespace(item.name, item.labels)
            case Deleted(item):
                self._namespaces.pop(item.name, None)
                if self._told:
                    self.machine.put_namespace(item.name, None)

    def take_network_policies(self, change: Change[KeptPolicy]) -> None:
        """Note a change of NetworkPolicies."""
        self._take_policies(NETWORK_POLICIES, change)

    def take_cluster_policies(self, change: Change[KeptPolicy]) -> None:
        """Note a change of ClusterNetworkPolicies."""
        self._take_policies(CLUSTER_POLICIES, change)

    def _take_policies(self, kind: str, change: Change[KeptPolicy]) -> None:
        match change:
            case Replaced(items):
                for origin in [each for each in self._policies if each.kind == kind]:
                    if all(item.policy.origin != origin for item in items):
                        self._drop_policy(origin)
                for item in items:
                    self._see_policy(item)
                self._settle(kind)
            case Applied(item):
                self._see_policy(item)
            case Deleted(item):
                self._drop_policy(item.policy.origin)

    def _settle(self, kind: str) -> None:
        """Note that a kind was listed; after the last of them the machine hears of everything."""
        self._unsynced.discard(kind)
        if self._unsynced or self._told:
            return
        self._told = True
        self._put_policies(self._policies.keys())
        for item in self._namespaces.values():
            self.machine.put_namespace(item.name, item.labels)
        for item in self._pods.values():
            self._see_pod(item)
        for pod in tuple(self._expected.values()):
            self.expect(pod)

    def _see_pod(self, kept: KeptPod) -> None:
        if kept.pod is not None:
            self._expected.pop(kept.key, None)
        elif not kept.waits:
            self._drop_pod(kept.key)
            return
        pod = kept.pod or self._expected.get(kept.key)
        if not self._told:
            return
        if pod is None:
            self.machine.drop_pod(kept.key)
        else:
            self.machine.put_pod(pod)

    def _drop_pod(self, key: Key) -> None:
        self._expected.pop(key, None)
        if self._told:
            self.machine.drop_pod(key)

    def _see_policy(self, kept: KeptPolicy) -> None:
        origin = kept.policy.origin
        if self._policies.get(origin) == kept:
            return
        self._policies[origin] = kept
        self._withheld.discard(origin)
        self.changed.add(origin)
        self.findings[origin] = kept.findings
        self._put_policies((origin,))

    def _drop_policy(self, origin: Origin) -> None:
        if self._policies.pop(origin, None) is not None:
            self._withheld.discard(origin)
            self.findings.pop(origin, None)
            self.changed.discard(origin)
            if self._told:
                self.machine.drop_policy(origin)

    def _put_policies(self, origins: Iterable[Origin]) -> None:
        if not self._told:
            return
        for origin in origins:
            policy = self._policies[origin].policy
            self.machine.put_policy(_mute(policy) if origin in self._withheld else policy)


def keep_pod(pod: PodOutline) -> KeptPod:
    """What is kept of a pod."""
    ended = pod.status.phase in ("Succeeded", "Failed") or pod.spec.host_network
    return KeptPod((pod.metadata.namespace, pod.metadata.name), compile_pod(pod), not ended)


def keep_namespace(namespace: Namespace) -> KeptNamespace:
    """What is kept of a namespace."""
    return KeptNamespace(namespace.metadata.name, dict(namespace.metadata.labels))


def keep_network_policy(policy: NetworkPolicy) -> KeptPolicy:
    """What is kept of a NetworkPolicy."""
    return KeptPolicy(*compile_network_policy(policy))


def keep_cluster_policy(policy: ClusterNetworkPolicy) -> KeptPolicy:
    """What is kept of a ClusterNetworkPolicy."""
    return KeptPolicy(*compile_cluster_policy(policy))


def _mute(policy: Policy) -> Policy:
    """A policy that isolates whom it did and allows nothing: what is refused must not open anything."""
    deny = (PolicyRule(None, None, Action.DENY, policy.origin),)
    rules: tuple[PolicyRule, ...] = () if policy.tier is Tier.NETWORK_POLICY else deny
    return replace(
        policy,
        ingress=None if policy.ingress is None else rules,
        egress=None if policy.egress is None else rules,
    )
