"""`fairlead down`: end clusters and remove what they kept."""

import os
from typing import Annotated

import typer

from fairlead.cli.homes import DEFAULT_NAME, NameOption, home_named
from fairlead.cli.output import EXIT_NO, complain
from fairlead.cluster.home import known_clusters
from fairlead.cluster.stop import end_cluster


def down(
    name: NameOption = DEFAULT_NAME,
    everything: Annotated[bool, typer.Option("--all", help="End every cluster of this user.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the objects for the next `up` of that name.")] = False,
) -> None:
    """End a cluster. Its objects are removed unless --keep is given."""
    homes = known_clusters(os.environ) if everything else [home_named(name)]
    ended = 0
    for home in homes:
        was_up = end_cluster(home)
        had_data = home.path.exists()
        if not keep:
            home.remove()
        if was_up or (had_data and not keep):
            print(f"cluster {home.name} is down" if was_up else f"removed what cluster {home.name} had left")
            ended += 1
    if not ended and not everything:
        complain(f"no cluster named {name!r} is up")
        raise typer.Exit(EXIT_NO)
