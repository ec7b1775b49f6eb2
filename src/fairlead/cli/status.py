"""`fairlead status`: which clusters run, and what is in one."""

import asyncio
import os
from typing import Annotated

import typer
from msgspec import Struct

from fairlead.cli.homes import DEFAULT_NAME, NameOption, home_named
from fairlead.cli.output import EXIT_NO, Output, answer_json
from fairlead.cluster.home import known_clusters


class ClusterLine(Struct, frozen=True):
    """One cluster of this user."""

    name: str
    up: bool
    nodes: int
    api: str


def status(
    name: NameOption = DEFAULT_NAME,
    everything: Annotated[bool, typer.Option("--all", help="A line for every cluster of this user.")] = False,
    load_balancers: Annotated[
        bool, typer.Option("--load-balancers", help="Addresses of load balancers: who announces them, what is wrong.")
    ] = False,
    output: Annotated[Output, typer.Option("-o", "--output", help="Text or JSON.")] = Output.TEXT,
) -> None:
    """Show a cluster's nodes and services and how to reach them. Exit 1 when it is not up."""
    if everything:
        _list(output)
        return
    home = home_named(name)
    record = home.running()
    if record is None:
        if output is Output.JSON:
            answer_json(ClusterLine(name, up=False, nodes=0, api=""))
        else:
            print(f"cluster {name} is not up; start it with `fairlead up`")
        raise typer.Exit(EXIT_NO)
    if load_balancers:
        from fairlead.cli.loadbalancers import load_balancers_text, look_at_load_balancers

        found = asyncio.run(look_at_load_balancers(home))
        if output is Output.JSON:
            answer_json(found)
        else:
            print(load_balancers_text(found))
        return
    from fairlead.cli.rollout import bring_up, summary_text

    rollout = asyncio.run(
        bring_up(home, record, (), timeout=0.5, tell=lambda _: None, started=_monotonic_of(record.started))
    )
    if output is Output.JSON:
        answer_json(rollout)
    else:
        print(summary_text(rollout))


def _monotonic_of(epoch: float) -> float:
    """The monotonic time at which the wall clock showed `epoch`."""
    import time

    return time.monotonic() - (time.time() - epoch)


def _list(output: Output) -> None:
    lines: list[ClusterLine] = []
    for home in known_clusters(os.environ):
        record = home.running()
        if record is None:
            lines.append(ClusterLine(home.name, up=False, nodes=0, api=""))
        else:
            lines.append(
                ClusterLine(home.name, up=True, nodes=record.nodes, api=f"https://127.0.0.1:{record.api_port}")
            )
    if output is Output.JSON:
        answer_json(lines)
    else:
        for line in lines:
            print(f"{line.name:<20} {'up' if line.up else 'down':<5} {line.nodes or '-':<3} {line.api}".rstrip())
