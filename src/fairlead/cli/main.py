"""The command `fairlead`: its verbs, and what its exit codes mean.

0 yes or done, 1 the answer is no, 2 usage, 3 the world refused. Only the module of the verb that was asked for is
imported, since every millisecond of a command is waited for.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import typer

from fairlead.cli.output import EXIT_REFUSED, complain
from fairlead.drivers.errors import FairleadError

_ABOUT = "The whole Kubernetes traffic path on one Linux machine: real packets, real nftables, no container engine."
VERBS = {
    "up": "up",
    "down": "down",
    "status": "status",
    "kubeconfig": "kubeconfig",
    "exec": "execute",
    "trace": "trace",
    "reach": "reach",
    "lint": "lint",
    "ingress": "ingress",
    "autoscaling": "autoscaling",
    "agent": "agent",
}
"""Each verb, and the name of its module and of the function in it."""
AGENTS = {"loadbalancer": "agent_loadbalancer", "ingress": "agent_ingress"}
"""The agents that have options of their own: those of `fairlead agent NAME`."""


def command_line(words: Sequence[str]) -> typer.Typer:
    """The application for these arguments: with the one verb that they begin with, or with all."""
    app = typer.Typer(
        name="fairlead",
        help=_ABOUT,
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_nothing_more)
    wanted = words[:1] if words and words[0] in VERBS else tuple(VERBS)
    for verb in wanted:
        name = AGENTS.get("".join(words[1:2]), VERBS[verb]) if verb == "agent" else VERBS[verb]
        app.command(verb)(getattr(import_module(f"fairlead.cli.{name}"), name))
    return app


def _nothing_more() -> None:
    """Takes no options of its own; with it, typer keeps the verb a verb where there is only one."""


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    try:
        command_line(sys.argv[1:])(standalone_mode=True, prog_name="fairlead")
    except FairleadError as error:
        complain(error.message, error.remedy)
        sys.exit(EXIT_REFUSED)
    except KeyboardInterrupt:
        sys.exit(0)
    sys.exit(0)
