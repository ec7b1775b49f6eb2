"""May this pod run on this node? Taints against tolerations, node selectors and required affinity against labels
and fields.

The rules of component-helpers' corev1 (toleration, nodeaffinity). Knows no resources and no ports.
"""

from collections.abc import Iterable, Mapping

from fairlead.kube.core import Node, Pod, Taint
from fairlead.kube.pods import NodeSelectorRequirement, NodeSelectorTerm, Toleration

UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"


def tolerates(tolerations: Iterable[Toleration], taint: Taint) -> Toleration | None:
    """The first toleration that puts up with a taint, or None. An empty key with Exists matches every taint."""
    return next((each for each in tolerations if _matches_taint(each, taint)), None)


def untolerated(node: Node, tolerations: Iterable[Toleration]) -> Taint | None:
    """The first taint that keeps new pods with these tolerations off the node, or None."""
    tolerations = tuple(tolerations)
    for taint in node.spec.taints:
        if taint.effect in ("NoSchedule", "NoExecute") and tolerates(tolerations, taint) is None:
            return taint
    return None


def admits_unschedulable(node: Node, tolerations: Iterable[Toleration]) -> bool:
    """Whether a cordoned node may take the pod all the same."""
    cordon = Taint(key=UNSCHEDULABLE, effect="NoSchedule")
    return not node.spec.unschedulable or tolerates(tolerations, cordon) is not None


def dislike(pod: Pod, node: Node) -> int:
    """How many taints of the node ask the pod to rather stay away (PreferNoSchedule)."""
    return sum(
        taint.effect == "PreferNoSchedule" and tolerates(pod.spec.tolerations, taint) is None
        for taint in node.spec.taints
    )


def preference(pod: Pod, node: Node) -> int:
    """The weights of the pod's preferred node affinity that the node satisfies, added up."""
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    terms = affinity.preferred_during_scheduling_ignored_during_execution if affinity else ()
    return sum(each.weight for each in terms if _matches_term(each.preference, node))


def matches_selector(pod: Pod, node: Node) -> bool:
    """Whether the node satisfies the pod's nodeSelector and its required node affinity."""
    if not pod.spec.node_selector.items() <= node.metadata.labels.items():
        return False
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    return required is None or any(_matches_term(term, node) for term in required.node_selector_terms)


def _matches_term(term: NodeSelectorTerm, node: Node) -> bool:
    if not term.match_expressions and not term.match_fields:
        return False
    fields = {"metadata.name": node.metadata.name}
    return all(_matches_requirement(each, node.metadata.labels) for each in term.match_expressions) and all(
        _matches_requirement(each, fields) for each in term.match_fields
    )


def _matches_requirement(requirement: NodeSelectorRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compares(value, requirement)
        case _:
            return False


def _compares(value: str | None, requirement: NodeSelectorRequirement) -> bool:
    try:
        have, bound = int(value or ""), int(requirement.values[0])
    except (ValueError, IndexError):
        return False
    return have > bound if requirement.operator == "Gt" else have < bound


def _matches_taint(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.operator in ("", "Equal") and toleration.value == taint.value
