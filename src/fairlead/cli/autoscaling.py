"""`fairlead autoscaling`: what the autoscalers of a cluster have decided, round by round."""

from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
import typer

from fairlead.cli.homes import DEFAULT_NAME, NameOption, running_cluster
from fairlead.cli.output import EXIT_NO, Output, answer_json, complain
from fairlead.cluster.controllers.autoscaling_round import Decision
from fairlead.cluster.home import ClusterHome
from fairlead.kube.documents import Document, mapping_at, text_at

_DECISIONS = "autoscaling.log"
_HEAD = ("TIME", "AUTOSCALER", "PODS", "METRICS", "ASKED", "NEW", "WHY")


def autoscaling(
    autoscaler: Annotated[
        str, typer.Argument(metavar="[NAMESPACE/NAME]", help="One autoscaler; all of them without it.")
    ] = "",
    name: NameOption = DEFAULT_NAME,
    every: Annotated[bool, typer.Option("--all", help="Also rounds in which nothing changed.")] = False,
    output: Annotated[Output, typer.Option("-o", "--output", help="Text or JSON.")] = Output.TEXT,
) -> None:
    """Show what autoscalers saw, asked for and got, round by round. Exit 1 when there has been no round."""
    home, _ = running_cluster(name)
    decisions = [each for each in read_decisions(home) if autoscaler in ("", f"{each.namespace}/{each.name}")]
    shown = decisions if every else list(changes(decisions))
    if output is Output.JSON:
        answer_json(shown)
    elif shown:
        print("\n".join(timeline(shown)))
    if not decisions:
        of = f" of {autoscaler}" if autoscaler else ""
        complain(f"there has been no round{of}", "see `kubectl get hpa -A`")
        raise typer.Exit(EXIT_NO)


def read_decisions(home: ClusterHome) -> list[Decision]:
    """Return every decision that is kept, the oldest first."""
    files = (home.logs / f"{_DECISIONS}.1", home.logs / _DECISIONS)
    lines = (line for file in files if file.exists() for line in file.read_bytes().splitlines())
    return [msgspec.json.decode(line, type=Decision) for line in lines]


def changes(decisions: Iterable[Decision]) -> Iterator[Decision]:
    """The rounds that differ from the one before of the same autoscaler in more than what was measured."""
    last: dict[tuple[str, str], tuple[object, ...]] = {}
    for each in decisions:
        key, said = (each.namespace, each.name), (each.current, each.desired, each.recommended, each.error)
        if last.get(key) != said:
            last[key] = said
            yield each


def timeline(decisions: list[Decision]) -> list[str]:
    """Rounds as a table; times are seconds since the first of them."""
    rows = [_HEAD, *(_row(each, decisions[0].at) for each in decisions)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(decision: Decision, began: float) -> tuple[str, ...]:
    asked = "-" if decision.recommended is None else str(decision.recommended)
    limit = "" if decision.limit in ("", "DesiredWithinRange") else decision.limit
    return (
        f"{decision.at - began:+.1f}s",
        f"{decision.namespace}/{decision.name}",
        str(decision.current),
        ", ".join(metric_text(each) for each in decision.metrics) or "-",
        asked,
        str(decision.desired) if decision.desired != decision.current else "",
        decision.error or ", ".join(filter(None, (limit, decision.reason))),
    )


def metric_text(metric: Document) -> str:
    """What was measured, in a few characters."""
    kind = text_at(metric, "type")
    source = mapping_at(metric, kind[:1].lower() + kind[1:])
    current = mapping_at(source, "current")
    name = text_at(source, "name") or text_at(source, "metric", "name")
    percent = current.get("averageUtilization")
    if percent is not None:
        return f"{name} {percent}%"
    return f"{name} {current.get('averageValue') or current.get('value') or '?'}"
