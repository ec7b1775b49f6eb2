"""Which pods are in which groups, kept by changes.

Comes in: pods, the labels of namespaces, and the groups somebody asks about. Goes out: the groups of a pod, the pods of
a group. Refuses to know policies. Pods with the same namespace and labels are kin: a group holds all of them or none,
so that a group is asked once for each kin, and kin only for groups that want one of their labels.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from fairlead.model.policies import LabelTest, Operator, PodGroup, PolicyPod

Key: TypeAlias = tuple[str, str]
"""Namespace and name of a pod."""
Labels: TypeAlias = tuple[tuple[str, str], ...]

_NONE: frozenset[PodGroup] = frozenset()


class _Room:
    """One namespace: its labels, the groups that may hold pods of it, and its kin."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.by_pair: dict[tuple[str, str], set[PodGroup]] = {}
        self.loose: set[PodGroup] = set()
        self.kin: dict[Labels, set[Key]] = {}
        self.groups: dict[Labels, frozenset[PodGroup]] = {}

    def ask(self, group: PodGroup) -> None:
        """Add a group whose namespace tests the room passes."""
        pairs = _wanted_pairs(group.pods)
        if pairs is None:
            self.loose.add(group)
        else:
            for pair in pairs:
                self.by_pair.setdefault(pair, set()).add(group)
        for labels, known in self.groups.items():
            if passes(group.pods, dict(labels)):
                self.groups[labels] = known | {group}

    def forget(self, group: PodGroup) -> None:
        """Take a group away again."""
        self.loose.discard(group)
        for pair in _wanted_pairs(group.pods) or ():
            asking = self.by_pair.get(pair)
            if asking is not None:
                asking.discard(group)
                if not asking:
                    del self.by_pair[pair]
        for labels, known in self.groups.items():
            if group in known:
                self.groups[labels] = known - {group}

    def add(self, pod: PolicyPod) -> None:
        """Add a pod; the first of its kin finds out their groups."""
        kin = self.kin.get(pod.labels)
        if kin is None:
            kin = self.kin[pod.labels] = set()
            self.groups[pod.labels] = self._groups_of(pod.labels)
        kin.add(pod.key)

    def remove(self, pod: PolicyPod) -> None:
        """Take a pod away."""
        kin = self.kin[pod.labels]
        kin.remove(pod.key)
        if not kin:
            del self.kin[pod.labels], self.groups[pod.labels]

    def _groups_of(self, labels: Labels) -> frozenset[PodGroup]:
        asking = set(self.loose)
        for pair in labels:
            asking |= self.by_pair.get(pair, _NONE)
        values = dict(labels)
        return frozenset(group for group in asking if passes(group.pods, values))


class PodIndex:
    """Pods, namespaces and groups."""

    def __init__(self) -> None:
        self.pods: dict[Key, PolicyPod] = {}
        self._labels: dict[str, Mapping[str, str]] = {}
        self._rooms: dict[str, _Room] = {}
        self._uses: dict[PodGroup, int] = {}
        self._wide: set[PodGroup] = set()

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        """The labels of a namespace; of one never heard of, its name alone."""
        found = self._labels.get(namespace)
        return {NAME_LABEL: namespace} if found is None else found

    def put_namespace(self, namespace: str, labels: Mapping[str, str] | None) -> None:
        """Note a namespace's labels, None for one that went."""
        if labels is None:
            self._labels.pop(namespace, None)
        else:
            self._labels[namespace] = {**labels, NAME_LABEL: namespace}
        room = self._rooms.get(namespace)
        if room is None:
            return
        new = self.namespace_labels(namespace)
        for group in self._wide:
            before, after = passes(group.namespaces, room.labels), passes(group.namespaces, new)
            if after and not before:
                room.ask(group)
            if before and not after:
                room.forget(group)
        room.labels = new

    def put_pod(self, pod: PolicyPod) -> None:
        """Add a pod, or note what it is like now."""
        old = self.pods.get(pod.key)
        if old is not None:
            if old.labels == pod.labels:
                self.pods[pod.key] = pod
                return
            self.drop_pod(pod.key)
        self.pods[pod.key] = pod
        self._room(pod.namespace).add(pod)

    def drop_pod(self, key: Key) -> None:
        """Take a pod away, if it is there."""
        old = self.pods.pop(key, None)
        if old is not None:
            room = self._rooms[old.namespace]
            room.remove(old)
            if not room.kin:
                del self._rooms[old.namespace]

    def ask(self, group: PodGroup) -> None:
        """Keep a group from now on; what is asked more than once must be forgotten as often."""
        uses = self._uses.get(group, 0)
        self._uses[group] = uses + 1
        if uses:
            return
        if group.namespace is None:
            self._wide.add(group)
        for room in self._rooms_of(group):
            room.ask(group)

    def forget(self, group: PodGroup) -> None:
        """Keep a group one time less."""
        uses = self._uses[group] - 1
        if uses:
            self._uses[group] = uses
            return
        del self._uses[group]
        for room in self._rooms_of(group):
            room.forget(group)
        self._wide.discard(group)

    def groups_of(self, pod: PolicyPod) -> frozenset[PodGroup]:
        """The groups asked about that hold a pod of the index."""
        room = self._rooms.get(pod.namespace)
        return _NONE if room is None else room.groups.get(pod.labels, _NONE)

    def members(self, group: PodGroup) -> Iterator[PolicyPod]:
        """The pods of a group that is asked about."""
        for room in self._rooms_of(group):
            for labels, known in room.groups.items():
                if group in known:
                    yield from (self.pods[key] for key in room.kin[labels])

    def pods_in(self, namespace: str) -> Iterable[Key]:
        """The pods of a namespace."""
        room = self._rooms.get(namespace)
        return () if room is None else [key for kin in room.kin.values() for key in kin]

    def _rooms_of(self, group: PodGroup) -> Iterable[_Room]:
        if group.namespace is not None:
            room = self._rooms.get(group.namespace)
            return () if room is None else (room,)
        return [room for room in self._rooms.values() if passes(group.namespaces, room.labels)]

    def _room(self, namespace: str) -> _Room:
        room = self._rooms.get(namespace)
        if room is None:
            room = self._rooms[namespace] = _Room(self.namespace_labels(namespace))
            for group in self._uses:
                if group.namespace == namespace or (group.namespace is None and passes(group.namespaces, room.labels)):
                    room.ask(group)
        return room


NAME_LABEL = "kubernetes.io/metadata.name"
"""The label every namespace has, with its name."""


def passes(tests: Iterable[LabelTest], labels: Mapping[str, str]) -> bool:
    """Whether labels pass every test."""
    for test in tests:
        match test.operator:
            case Operator.IN:
                passed = labels.get(test.key) in test.values
            case Operator.NOT_IN:
                passed = labels.get(test.key) not in test.values
            case Operator.EXISTS:
                passed = test.key in labels
            case Operator.DOES_NOT_EXIST:
                passed = test.key not in labels
        if not passed:
            return False
    return True


def _wanted_pairs(tests: Iterable[LabelTest]) -> list[tuple[str, str]] | None:
    """Labels of which a pod must have one to pass, None where there are none such."""
    for test in tests:
        if test.operator is Operator.IN:
            return [(test.key, value) for value in test.values]
    return None
