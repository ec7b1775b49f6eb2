"""Selectors: label selectors inside objects, and tolerations, as functions that match.

Comes in: a selector. Goes out: a function of labels (or of a taint). Source: apimachinery pkg/labels, and
core/v1 helpers for tolerations.
"""

from collections.abc import Callable, Iterable, Mapping

from fairlead.kube.core import Taint
from fairlead.kube.meta import LabelSelector, LabelSelectorRequirement
from fairlead.kube.pods import Toleration

Labels = Mapping[str, str]
Matcher = Callable[[Labels], bool]


def _everything(_: Labels) -> bool:
    return True


def _nothing(_: Labels) -> bool:
    return False


def _requirement(requirement: LabelSelectorRequirement) -> Matcher:
    key, values = requirement.key, frozenset(requirement.values)
    match requirement.operator:
        case "In":
            return lambda labels: labels.get(key) in values
        case "NotIn":
            return lambda labels: labels.get(key) not in values
        case "Exists":
            return lambda labels: key in labels
        case "DoesNotExist":
            return lambda labels: key not in labels
        case other:
            raise ValueError(f"{other!r} is not a valid label selector operator")


def selector_matcher(selector: LabelSelector | None) -> Matcher:
    """A function that tells whether labels match: None selects nothing, an empty selector everything.

    Raises ValueError for an unknown operator.
    """
    if selector is None:
        return _nothing
    pairs = tuple(selector.match_labels.items())
    requirements = tuple(_requirement(each) for each in selector.match_expressions)
    if not pairs and not requirements:
        return _everything
    if not requirements:
        return lambda labels: all(labels.get(key) == value for key, value in pairs)
    return lambda labels: (
        all(labels.get(key) == value for key, value in pairs) and all(matches(labels) for matches in requirements)
    )


def tolerates(tolerations: Iterable[Toleration], taint: Taint) -> bool:
    """Whether any of the tolerations puts up with the taint."""
    return any(_tolerates(toleration, taint) for toleration in tolerations)


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value
