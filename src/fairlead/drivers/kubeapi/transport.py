"""Requests to an API server and answers from it, as values, and what can carry them.

Comes in: method, path, query, body. Goes out: status, headers, body, or a stream of lines. Knows nothing of objects.
"""

from collections.abc import AsyncGenerator
from typing import Protocol

from msgspec import Struct

from fairlead.drivers.errors import FairleadError
from fairlead.kube.documents import Document


class ApiRequest(Struct, frozen=True):
    """One request; `path` is percent-encoded, `query` is not."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = {}
    body: bytes = b""


class ApiResponse(Struct, frozen=True):
    """One answer, whole."""

    status: int
    headers: dict[str, str] = {}
    body: bytes = b""


class ApiError(FairleadError):
    """The API server said no. Classify by `status` and `reason` (metav1.StatusReason), never by the message.

    Status 0 with reason Unreachable means that no answer came.
    """

    def __init__(self, status: int, reason: str, message: str, details: Document | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.details: Document = details or {}


class Transport(Protocol):
    """What carries requests: HTTPS, or a call in the same process."""

    async def send(self, request: ApiRequest) -> ApiResponse:
        """Return the answer, whatever its status. Raises ApiError with status 0 when none came."""
        ...

    def stream(self, request: ApiRequest) -> AsyncGenerator[bytes, None]:
        """Yield the answer's lines until the server ends it. Raises ApiError on a status of 400 or more."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
