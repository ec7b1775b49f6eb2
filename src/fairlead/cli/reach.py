"""`fairlead reach`: who can talk to whom, from manifests or a running cluster, and what a change opens and closes."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.homes import DEFAULT_NAME, NameOption
from fairlead.cli.objects import live_objects, policy_objects, read_manifests
from fairlead.cli.output import EXIT_NO, EXIT_USAGE, answer_json, complain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fairlead.sim.reach import Reach
    from fairlead.sim.reach_objects import Question
    from fairlead.sim.reach_parties import Party

    Line = tuple[Party, Party, str]

_FILES = typer.Option("-f", "--filename", metavar="PATH", help="Manifests to ask, instead of a running cluster.")
_MOST_DRAWN = 400


class Form(StrEnum):
    """The forms an answer comes in."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    DOT = "dot"
    SVG = "svg"


def reach(
    files: Annotated[list[Path] | None, _FILES] = None,
    output: Annotated[Form, typer.Option("-o", "--output", help="The form of the answer.")] = Form.TABLE,
    source: Annotated[
        str, typer.Option("--from", metavar="TEXT", help="Only sources whose name has this, or a Service of which.")
    ] = "",
    target: Annotated[
        str, typer.Option("--to", metavar="TEXT", help="Only destinations; svc/NAMESPACE/NAME and a URL are names too.")
    ] = "",
    diff: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--diff", metavar="OLD NEW", help="What changes from one set of manifests to another."),
    ] = None,
    expect: Annotated[
        Path | None, typer.Option("--expect", metavar="FILE", help="A matrix as -o csv prints it; differing is exit 1.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Name the policies that decide, pair by pair.")] = False,
    name: NameOption = DEFAULT_NAME,
) -> None:
    """Show who can talk to whom, and on what, as network policies say it.

    Pods are shown by their workloads, outside addresses by the ranges that policies tell apart. Exit 1 where --expect
    or --diff finds a difference.
    """
    from fairlead.sim.reach_objects import read_objects

    if diff is not None:
        before, after = (read_objects(policy_objects(read_manifests([path]))) for path in diff)
        _tell_changes(before, after, output)
        return
    question = read_objects(policy_objects(read_manifests(files)) if files else live_objects(name))
    answer = question.reach()
    for finding in (*question.findings, *question.closed(answer)):
        complain(f"{finding.origin}: {finding.message}", finding.remedy)
    if expect is not None:
        _hold_to(expect, question)
    elif explain:
        _explain(question, answer, source, target)
    else:
        lines = question.lines(answer)
        chosen = [line for line in lines if question.means(source, line[0]) and question.means(target, line[1])]
        _print(question, answer, chosen, output, filtered=bool(source or target))


def _pairs(lines: "Iterable[Line]") -> dict[tuple[str, str], str]:
    return {(src.name, dst.name): conn for src, dst, conn in lines}


def _print(question: "Question", answer: "Reach", lines: "list[Line]", output: Form, *, filtered: bool) -> None:
    from fairlead.sim.reach_forms import csv_of, dot_of
    from fairlead.sim.reach_svg import svg_of

    pairs = _pairs(lines)
    if output is Form.CSV:
        sys.stdout.write(csv_of(pairs))
    elif output is Form.DOT:
        sys.stdout.write(dot_of(pairs))
    elif output is Form.SVG:
        known = [party.name for party in answer.parties]
        shown = [each for each in known if any(each in pair for pair in pairs)] if filtered else known
        if len(shown) > _MOST_DRAWN:
            complain(f"{len(shown)} names make no picture that anybody reads", "draw a part: --from TEXT --to TEXT")
            raise typer.Exit(EXIT_USAGE)
        sys.stdout.write(svg_of(shown, pairs))
    else:
        rows = sorted((src.name, dst.name, conn, question.through(src, dst, conn)) for src, dst, conn in lines)
        if output is Form.JSON:
            answer_json([{"src": src, "dst": dst, "conn": conn, "services": by} for src, dst, conn, by in rows])
        else:
            _table([(*row[:3], "; ".join(row[3])) for row in rows])


def _table(found: list[tuple[str, str, str, str]]) -> None:
    rows = [("FROM", "TO", "ON", "SERVICES"), *found]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("   ".join((*cells, row[3])).rstrip())


def _explain(question: "Question", answer: "Reach", source: str, target: str) -> None:
    from fairlead.sim.reach_explaining import explain_pairs

    for line in explain_pairs(question, answer, source, target):
        print(line)


def _hold_to(kept: Path, question: "Question") -> None:
    """Compare with a matrix that was kept; leave with 1 where they differ."""
    from fairlead.sim.reach_forms import FormError, compare, read_csv

    try:
        wanted = read_csv(kept.read_text())
    except (OSError, FormError) as error:
        complain(f"{kept} is no matrix: {error}", "write one with `fairlead reach -f PATH -o csv`")
        raise typer.Exit(EXIT_USAGE) from None
    changes = compare(wanted, _pairs(question.lines(question.reach())))
    for change in changes:
        print(f"{change.src} => {change.dst}: {change.after or 'nothing'}, expected {change.before or 'nothing'}")
    if changes:
        complain(f"{len(changes)} pairs are not as {kept} expects")
        raise typer.Exit(EXIT_NO)
    print(f"as {kept} expects: {len(wanted)} pairs")


def _tell_changes(before: "Question", after: "Question", output: Form) -> None:
    """Compare, with the outside cut alike for both: a new range alone opens and closes nothing."""
    from fairlead.sim.reach_forms import compare

    blocks = before.blocks() | after.blocks()
    changes = compare(*(_pairs(each.lines(each.reach(blocks))) for each in (before, after)))
    if output is Form.JSON:
        answer_json(changes)
    elif output is Form.CSV:
        print("src,dst,before,after")
        for each in changes:
            print(",".join(f'"{text}"' for text in (each.src, each.dst, each.before, each.after)))
    else:
        for each in changes:
            verb = "opened" if not each.before else "closed" if not each.after else "changed"
            print(f"{verb}  {each.src} => {each.dst}: {each.before or 'nothing'} -> {each.after or 'nothing'}")
        if not changes:
            print("nothing changes")
    if changes:
        raise typer.Exit(EXIT_NO)
