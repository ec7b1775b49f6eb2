"""What one node must enforce, kept by changes: subjects among its own pods, and the members of what these ask about.

Comes in: changes of policies, pods and namespaces, in any order. Goes out, once a round: what differs from the last
round. Looks only at what a change touches. Refuses to know rows.
"""

from collections.abc import Mapping, Set

from fairlead.compile.policy_groups import Key
from fairlead.compile.policy_index import PolicyIndex
from fairlead.compile.policy_profiles import compile_subject
from fairlead.model import Origin
from fairlead.model.policies import NamedPort, PodGroup, Policy, PolicyPod
from fairlead.model.policy_profiles import Collection, Member, Moves, PodEnd, PolicyChanges, Profile, Subject
from fairlead.net import Address


class _Uses:
    """How many subjects use each collection."""

    def __init__(self) -> None:
        self.counts: dict[Collection, int] = {}

    def add(self, subject: Subject | None, step: int) -> None:
        """Count a subject's uses once more, or with step -1 once less."""
        for profile in (subject.ingress, subject.egress) if subject else ():
            for collection in _collections(profile):
                count = self.counts.get(collection, 0) + step
                if count:
                    self.counts[collection] = count
                else:
                    del self.counts[collection]


class NodePolicies:
    """The policies of a cluster as one node enforces them."""

    def __init__(self, node: str) -> None:
        self.index = PolicyIndex()
        self._node = node
        self._holders: dict[Address, set[Key]] = {}
        self._local: set[Key] = set()
        self._subjects: dict[Address, Subject] = {}
        self._uses = _Uses()
        self._groups: dict[PodGroup, set[Address]] = {}
        self._named: dict[NamedPort, dict[Address, frozenset[PodEnd]]] = {}
        self._doubted: set[Address] = set()
        self._touched: set[Address] = set()

    @property
    def pending(self) -> bool:
        """Whether a round would look at anything."""
        return bool(self._doubted or self._touched)

    def subjects(self) -> Mapping[Address, Subject]:
        """The subjects all rounds so far add up to."""
        return self._subjects

    def holders(self, address: Address) -> Set[Key]:
        """The pods that have an address."""
        return self._holders.get(address, set())

    def members(self) -> dict[Collection, frozenset[Member]]:
        """The collections in use and their members, as all rounds so far add up to."""
        return {each: self._members(each) for each in (*self._groups, *self._named)}

    def put_policy(self, policy: Policy) -> None:
        """Add a policy, or note what it says now."""
        old = self.index.policies.get(policy.origin)
        if old == policy:
            return
        if old is not None:
            self._doubt_subjects(old.subject)
        self.index.put_policy(policy)
        self._doubt_subjects(policy.subject)

    def drop_policy(self, origin: Origin) -> None:
        """Take a policy away."""
        old = self.index.policies.get(origin)
        if old is not None:
            self._doubt_subjects(old.subject)
            self.index.drop_policy(origin)

    def put_namespace(self, namespace: str, labels: Mapping[str, str] | None) -> None:
        """Note a namespace's labels; None is for one that went."""
        keys = self.index.pods.pods_in(namespace)
        for key in keys:
            self._touched.update(self.index.pods.pods[key].addresses)
        self.index.pods.put_namespace(namespace, labels)

    def put_pod(self, pod: PolicyPod) -> None:
        """Add a pod, or note what it is like now."""
        old = self.index.pod(pod.key)
        if old == pod:
            return
        if old is not None:
            self._release(old)
        self._touched.update(pod.addresses)
        self.index.pods.put_pod(pod)
        for address in pod.addresses:
            self._holders.setdefault(address, set()).add(pod.key)
        if pod.node == self._node:
            self._local.add(pod.key)

    def drop_pod(self, key: Key) -> None:
        """Take a pod away."""
        old = self.index.pod(key)
        if old is not None:
            self._release(old)
            self.index.pods.drop_pod(key)

    def round(self) -> PolicyChanges:
        """Return what differs from the last round."""
        before = dict(self._uses.counts)
        subjects = self._settle_subjects()
        changed = set(self._uses.counts.keys() ^ before.keys()) if subjects else set[Collection]()
        collections: dict[Collection, frozenset[Member] | None] = {}
        for collection in changed:
            if collection in self._uses.counts:
                self._take_up(collection)
                collections[collection] = self._members(collection)
            else:
                self._let_go(collection)
                collections[collection] = None
        moves = self._settle_moves(changed)
        self._touched.clear()
        self._doubted.clear()
        return PolicyChanges(subjects=subjects, collections=collections, moves=moves)

    def _settle_subjects(self) -> dict[Address, Subject | None]:
        found: dict[Address, Subject | None] = {}
        known: dict[tuple[object, ...], Subject | None] = {}
        for address in self._doubted | self._touched:
            pods = [self.index.pods.pods[key] for key in self._holders.get(address, ()) if key in self._local]
            old = self._subjects.get(address)
            if not pods and old is None:
                continue
            new = self._subject(pods, known)
            if new == old:
                continue
            self._uses.add(new, 1)
            self._uses.add(old, -1)
            if new is None:
                del self._subjects[address]
            else:
                self._subjects[address] = new
            found[address] = new
        return found

    def _subject(self, pods: list[PolicyPod], known: dict[tuple[object, ...], Subject | None]) -> Subject | None:
        """The subject of an address; while two pods have it, one on its way out, the policies of both count."""
        policies = {policy.origin: policy for pod in pods for policy in self.index.selecting(pod)}
        if not policies:
            return None
        ports = frozenset(port for pod in pods for port in pod.ports)
        asked = frozenset(policies), ports
        if asked not in known:
            known[asked] = compile_subject(policies.values(), ports)
        return known[asked]

    def _settle_moves(self, settled: Set[Collection]) -> dict[Collection, Moves]:
        """Move the addresses that were touched, but for the collections that were filled in this very round."""
        groups = {group: held for group, held in self._groups.items() if group not in settled}
        named = {port: held for port, held in self._named.items() if port not in settled}
        moves: dict[Collection, tuple[set[Member], set[Member]]] = {}
        for address in self._touched if groups or named else ():
            now = self._groups_of(address)
            for group, held in groups.items():
                if (address in held) is not (group in now):
                    joined, left = moves.setdefault(group, (set(), set()))
                    (joined if group in now else left).add(address)
                    (held.add if group in now else held.discard)(address)
            for port, ends in named.items():
                old, new = ends.get(address, _NO_ENDS), self._ends_of(address, port)
                if old != new:
                    joined, left = moves.setdefault(port, (set(), set()))
                    joined |= new - old
                    left |= old - new
                    ends[address] = new
                    if not new:
                        del ends[address]
        return {each: Moves(frozenset(joined), frozenset(left)) for each, (joined, left) in moves.items()}

    def _take_up(self, collection: Collection) -> None:
        """Begin to keep a collection's members."""
        if isinstance(collection, PodGroup):
            pods = self.index.pods.members(collection)
            self._groups[collection] = {address for pod in pods for address in pod.addresses}
            return
        addresses = {each for pod in self.index.pods.pods.values() if pod.ports for each in pod.addresses}
        found = {address: self._ends_of(address, collection) for address in addresses}
        self._named[collection] = {address: ends for address, ends in found.items() if ends}

    def _let_go(self, collection: Collection) -> None:
        if isinstance(collection, PodGroup):
            del self._groups[collection]
        else:
            del self._named[collection]

    def _members(self, collection: Collection) -> frozenset[Member]:
        if isinstance(collection, PodGroup):
            return frozenset(self._groups[collection])
        return frozenset(end for ends in self._named[collection].values() for end in ends)

    def _groups_of(self, address: Address) -> frozenset[PodGroup]:
        pods = [self.index.pods.pods[key] for key in self._holders.get(address, ())]
        if len(pods) == 1:
            return self.index.pods.groups_of(pods[0])
        return frozenset(group for pod in pods for group in self.index.pods.groups_of(pod))

    def _ends_of(self, address: Address, named: NamedPort) -> frozenset[PodEnd]:
        return frozenset(
            PodEnd(address, port.protocol, port.port)
            for key in self._holders.get(address, ())
            for port in self.index.pods.pods[key].ports
            if port.name == named.name and named.protocol in (None, port.protocol)
        )

    def _release(self, pod: PolicyPod) -> None:
        self._local.discard(pod.key)
        self._touched.update(pod.addresses)
        for address in pod.addresses:
            holders = self._holders[address]
            holders.discard(pod.key)
            if not holders:
                del self._holders[address]

    def _doubt_subjects(self, group: PodGroup) -> None:
        """Look at the node's pods again that may be in a group; in a round the group itself may have changed."""
        for key in self._local:
            if group.namespace in (None, key[0]):
                self._doubted.update(self.index.pods.pods[key].addresses)


def _collections(profile: Profile | None) -> set[Collection]:
    found: set[Collection] = set()
    for term in profile.terms if profile else ():
        if isinstance(term.peer, PodGroup):
            found.add(term.peer)
        if isinstance(term.ports, NamedPort):
            found.add(term.ports)
    return found


_NO_ENDS: frozenset[PodEnd] = frozenset()
