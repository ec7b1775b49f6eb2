"""`fairlead ingress report`: what of every Ingress carries over to our controller, before anyone switches."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead.cli.homes import DEFAULT_NAME, NameOption, running_cluster
from fairlead.cli.objects import list_ingress_objects, read_manifests
from fairlead.cli.output import EXIT_NO, Output, answer_json
from fairlead.drivers.errors import FairleadError

if TYPE_CHECKING:
    from fairlead.sim.ingress_objects import IngressObjects
    from fairlead.sim.ingress_report import IngressReport, Remark


def ingress(
    what: Annotated[str, typer.Argument(metavar="report", help="What to show: report.")],
    files: Annotated[
        list[Path] | None,
        typer.Option("-f", "--filename", metavar="PATH", help="Manifests to report on, instead of a cluster."),
    ] = None,
    context: Annotated[
        str, typer.Option("--context", help="A context of your kubeconfig: the cluster you come from.")
    ] = "",
    kubeconfig: Annotated[
        Path | None, typer.Option("--kubeconfig", help="The kubeconfig of --context; default: KUBECONFIG.")
    ] = None,
    output: Annotated[Output, typer.Option("-o", "--output", help="Text or JSON.")] = Output.TEXT,
    name: NameOption = DEFAULT_NAME,
) -> None:
    """List every Ingress with what carries over, what differs and why, and what to do.

    Nothing is changed. Exit 1 when something differs.
    """
    from fairlead.sim.ingress_objects import read_ingress_objects
    from fairlead.sim.ingress_report import Outcome, report_on

    if what != "report":
        raise typer.BadParameter(f"{what!r} is nothing to show; try: fairlead ingress report")
    if files:
        try:
            objects = read_ingress_objects(read_manifests(files))
        except ValueError as error:
            raise FairleadError(f"cannot read the manifests: {error}") from error
    else:
        objects = asyncio.run(_list(*_cluster(context, kubeconfig, name)))
    found = report_on(objects)
    if output is Output.JSON:
        answer_json(found)
    else:
        _print(found)
    if any(each.outcome is Outcome.DIFFERS for each in found.entries):
        raise typer.Exit(EXIT_NO)


def _cluster(context: str, kubeconfig: Path | None, name: str) -> tuple[Path, str]:
    if not context and kubeconfig is None:
        home, _ = running_cluster(name)
        return home.kubeconfig, ""
    file = kubeconfig or Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube/config")
    return file, context


async def _list(kubeconfig: Path, context: str) -> "IngressObjects":
    from fairlead.drivers.kubeapi import HttpTransport, KubeClient

    client = KubeClient(HttpTransport.from_kubeconfig(kubeconfig, context))
    try:
        return await list_ingress_objects(client)
    finally:
        await client.close()


def _print(found: "IngressReport") -> None:
    counts: dict[str, int] = {}
    for entry in found.entries:
        counts[entry.outcome.value] = counts.get(entry.outcome.value, 0) + 1
        print(f"{entry.ingress}: {entry.outcome.value}")
        for path in entry.paths:
            print(f"    {path}")
        if entry.carried:
            print(f"    carried: {', '.join(entry.carried)}")
        for remark in entry.remarks:
            _print_remark(remark)
    if found.settings:
        print("ConfigMap")
        for remark in found.settings:
            _print_remark(remark)
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "no Ingress was found")


def _print_remark(remark: "Remark") -> None:
    print(f"    {'!' if remark.error else '-'} {remark.field or 'the Ingress'}: {remark.message}")
    if remark.remedy:
        print(f"        {remark.remedy}")
