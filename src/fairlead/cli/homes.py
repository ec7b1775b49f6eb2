"""The options every verb shares: which cluster is meant."""

import os
from typing import Annotated

import typer

from fairlead.cluster.home import ClusterHome, ClusterRecord, cluster_home
from fairlead.drivers.errors import FairleadError

DEFAULT_NAME = "fairlead"

NameOption = Annotated[str, typer.Option("--name", help="The cluster's name; several may run side by side.")]


def home_named(name: str) -> ClusterHome:
    """The home of the cluster `name`; a bad name is a usage error."""
    try:
        return cluster_home(name, os.environ)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--name") from None


def running_cluster(name: str) -> tuple[ClusterHome, ClusterRecord]:
    """Home and record of the cluster `name`. Raises FairleadError when it is not up."""
    home = home_named(name)
    record = home.running()
    if record is None:
        option = "" if name == DEFAULT_NAME else f" --name {name}"
        raise FairleadError(f"no cluster named {name!r} is up", f"start one with `fairlead up{option}`")
    return home, record
