"""Do selectors choose what Kubernetes would choose?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.kube.core import Taint
from fairlead.kube.meta import LabelSelector, LabelSelectorRequirement
from fairlead.kube.pods import Toleration
from fairlead.kube.selectors import selector_matcher, tolerates

LABELS = {"app": "web", "tier": "front", "empty": ""}


def one(key: str, operator: str, *values: str) -> LabelSelector:
    """A selector of one expression."""
    return LabelSelector(match_expressions=(LabelSelectorRequirement(key=key, operator=operator, values=values),))


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (one("app", "In", "db", "web"), True),
        (one("app", "In", "db"), False),
        (one("missing", "In", ""), False),
        (one("app", "NotIn", "db"), True),
        (one("missing", "NotIn", "a"), True),
        (one("app", "Exists"), True),
        (one("missing", "Exists"), False),
        (one("missing", "DoesNotExist"), True),
        (one("empty", "DoesNotExist"), False),
    ],
)
def test_an_expression_matches(selector: LabelSelector, matches: bool) -> None:
    assert selector_matcher(selector)(LABELS) is matches


def test_no_selector_selects_nothing_and_an_empty_one_everything() -> None:
    assert not selector_matcher(None)(LABELS)
    assert selector_matcher(LabelSelector())({})


def test_labels_and_expressions_must_all_hold() -> None:
    both = LabelSelector(
        match_labels={"app": "web"},
        match_expressions=(LabelSelectorRequirement(key="tier", operator="NotIn", values=("front",)),),
    )
    assert not selector_matcher(both)(LABELS)
    assert selector_matcher(both)({"app": "web", "tier": "back"})


@given(st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy")), st.sampled_from("abc"), st.sampled_from("xy"))
def test_notin_is_the_opposite_of_in(labels: dict[str, str], key: str, value: str) -> None:
    inside = selector_matcher(one(key, "In", value))(labels)
    assert selector_matcher(one(key, "NotIn", value))(labels) is not inside


@pytest.mark.parametrize(
    ("toleration", "matches"),
    [
        (Toleration(key="gpu", operator="Exists"), True),
        (Toleration(operator="Exists"), True),
        (Toleration(key="gpu", operator="Equal", value="yes"), True),
        (Toleration(key="gpu", value="yes"), True),
        (Toleration(key="gpu", value="no"), False),
        (Toleration(key="disk", operator="Exists"), False),
        (Toleration(key="gpu", operator="Exists", effect="NoExecute"), False),
        (Toleration(key="gpu", operator="Exists", effect="NoSchedule"), True),
    ],
)
def test_a_toleration_puts_up_with_a_taint(toleration: Toleration, matches: bool) -> None:
    assert tolerates((toleration,), Taint(key="gpu", value="yes", effect="NoSchedule")) is matches
