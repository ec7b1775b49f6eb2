"""Which nodes are near or far enough from other pods: pods where they are come in, and for a pod to be placed a judge
of nodes goes out.

Required affinity and anti-affinity in both directions and hard spread constraints are filters, in the words of
kube-scheduler's plugins interpodaffinity and podtopologyspread; preferred terms and soft constraints are a rank. The
preferences of pods already placed are not asked again. Knows no resources, no queue and no time.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from fairlead.cluster.controllers.eligibility import matches_selector, untolerated
from fairlead.kube.core import Node, Pod
from fairlead.kube.meta import LabelSelector, LabelSelectorRequirement
from fairlead.kube.pods import PodAffinity, PodAffinityTerm, TopologySpreadConstraint
from fairlead.kube.selectors import Matcher, selector_matcher

EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"
NEAR = "node(s) didn't match pod affinity rules"
FAR = "node(s) didn't match pod anti-affinity rules"
SPREAD = "node(s) didn't match pod topology spread constraints"
NO_LABEL = f"{SPREAD} (missing required label)"

Namespaces = Mapping[str, Mapping[str, str]]
"""The labels of each namespace, by its name."""

Rank = tuple[int, int]
"""Smaller is better: the weight of wishes that a node does not satisfy, then how full its domains are already."""


class Term(Struct, frozen=True):
    """One affinity term made ready: which pods it means, and the node label that says where they are."""

    means: Callable[[Pod], bool]
    key: str


class Verdict(Struct, frozen=True):
    """What speaks against a node, "" for nothing, and how well it suits."""

    reason: str
    rank: Rank


class Judge(Struct, frozen=True):
    """What one pod asks of its neighbours, counted over all pods; ask it about each node."""

    near: tuple[tuple[str, Counter[str]], ...]
    first_of_its_kind: bool
    far: tuple[tuple[str, Counter[str]], ...]
    forbidden: frozenset[tuple[str, str]]
    hard: "tuple[Spread, ...]"
    soft: "tuple[Spread, ...]"
    wishes: tuple[tuple[int, str, Counter[str]], ...]

    def judge(self, node: Node) -> Verdict:
        """What speaks against a node, in the order in which kube-scheduler's plugins are asked."""
        labels = node.metadata.labels
        return Verdict(self._spread(labels) or self._affinity(labels), self._rank(labels))

    def _spread(self, labels: Mapping[str, str]) -> str:
        for each in self.hard:
            if each.key not in labels:
                return NO_LABEL
            if each.skew(labels[each.key]) > each.most:
                return SPREAD
        return ""

    def _affinity(self, labels: Mapping[str, str]) -> str:
        if any(key not in labels for key, _ in self.near):
            return NEAR
        if not self.first_of_its_kind and any(not found[labels[key]] for key, found in self.near):
            return NEAR
        if any(key in labels and found[labels[key]] for key, found in self.far):
            return FAR
        return EXISTING if any(pair in self.forbidden for pair in labels.items()) else ""

    def _rank(self, labels: Mapping[str, str]) -> Rank:
        wished = sum(weight * found[labels[key]] for weight, key, found in self.wishes if key in labels)
        return -wished, sum(each.skew(labels.get(each.key, "")) for each in self.soft)


class Spread(Struct, frozen=True):
    """One spread constraint: how many pods it means are in each domain, and how uneven it may get."""

    key: str
    found: Counter[str]
    least: int
    self_counts: int
    most: int

    def skew(self, domain: str) -> int:
        """How far the domain would be above the emptiest one with the pod in it."""
        return self.found[domain] + self.self_counts - self.least


class Neighbourhood:
    """All pods that have a node, and the labels of namespaces; feed it every change, then ask for a `judge`."""

    def __init__(self) -> None:
        self._pods: dict[str, Pod] = {}
        self._node_of: dict[str, str] = {}
        self._repelling: dict[str, tuple[Term, ...]] = {}
        self._namespaces: dict[str, Mapping[str, str]] = {}

    def follow_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """A namespace came, changed or (None) went."""
        if labels is None:
            self._namespaces.pop(name, None)
        else:
            self._namespaces[name] = labels

    def follow(self, pod: Pod, node: str) -> None:
        """A pod is on a node, as it is now."""
        uid = pod.metadata.uid
        self._pods[uid], self._node_of[uid] = pod, node
        affinity = pod.spec.affinity
        if affinity is not None and (terms := _required(affinity.pod_anti_affinity)):
            self._repelling[uid] = tuple(_term(pod, each, self._namespaces) for each in terms)

    def forget(self, uid: str) -> None:
        """A pod is on no node any more."""
        for each in (self._pods, self._node_of, self._repelling):
            each.pop(uid, None)

    def judge(self, pod: Pod, nodes: Mapping[str, Node]) -> Judge | None:
        """What to ask each of the nodes for a pod; None when no pod has anything to say to it."""
        affinity, constraints = pod.spec.affinity, pod.spec.topology_spread_constraints
        near = _required(affinity.pod_affinity) if affinity else ()
        far = _required(affinity.pod_anti_affinity) if affinity else ()
        wishes = [*_wishes(affinity.pod_affinity, 1), *_wishes(affinity.pod_anti_affinity, -1)] if affinity else []
        if not (near or far or wishes or constraints or self._repelling):
            return None
        return Judge(
            *self._near(pod, [_term(pod, each, self._namespaces) for each in near], nodes),
            far=tuple(self._where(_term(pod, each, self._namespaces), nodes) for each in far),
            forbidden=self._forbidden(pod, nodes),
            hard=self._spreads(pod, nodes, "DoNotSchedule"),
            soft=self._spreads(pod, nodes, "ScheduleAnyway"),
            wishes=tuple((weight, *self._where(_term(pod, each, self._namespaces), nodes)) for weight, each in wishes),
        )

    def _where(self, term: Term, nodes: Mapping[str, Node]) -> tuple[str, Counter[str]]:
        """How many pods a term means in each domain of its key."""
        return term.key, self._domains((uid for uid, each in self._pods.items() if term.means(each)), term.key, nodes)

    def _domains(self, uids: Iterable[str], key: str, nodes: Mapping[str, Node]) -> Counter[str]:
        found: Counter[str] = Counter()
        for uid in uids:
            node = nodes.get(self._node_of[uid])
            if node is not None and key in node.metadata.labels:
                found[node.metadata.labels[key]] += 1
        return found

    def _near(
        self, pod: Pod, terms: list[Term], nodes: Mapping[str, Node]
    ) -> tuple[tuple[tuple[str, Counter[str]], ...], bool]:
        """Where the pods are that all terms mean together; the first pod of a group that asks for its own may go
        anywhere.
        """
        uids = [uid for uid, each in self._pods.items() if all(term.means(each) for term in terms)] if terms else []
        found = tuple((term.key, self._domains(uids, term.key, nodes)) for term in terms)
        nobody = not any(where for _, where in found)
        return found, nobody and all(term.means(pod) for term in terms)

    def _forbidden(self, pod: Pod, nodes: Mapping[str, Node]) -> frozenset[tuple[str, str]]:
        """The domains whose pods refuse this one."""
        pairs: set[tuple[str, str]] = set()
        for uid, terms in self._repelling.items():
            node = nodes.get(self._node_of[uid])
            for term in terms if node is not None else ():
                if node is not None and term.key in node.metadata.labels and term.means(pod):
                    pairs.add((term.key, node.metadata.labels[term.key]))
        return frozenset(pairs)

    def _spreads(self, pod: Pod, nodes: Mapping[str, Node], unless: str) -> tuple[Spread, ...]:
        constraints = [each for each in pod.spec.topology_spread_constraints if each.when_unsatisfiable == unless]
        keys = {each.topology_key for each in constraints}
        labelled = {name: node for name, node in nodes.items() if keys <= node.metadata.labels.keys()}
        return tuple(self._spread(pod, each, labelled) for each in constraints)

    def _spread(self, pod: Pod, constraint: TopologySpreadConstraint, nodes: Mapping[str, Node]) -> Spread:
        key = constraint.topology_key
        matches = _with_keys(pod, constraint.label_selector, constraint.match_label_keys)
        counted = {name: node for name, node in nodes.items() if _counts(pod, constraint, node)}
        uids = (
            uid
            for uid, each in self._pods.items()
            if each.metadata.namespace == pod.metadata.namespace
            and each.metadata.deletion_timestamp is None
            and matches(each.metadata.labels)
        )
        found = self._domains(uids, key, counted)
        domains = {node.metadata.labels[key] for node in counted.values()}
        enough = len(domains) >= (constraint.min_domains or 1)
        return Spread(
            key=key,
            found=found,
            least=min((found[domain] for domain in domains), default=0) if enough else 0,
            self_counts=int(matches(pod.metadata.labels)),
            most=constraint.max_skew,
        )


def asks_for_neighbours(pod: Pod) -> bool:
    """Whether a pod that comes to a node may make room for this one: by being near, or by filling another domain."""
    affinity = pod.spec.affinity
    return bool(pod.spec.topology_spread_constraints) or (
        affinity is not None and bool(_required(affinity.pod_affinity))
    )


def _counts(pod: Pod, constraint: TopologySpreadConstraint, node: Node) -> bool:
    if constraint.node_affinity_policy != "Ignore" and not matches_selector(pod, node):
        return False
    return constraint.node_taints_policy != "Honor" or untolerated(node, pod.spec.tolerations) is None


def _required(affinity: PodAffinity | None) -> tuple[PodAffinityTerm, ...]:
    return affinity.required_during_scheduling_ignored_during_execution if affinity else ()


def _wishes(affinity: PodAffinity | None, sign: int) -> list[tuple[int, PodAffinityTerm]]:
    wished = affinity.preferred_during_scheduling_ignored_during_execution if affinity else ()
    return [(sign * each.weight, each.pod_affinity_term) for each in wished]


def _term(pod: Pod, term: PodAffinityTerm, namespaces: Namespaces) -> Term:
    """A term of this pod: without namespaces it means the pod's own (KEP-2249), without a selector nobody."""
    matches = _with_keys(pod, term.label_selector, term.match_label_keys, term.mismatch_label_keys)
    listed = set(term.namespaces)
    if not listed and term.namespace_selector is None:
        listed = {pod.metadata.namespace}
    chosen = selector_matcher(term.namespace_selector)

    def means(other: Pod) -> bool:
        namespace = other.metadata.namespace
        return matches(other.metadata.labels) and (namespace in listed or chosen(namespaces.get(namespace, {})))

    return Term(means, term.topology_key)


def _with_keys(pod: Pod, selector: LabelSelector | None, same: Iterable[str], different: Iterable[str] = ()) -> Matcher:
    """The selector with the pod's own values of some labels asked for, or kept away from (KEP-3633)."""
    if selector is None:
        return selector_matcher(None)
    labels = pod.metadata.labels
    added = [
        LabelSelectorRequirement(key=key, operator=operator, values=(labels[key],))
        for operator, keys in (("In", same), ("NotIn", different))
        for key in keys
        if key in labels
    ]
    return selector_matcher(replace(selector, match_expressions=(*selector.match_expressions, *added)))
