"""The tables of annotations as a page of the documentation: nothing comes in, Markdown goes out.

`docs/ingress/annotations.md` is this text; a test holds both equal.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from fairlead.compile.annotations.catalogue import SUPPORTED, UNSUPPORTED
from fairlead.compile.annotations.f5 import F5, F5_UNSUPPORTED, INHERITED
from fairlead.compile.annotations.reading import Annotation, Unsupported, Wrong

_WRONG = {
    Wrong.DEFAULT: "the default holds",
    Wrong.DENY: "its paths answer 503",
    Wrong.REFUSE: "the Ingress is not taken over",
}
_HEAD = """\
# Annotations of Ingresses

Generated from the tables in `src/fairlead/compile/annotations`; write it anew with

    python -c 'from fairlead.compile.annotations.page import annotations_page as page; print(page(), end="")' \\
        > docs/ingress/annotations.md

A wrong value is always told, as an Event and by `fairlead ingress report`; the last column says what else it does.
Snippets count only while the ConfigMap's `allow-snippet-annotations` is on. An annotation that stands on neither
list does nothing and is told as unknown.
"""


def annotations_page() -> str:
    """The whole page."""
    lines = [
        _HEAD,
        "## `nginx.ingress.kubernetes.io/*`\n",
        *_carried(SUPPORTED),
        "\nKnown and not carried:\n",
        *_left_out(UNSUPPORTED),
        "\n## `nginx.org/*`\n",
        "A minion takes those marked with * from the master of its host, unless it says them itself.\n",
        *_carried(F5, INHERITED),
        "\nKnown and not carried:\n",
        *_left_out(F5_UNSUPPORTED),
    ]
    return "\n".join(lines) + "\n"


def _carried(table: Mapping[str, Annotation[Any]], marked: frozenset[str] = frozenset()) -> Iterator[str]:
    yield "| annotation | what it says | a wrong value |"
    yield "|---|---|---|"
    for name, each in sorted(table.items()):
        star = " *" if name in marked else ""
        yield f"| `{name}`{star} | {each.summary} | {_WRONG[each.wrong]} |"


def _left_out(table: Mapping[str, Unsupported]) -> Iterator[str]:
    yield "| annotation | what happens instead |"
    yield "|---|---|"
    for name, each in sorted(table.items()):
        yield f"| `{name}` | {each.instead} |"
