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
    from fairlead.sim.reach import Reach
    from fairlead.sim.reach_objects import Alias, PolicyObjects, Question

_FILES = typer.Option("-f", "--filename", metavar="PATH", help="Manifests to ask, instead of a running cluster.")


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
    source: Annotated[str, typer.Option("--from", metavar="TEXT", help="Only sources whose name has this.")] = "",
    target: Annotated[str, typer.Option("--to", metavar="TEXT", help="Only destinations whose name has this.")] = "",
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
        before, after = (_pairs(policy_objects(read_manifests([path]))) for path in diff)
        _tell_changes(before, after, output)
        return
    objects = policy_objects(read_manifests(files)) if files else live_objects(name)
    question = read_objects(objects)
    for finding in question.findings:
        complain(f"{finding.origin}: {finding.message}", finding.remedy)
    if expect is not None:
        _hold_to(expect, objects)
        return
    answer = question.reach()
    lines = [
        (src, dst, conn) for src, dst, conn in answer.lines() if source in src.name and target in dst.name
    ]  # fmt: skip
    if explain:
        _explain(question, answer, source, target)
        return
    pairs = {(src.name, dst.name): conn for src, dst, conn in lines}
    _print(pairs, answer, objects, output, filtered=bool(source or target))


def _pairs(objects: "PolicyObjects") -> dict[tuple[str, str], str]:
    from fairlead.sim.reach_objects import read_objects

    return {(src.name, dst.name): conn for src, dst, conn in read_objects(objects).reach().lines()}


def _print(
    pairs: dict[tuple[str, str], str], answer: "Reach", objects: "PolicyObjects", output: Form, *, filtered: bool
) -> None:
    from fairlead.sim.reach_forms import csv_of, dot_of, svg_of
    from fairlead.sim.reach_objects import services_of

    if output is Form.CSV:
        sys.stdout.write(csv_of(pairs))
    elif output is Form.DOT:
        sys.stdout.write(dot_of(pairs))
    elif output is Form.SVG:
        known = [party.name for party in answer.parties]
        shown = [each for each in known if any(each in pair for pair in pairs)] if filtered else known
        sys.stdout.write(svg_of(shown, pairs))
    elif output is Form.JSON:
        found = services_of(objects)
        answer_json(
            [
                {"src": src, "dst": dst, "conn": conn, "services": _through(found, dst, conn)}
                for (src, dst), conn in sorted(pairs.items())
            ]
        )
    else:
        _table(pairs, services_of(objects))


def _through(services: "dict[str, list[Alias]]", dst: str, conn: str) -> list[str]:
    """The Services that lead to a port that may be talked to."""
    from fairlead.sim.reach_forms import covers

    return [str(each) for each in services.get(dst, []) if covers(conn, each.protocol, each.target)]


def _table(pairs: dict[tuple[str, str], str], services: "dict[str, list[Alias]]") -> None:
    rows = [("FROM", "TO", "ON", "SERVICES")]
    rows += ((src, dst, conn, "; ".join(_through(services, dst, conn))) for (src, dst), conn in sorted(pairs.items()))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("   ".join((*cells, row[3])).rstrip())


def _explain(question: "Question", answer: "Reach", source: str, target: str) -> None:
    from fairlead.sim.reach_explaining import explain_pairs

    for line in explain_pairs(question, answer, source, target):
        print(line)


def _hold_to(kept: Path, objects: "PolicyObjects") -> None:
    """Compare with a matrix that was kept; leave with 1 where they differ."""
    from fairlead.sim.reach_forms import FormError, compare, read_csv

    try:
        wanted = read_csv(kept.read_text())
    except (OSError, FormError) as error:
        complain(f"{kept} is no matrix: {error}", "write one with `fairlead reach -f PATH -o csv`")
        raise typer.Exit(EXIT_USAGE) from None
    changes = compare(wanted, _pairs(objects))
    for change in changes:
        print(f"{change.src} => {change.dst}: {change.after or 'nothing'}, expected {change.before or 'nothing'}")
    if changes:
        complain(f"{len(changes)} pairs are not as {kept} expects")
        raise typer.Exit(EXIT_NO)
    print(f"as {kept} expects: {len(wanted)} pairs")


def _tell_changes(before: dict[tuple[str, str], str], after: dict[tuple[str, str], str], output: Form) -> None:
    from fairlead.sim.reach_forms import compare

    changes = compare(before, after)
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
