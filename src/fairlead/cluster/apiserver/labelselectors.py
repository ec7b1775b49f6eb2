"""Label selectors in the text form of queries: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.

In: the text. Out: a match function over labels, or 400 in upstream's words
(k8s.io/apimachinery/pkg/labels/selector.go). The structured selectors inside objects are `fairlead.kube`'s.
"""

import re
from collections.abc import Callable, Mapping

from fairlead.cluster.apiserver.statuses import bad_request

LabelsMatch = Callable[[Mapping[str, str]], bool]
_Term = Callable[[Mapping[str, str]], bool]

_KEY = r"(?P<key>(?:[A-Za-z0-9](?:[-A-Za-z0-9.]*[A-Za-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
_EQUALITY = re.compile(rf"\s*{_KEY}\s*(?P<operator>==|=|!=)\s*(?P<value>{_VALUE})\s*")
_SET = re.compile(rf"\s*{_KEY}\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)\s*")
_EXISTS = re.compile(rf"\s*(?P<not>!?)\s*{_KEY}\s*")
_ONE_VALUE = re.compile(_VALUE)


def compile_labels(text: str) -> LabelsMatch | None:
    """Return the match function of a selector, None for an empty one; raise 400 where it cannot be read."""
    if not text.strip():
        return None
    terms = [_term(part, text) for part in _split(text)]
    if len(terms) == 1:
        return terms[0]

    def matches(labels: Mapping[str, str]) -> bool:
        return all(term(labels) for term in terms)

    return matches


def _split(text: str) -> list[str]:
    """Split at the commas that are not between parentheses."""
    return re.split(r",(?![^()]*\))", text)


def _term(part: str, text: str) -> _Term:
    if found := _EQUALITY.fullmatch(part):
        key, value = found["key"], found["value"]
        if found["operator"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _SET.fullmatch(part):
        key = found["key"]
        values = frozenset(value.strip() for value in found["values"].split(","))
        if all(_ONE_VALUE.fullmatch(value) for value in values):
            if found["operator"] == "in":
                return lambda labels: labels.get(key) in values
            return lambda labels: labels.get(key) not in values
    elif found := _EXISTS.fullmatch(part):
        key = found["key"]
        if found["not"]:
            return lambda labels: key not in labels
        return lambda labels: key in labels
    raise bad_request(f'unable to parse requirement: "{part.strip()}" in the label selector "{text}"')
