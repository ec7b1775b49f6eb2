"""The channels of an exec or attach session, whatever carries them: a WebSocket or SPDY.

Comes in: nothing. Goes out: the numbers of channels, what a carrier must offer, and how a session's end is told.
Source: apimachinery/pkg/util/remotecommand/constants.go, cri-streaming/pkg/streaming/remotecommand.
"""

from enum import IntEnum
from typing import Protocol

from fairlead.kube.documents import Document


class Channel(IntEnum):
    """Channels by the numbers that WebSocket messages begin with."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    RESIZE = 4


class Received(Exception):  # noqa: N818 - not a failure: how a loop over messages ends
    """The client has gone, or has ended the session."""


class Carrier(Protocol):
    """One client's session."""

    async def receive(self) -> tuple[Channel, bytes | None]:
        """Return the next piece the client sent, or None for the end of that channel. Raises Received at the end."""
        ...

    async def send(self, channel: Channel, data: bytes) -> None:
        """Send a piece. Raises ConnectionError once the client has gone."""
        ...

    async def finish(self, status: Document) -> None:
        """Tell how the command ended, and end the session."""
        ...


def success() -> Document:
    """The command ended with 0."""
    return {"metadata": {}, "status": "Success"}


def exited(code: int) -> Document:
    """The command ended with another exit code."""
    causes: list[Document] = [{"reason": "ExitCode", "message": str(code)}]
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [*causes]},
    }


def failed(message: str) -> Document:
    """The command could not be run at all."""
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {message}",
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    }
