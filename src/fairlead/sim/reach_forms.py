"""A reach in the forms people keep and compare: CSV, DOT, changes.

Comes in: pairs with the words for what they may talk on. Goes out: text. Refuses to know how it was found out.
"""

import csv
import io
from collections.abc import Mapping

from msgspec import Struct

from fairlead.sim.reach_ports import EVERYTHING

Pairs = Mapping[tuple[str, str], str]
"""What every pair of names may talk on; a pair that is not there may not."""


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


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
