"""Selectors and tolerations: who is meant."""

import pytest

from fairlead.kube.core import Taint
from fairlead.kube.meta import LabelSelector, LabelSelectorRequirement
from fairlead.kube.pods import Toleration
from fairlead.kube.selectors import parse_selector, selector_matcher, tolerates

LABELS = {"app": "web", "tier": "front"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("app=web", True),
        ("app==web,tier=front", True),
        ("app!=web", False),
        ("color!=red", True),
        ("app in (web, api)", True),
        ("app notin (web)", False),
        ("color notin (red)", True),
        ("tier", True),
        ("!tier", False),
        ("!color", True),
        ("app=", False),
        ("", True),
        (" app = web , tier in (front) ", True),
    ],
)
def test_a_text_selector_matches(text: str, matches: bool) -> None:
    assert selector_matcher(parse_selector(text))(LABELS) is matches


@pytest.mark.parametrize("text", ["app in web", "a=b,", "=b", "a=b c", "a in (b", ",a"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unable to parse requirement"):
        parse_selector(text)


def test_no_selector_selects_nothing_and_an_empty_one_everything() -> None:
    assert not selector_matcher(None)(LABELS)
    assert selector_matcher(LabelSelector())({})


def test_labels_and_expressions_must_all_hold() -> None:
    expression = LabelSelectorRequirement(key="tier", operator="In", values=("front", "back"))
    both = LabelSelector(match_labels={"app": "web"}, match_expressions=(expression,))
    assert selector_matcher(both)(LABELS)
    assert not selector_matcher(both)({"app": "web"})


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        (Toleration(key="k", operator="Equal", value="v", effect="NoSchedule"), True),
        (Toleration(key="k", value="v"), True),
        (Toleration(key="k", value="w"), False),
        (Toleration(key="k", operator="Exists"), True),
        (Toleration(operator="Exists"), True),
        (Toleration(key="k", operator="Exists", effect="NoExecute"), False),
        (Toleration(key="other", operator="Exists"), False),
    ],
)
def test_a_toleration_meets_a_taint(toleration: Toleration, tolerated: bool) -> None:
    assert tolerates((toleration,), Taint(key="k", value="v", effect="NoSchedule")) is tolerated
