"""Cells that several kinds share: selectors, labels, lists cut short.

Source: the printers of k8s.io/kubernetes/pkg/printers/internalversion/printers.go.
"""

from collections.abc import Sequence

from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.spec import Column
from fairlead.kube.documents import Document, Json, items_at, mapping_at, strings_at, text_at

NONE = "<none>"
UNSET = "<unset>"
SHOWN = 3

CONTAINERS = Column("Containers", "string", "", "The names of the containers in the template.", 1)
IMAGES = Column("Images", "string", "", "The images of the containers in the template.", 1)
SELECTOR = Column("Selector", "string", "", "The labels of the pods that belong to it.", 1)


def labels_text(labels: dict[str, str]) -> str:
    """Return labels as key=value, sorted, with commas between."""
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels)) or NONE


def _expression_text(expression: Document) -> tuple[str, str]:
    key = text_at(expression, "key")
    values = ",".join(sorted(str(each) for each in items_at(expression, "values")))
    match text_at(expression, "operator"):
        case "In":
            return key, f"{key} in ({values})"
        case "NotIn":
            return key, f"{key} notin ({values})"
        case "Exists":
            return key, key
        case _:
            return key, f"!{key}"


def selector_text(selector: Document) -> str:
    """Return a label selector as people write it on a command line."""
    terms = [(key, f"{key}={value}") for key, value in strings_at(selector, "matchLabels").items()]
    terms += [_expression_text(each) for each in children(selector, "matchExpressions")]
    return ",".join(text for _, text in sorted(terms)) or NONE


def short_list(items: Sequence[str], empty: str = NONE) -> str:
    """Return at most three items, and how many more there are."""
    if not items:
        return empty
    shown = ",".join(items[:SHOWN])
    return f"{shown} + {len(items) - SHOWN} more..." if len(items) > SHOWN else shown


def template_cells(document: Document) -> list[Json]:
    """Return the cells of containers, images and selector of a workload."""
    containers = children(mapping_at(document, "spec", "template", "spec"), "containers")
    names = ",".join(text_at(each, "name") for each in containers)
    images = ",".join(text_at(each, "image") for each in containers)
    return [names, images, selector_text(mapping_at(document, "spec", "selector"))]
