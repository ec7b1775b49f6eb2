"""Do selectors choose what Kubernetes would choose?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.kube.core import Taint
from fairlead.kube.meta import LabelSelector, LabelSelectorRequirement
from fairlead.kube.pods import Toleration
from fairlead.kube.selectors import parse_selector, selector_matcher, tolerates

LABELS = {"app": "web", "tier": "front", "empty": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app=db", False),
        ("app!=db", True),
        ("missing!=x", True),
        ("app in (db, web)", True),
        ("app in (db)", False),
        ("app notin (db)", True),
        ("missing notin (a)", True),
        ("app", True),
        ("missing", False),
        ("!missing", True),
        ("!app", False),
        ("empty=", True),
        ("app=web,tier in (front,back),!h", True),
        ("app=web,tier=back", False),
        ("in=x", False),
    ],
)
def test_a_text_selector_matches(text: str, matches: bool) -> None:
    assert selector_matcher(parse_selector(text))(LABELS) is matches


@pytest.mark.parametrize("text", ["a=b,", "a=b c", "a in b", ",a", "a in (b"])
def test_a_text_that_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unable to parse requirement"):
        parse_selector(text)


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
    inside = selector_matcher(parse_selector(f"{key} in ({value})"))(labels)
    assert selector_matcher(parse_selector(f"{key} notin ({value})"))(labels) is not inside


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
