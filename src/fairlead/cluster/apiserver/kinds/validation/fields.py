"""Rules for fields that many kinds have: metadata, labels, selectors, ports, numbers.

In: a document and the path of what is judged. Out: an iterator of FieldErrors in the order upstream finds them. Source:
k8s.io/apimachinery/pkg/api/validation and apis/meta/v1/validation.
"""

from collections.abc import Callable, Iterator, Sequence

from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.errors import FieldError, forbidden, invalid, required, too_long, unsupported
from fairlead.cluster.apiserver.kinds.validation import texts
from fairlead.kube.documents import Document, Json, flag_at, items_at, mapping_at, number_at, strings_at, text_at

Found = Iterator[FieldError]
PROTOCOLS = ("SCTP", "TCP", "UDP")
ANNOTATION_BYTES = 256 * 1024
NAMED_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion", "customresourcecleanup.apiextensions.k8s.io")


def listed(*rules: Callable[[Document], Found]) -> Callable[[Document], list[FieldError]]:
    """Return a validation out of several rules, as a row of the table of kinds wants it."""

    def validate(document: Document) -> list[FieldError]:
        return [error for rule in rules for error in rule(document)]

    return validate


def listed_update(rule: Callable[[Document, Document], Found]) -> Callable[[Document, Document], list[FieldError]]:
    """Return a validation of updates out of a rule."""

    def validate(new: Document, old: Document) -> list[FieldError]:
        return list(rule(new, old))

    return validate


def judged(path: str, value: str, rule: texts.Rule) -> Found:
    """Judge a text by a rule."""
    for sentence in rule(value):
        yield invalid(path, value, sentence)


def one_of(path: str, value: str, supported: Sequence[str]) -> Found:
    """Judge a text that must be one of a few."""
    if value not in supported:
        yield unsupported(path, value, supported)


def not_negative(document: Document, path: str, *names: str) -> Found:
    """Judge numbers that may not be below zero."""
    for name in names:
        value = number_at(document, name)
        if value is not None and value < 0:
            yield invalid(f"{path}.{name}", value, texts.NOT_NEGATIVE)


def port_number(path: str, value: Json) -> Found:
    """Judge a port number."""
    if not isinstance(value, int) or not 1 <= value <= 65535:
        yield invalid(path, value, texts.PORT_RANGE)


def port_or_name(path: str, value: Json) -> Found:
    """Judge a port given by number or by name."""
    if isinstance(value, str):
        yield from judged(path, value, texts.port_name)
    else:
        yield from port_number(path, 0 if value is None else value)


def protocol(path: str, value: str) -> Found:
    """Judge a protocol."""
    if not value:
        yield required(path)
    else:
        yield from one_of(path, value, PROTOCOLS)


def labels(path: str, document: Json) -> Found:
    """Judge the keys and values of labels or of a selector made of labels."""
    for key, value in strings_at(document).items():
        yield from judged(path, key, texts.qualified_name)
        yield from judged(path, value, texts.label_value)


def metadata_of(name_rule: texts.Rule) -> Callable[[Document], Found]:
    """Return the rule for the metadata of a kind whose names obey `name_rule`."""

    def rule(document: Document) -> Found:
        yield from metadata(mapping_at(document, "metadata"), "metadata", name_rule)

    return rule


def metadata(document: Document, path: str, name_rule: texts.Rule) -> Found:
    """Judge the metadata of an object."""
    if name := text_at(document, "name"):
        yield from judged(f"{path}.name", name, name_rule)
    yield from labels(f"{path}.labels", document.get("labels"))
    yield from annotations(f"{path}.annotations", document.get("annotations"))
    for finalizer in items_at(document, "finalizers"):
        yield from _finalizer(f"{path}.finalizers", str(finalizer))
    yield from _owners(f"{path}.ownerReferences", children(document, "ownerReferences"))


def annotations(path: str, document: Json) -> Found:
    """Judge annotations: their keys, and their size together."""
    values = strings_at(document)
    for key in values:
        for sentence in texts.qualified_name(key.lower()):
            yield invalid(path, key, sentence)
    if sum(len(key.encode()) + len(value.encode()) for key, value in values.items()) > ANNOTATION_BYTES:
        yield too_long(path, ANNOTATION_BYTES)


def _finalizer(path: str, name: str) -> Found:
    yield from judged(path, name, texts.qualified_name)
    if "/" not in name and name not in NAMED_FINALIZERS:
        yield invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified")


def _owners(path: str, owners: Sequence[Document]) -> Found:
    empty = "must not be empty"
    controllers = [text_at(owner, "name") for owner in owners if flag_at(owner, "controller")]
    for owner in owners:
        if not text_at(owner, "apiVersion"):
            yield invalid(f"{path}.apiVersion", "", "version must not be empty")
        for name in ("kind", "name", "uid"):
            if not text_at(owner, name):
                yield invalid(f"{path}.{name}", "", empty)
    if len(controllers) > 1:
        detail = "Only one reference can have Controller set to true. Found"
        first, second = controllers[:2]
        yield invalid(path, list(owners), f'{detail} "true" in references for {first} and {second}')


def selector(path: str, document: Document) -> Found:
    """Judge a label selector."""
    yield from labels(f"{path}.matchLabels", document.get("matchLabels"))
    for index, expression in enumerate(children(document, "matchExpressions")):
        yield from _expression(f"{path}.matchExpressions[{index}]", expression)


def _expression(path: str, expression: Document) -> Found:
    operator, values = text_at(expression, "operator"), items_at(expression, "values")
    if operator in ("In", "NotIn"):
        if not values:
            yield required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            yield forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    else:
        yield invalid(f"{path}.operator", operator, "not a valid selector operator")
    yield from judged(f"{path}.key", text_at(expression, "key"), texts.qualified_name)
    for index, value in enumerate(values):
        yield from judged(f"{path}.values[{index}]", str(value), texts.label_value)


def immutable(path: str, new: Json, old: Json) -> Found:
    """Refuse a change."""
    if new != old:
        yield invalid(path, new, texts.IMMUTABLE)
