"""A reach as a picture: a row for each source, a column for each destination, a coloured cell for what is allowed.

Comes in: names in order, and pairs with the words for what they may talk on. Goes out: SVG, namespaces set apart. A
small picture has the ports in its cells; in every one a cell tells them when it is pointed at. What is denied in a
large one is left to the background, so that the file stays small.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby

from msgspec import Struct

from fairlead.sim.reach_parties import EXTERNAL
from fairlead.sim.reach_ports import EVERYTHING

_CELL, _GAP, _MARGIN, _LETTER = 22, 6, 16, 7.3
_WIDE, _MOST_WIDE, _MOST_WHOLE = 64, 12, 50
_LONGEST_LABEL, _SHORTEST_WORDS = 44, 8
_FULL, _PART, _NONE, _PLAIN = "#2e7d32", "#f9a825", "#e3e7ea", "#ffffff"


class _Axis(Struct, frozen=True):
    """Names along one side, each with where its cells begin, and how long a cell is."""

    labels: Sequence[str]
    starts: Sequence[int]
    step: int

    @property
    def length(self) -> int:
        return self.starts[-1] + self.step if self.starts else 0


def svg_of(names: Sequence[str], pairs: Mapping[tuple[str, str], str]) -> str:
    """Draw a matrix. A pair that is not there may not talk; what is outside is not asked about what is outside."""
    wide = len(names) <= _MOST_WIDE and any(conn != EVERYTHING for conn in pairs.values())
    rows, columns = _axis(names, _CELL), _axis(names, _WIDE if wide else _CELL)
    text = int(_LETTER * max((len(label) for label in rows.labels), default=0)) + 2 * _MARGIN
    slope = int(text * 0.72) + 2 * _MARGIN
    width = text + max(columns.length + slope, 48 * int(_LETTER)) + _MARGIN
    height = slope + rows.length + 4 * _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="monospace" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="{_PLAIN}"/>',
        f'<text x="{text - 8}" y="{slope - 8}" text-anchor="end" fill="#607d8b">from \u2193  to \u2192</text>',
    ]
    for at, label in zip(rows.starts, rows.labels, strict=True):
        parts.append(f'<text x="{text - 8}" y="{slope + at + 15}" text-anchor="end">{escape(label)}</text>')
    for at, label in zip(columns.starts, columns.labels, strict=True):
        x = text + at + columns.step // 2 + 4
        parts.append(f'<text transform="translate({x} {slope - 6}) rotate(-45)">{escape(label)}</text>')
    parts += _cells(names, pairs, rows, columns, (text, slope))
    parts += _legend(text, slope + rows.length + 2 * _MARGIN)
    return "\n".join((*parts, "</svg>", ""))


def _axis(names: Sequence[str], step: int) -> _Axis:
    starts: list[int] = []
    at = 0
    for _, members in groupby(names, key=_group):
        for _ in members:
            starts.append(at)
            at += step
        at += _GAP
    return _Axis([_shorten(name, _LONGEST_LABEL) for name in names], starts, step)


def _group(name: str) -> str:
    """The namespace of a workload; all that is outside is one group."""
    return EXTERNAL if name.endswith(EXTERNAL) else name.partition("/")[0]


def _cells(
    names: Sequence[str],
    pairs: Mapping[tuple[str, str], str],
    rows: _Axis,
    columns: _Axis,
    corner: tuple[int, int],
) -> Iterator[str]:
    large = len(names) > _MOST_WHOLE
    if large:
        yield (
            f'<rect x="{corner[0]}" y="{corner[1]}" width="{columns.length}" height="{rows.length}" fill="{_NONE}"/>'
        )
    for row, src in enumerate(names):
        for column, dst in enumerate(names):
            conn = pairs.get((src, dst))
            if conn is None and (large or _unasked(src, dst)):
                continue
            x, y = corner[0] + columns.starts[column], corner[1] + rows.starts[row]
            yield _cell(f"{src} => {dst}: {conn or 'nothing'}", conn, x, y, columns.step)


def _unasked(src: str, dst: str) -> bool:
    """Whether nothing is said of a pair: a lone pod reaches itself, and nobody here judges outside to outside."""
    return src == dst or (src.endswith(EXTERNAL) and dst.endswith(EXTERNAL))


def _cell(told: str, conn: str | None, x: int, y: int, step: int) -> str:
    colour = _FULL if conn == EVERYTHING else _PART if conn else _NONE
    box = f'<rect x="{x}" y="{y}" width="{step - 2}" height="{_CELL - 2}" fill="{colour}">'
    words = ""
    if conn and conn != EVERYTHING and step == _WIDE:
        words = (
            f'<text x="{x + step // 2 - 1}" y="{y + 14}" text-anchor="middle" font-size="11" pointer-events="none">'
            f"{escape(_shorten(conn.removeprefix('TCP '), _SHORTEST_WORDS))}</text>"
        )
    return f"{box}<title>{escape(told)}</title></rect>{words}"


def _shorten(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}\u2026"


def _legend(x: int, y: int) -> Iterator[str]:
    for colour, words in ((_FULL, "everything"), (_PART, "some ports"), (_NONE, "nothing"), (_PLAIN, "not asked")):
        yield f'<rect x="{x}" y="{y - 12}" width="14" height="14" fill="{colour}" stroke="#b0bec5"/>'
        yield f'<text x="{x + 20}" y="{y}">{words}</text>'
        x += 40 + int(_LETTER * len(words))
