"""Field selectors: `a=b,c!=d` over the few fields a kind lets one select by.

In: the text, and the labels a kind knows. Out: a match function over an object's field labels, or a StatusError in
upstream's words (k8s.io/apimachinery/pkg/fields/selector.go). It knows no objects.
"""

from collections.abc import Callable, Collection, Mapping

from fairlead.cluster.apiserver.statuses import bad_request

COMMON = ("metadata.name", "metadata.namespace")
"""What every kind can be selected by."""

_ESCAPED = "\\,="

FieldsMatch = Callable[[Mapping[str, str]], bool]


def parse_terms(text: str) -> list[tuple[str, bool, str]]:
    """Return (field, whether it must be equal, value) of each term; a backslash keeps `,`, `=` and itself from
    acting.
    """
    return [_term(part) for part in _split(text) if part]


def compile_fields(text: str, known: Collection[str]) -> FieldsMatch | None:
    """Return the match function of a selector, None for an empty one; raise 400 for a field that is not known."""
    terms = parse_terms(text)
    for field, _, _ in terms:
        if field not in COMMON and field not in known:
            raise bad_request(f"field label not supported: {field}")
    if not terms:
        return None

    def matches(fields: Mapping[str, str]) -> bool:
        return all((fields.get(field, "") == value) is equal for field, equal, value in terms)

    return matches


def exact_name(text: str) -> str | None:
    """Return the name a selector pins with metadata.name=NAME, if it does: such a list is a single look-up."""
    for field, equal, value in parse_terms(text):
        if field == "metadata.name" and equal:
            return value
    return None


def _split(text: str) -> list[str]:
    parts = [""]
    escaped = False
    for each in text:
        if each == "," and not escaped:
            parts.append("")
            continue
        parts[-1] += each
        escaped = each == "\\" and not escaped
    return parts


def _term(part: str) -> tuple[str, bool, str]:
    for operator, equal in (("!=", False), ("==", True), ("=", True)):
        field, found, value = part.partition(operator)
        if found and "=" not in field and "!" not in field:
            return field, equal, _unescape(value, part)
    raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")


def _unescape(value: str, part: str) -> str:
    plain: list[str] = []
    escaped = False
    for each in value:
        if escaped:
            if each not in _ESCAPED:
                raise bad_request(f"invalid field selector: invalid escape sequence: \\{each} in {part}")
            plain.append(each)
            escaped = False
        elif each == "\\":
            escaped = True
        elif each == "=":
            raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
        else:
            plain.append(each)
    return "".join(plain)
