"""All policies, pods and namespaces of a cluster: which policies select a pod, and who is in a group.

Comes in: compiled policies and pods, one change at a time. Goes out: answers for any pod. Refuses to know nodes.
"""

from collections.abc import Mapping

from fairlead.compile.policies import groups_of
from fairlead.compile.policy_groups import Key, PodIndex
from fairlead.model import Origin
from fairlead.model.policies import PodGroup, Policy, PolicyPod


class PolicyIndex:
    """Policies over an index of pods. A pod that is asked about must be in `pods`, as it is there."""

    def __init__(self) -> None:
        self.pods = PodIndex()
        self.policies: dict[Origin, Policy] = {}
        self._of_subject: dict[PodGroup, dict[Origin, Policy]] = {}

    def put_policy(self, policy: Policy) -> None:
        """Add a policy, or note what it says now."""
        old = self.policies.get(policy.origin)
        self.policies[policy.origin] = policy
        for group in groups_of(policy):
            self.pods.ask(group)
        if old is not None:
            self._drop(old)
        self._of_subject.setdefault(policy.subject, {})[policy.origin] = policy

    def drop_policy(self, origin: Origin) -> None:
        """Take a policy away, if it is there."""
        old = self.policies.pop(origin, None)
        if old is not None:
            self._drop(old)

    def selecting(self, pod: PolicyPod) -> list[Policy]:
        """The policies whose subject a pod is."""
        of_subject = self._of_subject
        return [
            policy for group in self.pods.groups_of(pod) if group in of_subject for policy in of_subject[group].values()
        ]

    def holds(self, group: PodGroup, pod: PolicyPod) -> bool:
        """Whether a pod is in a group that one of the policies asks about."""
        return group in self.pods.groups_of(pod)

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        """The labels of a namespace."""
        return self.pods.namespace_labels(namespace)

    def is_subject(self, group: PodGroup) -> bool:
        """Whether a group is the subject of a policy."""
        return group in self._of_subject

    def pod(self, key: Key) -> PolicyPod | None:
        """The pod of that namespace and name."""
        return self.pods.pods.get(key)

    def _drop(self, old: Policy) -> None:
        for group in groups_of(old):
            self.pods.forget(group)
        having = self._of_subject[old.subject]
        having.pop(old.origin, None)
        if not having:
            del self._of_subject[old.subject]
