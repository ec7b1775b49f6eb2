"""The command `fairlead`: its verbs, and what its exit codes mean.

0 yes or done, 1 the answer is no, 2 usage, 3 the world refused.
"""

import sys
from typing import NoReturn

import typer

from fairlead.cli import agent, down, execute, kubeconfig, status, trace, up
from fairlead.cli.output import EXIT_REFUSED, complain
from fairlead.drivers.errors import FairleadError

app = typer.Typer(
    name="fairlead",
    help="The whole Kubernetes traffic path on one Linux machine: real packets, real nftables, no container engine.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.up)
app.command("down")(down.down)
app.command("status")(status.status)
app.command("kubeconfig")(kubeconfig.kubeconfig)
app.command("exec", context_settings={"ignore_unknown_options": False})(execute.execute)
app.command("trace")(trace.trace)
app.command("agent")(agent.agent)


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    try:
        app(standalone_mode=True, prog_name="fairlead")
    except FairleadError as error:
        complain(error.message, error.remedy)
        sys.exit(EXIT_REFUSED)
    except KeyboardInterrupt:
        sys.exit(0)
    sys.exit(0)
