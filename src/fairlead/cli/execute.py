"""`fairlead exec`: run a program where the traffic is: at the client, the load balancer, a node or a pod."""

from typing import Annotated

import typer

from fairlead.cli.homes import DEFAULT_NAME, NameOption, running_cluster


def execute(
    command: Annotated[list[str], typer.Argument(metavar="-- CMD...", help="The program and its arguments.")],
    place: Annotated[str, typer.Option("--from", metavar="PLACE", help="client, lb, node/NAME or pod/NAMESPACE/NAME.")],
    name: NameOption = DEFAULT_NAME,
) -> None:
    """Run a program at a place of the cluster, with this terminal; leave with the program's exit code."""
    from fairlead.cluster.places import enter

    home, _ = running_cluster(name)
    raise typer.Exit(enter(home.sockets / "places", place, command))
