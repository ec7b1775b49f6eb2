"""A reach in the forms people keep, compare and draw: lines, CSV, DOT, SVG.

Comes in: pairs with the words for what they may talk on. Goes out: text. Refuses to know how it was found out.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from msgspec import Struct

from fairlead.sim.reach_ports import EVERYTHING

Pairs = Mapping[tuple[str, str], str]
"""What every pair of names may talk on; a pair that is not there may not."""

_CELL, _MARGIN, _LETTER = 22, 16, 7
_FULL, _PART, _NONE, _SELF = "#2e7d32", "#f9a825", "#eceff1", "#cfd8dc"


class Change(Struct, frozen=True):
    """What is different for a pair; empty text means no connection."""

    src: str
    dst: str
    before: str
    after: str


class FormError(ValueError):
    """A matrix that was kept cannot be read."""


def csv_of(pairs: Pairs) -> str:
    """The matrix as CSV, sorted: a form to keep."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("src", "dst", "conn"))
    writer.writerows((*pair, pairs[pair]) for pair in sorted(pairs))
    return out.getvalue()


def read_csv(text: str) -> dict[tuple[str, str], str]:
    """A matrix that was kept. Lines that begin with # are remarks. Raises FormError."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    rows = list(csv.reader(lines))
    if not rows or rows[0] != ["src", "dst", "conn"]:
        raise FormError("the first line must be src,dst,conn")
    for number, row in enumerate(rows, 1):
        if len(row) != 3:
            raise FormError(f"row {number} has {len(row)} columns instead of 3")
    return {(src, dst): conn for src, dst, conn in rows[1:]}


def covers(conn: str, protocol: str, port: int) -> bool:
    """Whether words for a connection allow a port."""
    if conn == EVERYTHING:
        return True
    current = ""
    for part in conn.split(","):
        name, _, rest = part.rpartition(" ")
        current, span = (name, rest) if name else (rest, "") if rest.isalpha() else (current, rest)
        first, _, last = span.partition("-")
        if current == protocol and (not span or int(first) <= port <= int(last or first)):
            return True
    return False


def compare(before: Pairs, after: Pairs) -> list[Change]:
    """The pairs that differ, sorted."""
    return [
        Change(*pair, before.get(pair, ""), after.get(pair, ""))
        for pair in sorted({*before, *after})
        if before.get(pair) != after.get(pair)
    ]


def dot_of(pairs: Pairs) -> str:
    """A graph for Graphviz."""
    names = sorted({name for pair in pairs for name in pair})
    lines = [f"  {_quoted(name)};" for name in names]
    lines += [f"  {_quoted(src)} -> {_quoted(dst)} [label={_quoted(pairs[src, dst])}];" for src, dst in sorted(pairs)]
    return "\n".join(("digraph reach {", "  rankdir=LR;", "  node [shape=box];", *lines, "}", ""))


def svg_of(names: Sequence[str], pairs: Pairs) -> str:
    """A picture: a row for each source, a column for each destination, a coloured cell for what is allowed."""
    text = _LETTER * max((len(name) for name in names), default=0) + _MARGIN
    side = _CELL * len(names)
    slope = int(text * 0.75) + _MARGIN
    width, height = text + side + slope + _MARGIN, slope + side + 4 * _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="monospace" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for index, name in enumerate(names):
        at = index * _CELL
        parts.append(
            f'<text x="{text - 6}" y="{slope + at + 15}" text-anchor="end">{escape(name)}</text>'
            f'<text transform="translate({text + at + 14} {slope - 4}) rotate(-45)">{escape(name)}</text>'
        )
    for row, src in enumerate(names):
        parts += (_cell(src, dst, pairs.get((src, dst)), text + column * _CELL, slope + row * _CELL)
                  for column, dst in enumerate(names))  # fmt: skip
    parts += _legend(text, slope + side + 2 * _MARGIN)
    return "\n".join((*parts, "</svg>", ""))


def _cell(src: str, dst: str, conn: str | None, x: int, y: int) -> str:
    colour = _SELF if src == dst and conn is None else _FULL if conn == EVERYTHING else _PART if conn else _NONE
    told = escape(f"{src} => {dst}: {conn or 'nothing'}")
    return (
        f'<rect x="{x}" y="{y}" width="{_CELL - 2}" height="{_CELL - 2}" fill="{colour}"><title>{told}</title></rect>'
    )


def _legend(x: int, y: int) -> Iterable[str]:
    for colour, words in ((_FULL, "everything"), (_PART, "some ports"), (_NONE, "nothing")):
        yield f'<rect x="{x}" y="{y - 12}" width="14" height="14" fill="{colour}"/>'
        yield f'<text x="{x + 20}" y="{y}">{words}</text>'
        x += 40 + _LETTER * len(words)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
