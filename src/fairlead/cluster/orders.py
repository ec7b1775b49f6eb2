"""What the API server asks of the kubelet for an exec or attach session, and the answer: one JSON line each.

With an order come three descriptors (SCM_RIGHTS, unix(7)): stdin, stdout and stderr of what is run.
"""

from msgspec import Struct


class Order(Struct, frozen=True):
    """A command in a container; an empty one follows what the container writes (attach).

    With `typing` the client has something to say; a stand-in, which reads nothing, then runs what the container would.
    """

    namespace: str
    pod: str
    container: str
    command: tuple[str, ...]
    tty: bool
    typing: bool = False


class Outcome(Struct, frozen=True, omit_defaults=True):
    """The exit code, or why nothing was run."""

    code: int = 0
    refused: str = ""
