"""The engine as a transport for clients in the same process.

In: requests of a `KubeClient`. Out: what the engine answers, with no socket and no TLS between. The same code runs
over HTTPS.
"""

from collections.abc import AsyncGenerator

from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.users import ADMIN, User
from fairlead.cluster.apiserver.watch import WatchStream
from fairlead.drivers.kubeapi.client import error_of
from fairlead.drivers.kubeapi.transport import ApiError, ApiRequest, ApiResponse


class InProcessTransport:
    """A `Transport` to an engine of this event loop, on behalf of one user."""

    def __init__(self, server: ApiServer, user: User = ADMIN) -> None:
        self._server = server
        self._user = user

    async def send(self, request: ApiRequest) -> ApiResponse:
        """Return the answer, whatever its status."""
        answer = await self._server.handle(request, self._user)
        if isinstance(answer, WatchStream):
            answer.close()
            raise ApiError(0, "BadRequest", f"{request.path} with watch must be streamed")
        return answer

    async def stream(self, request: ApiRequest) -> AsyncGenerator[bytes, None]:
        """Yield the lines of a watch until it ends; raise ApiError where it is refused."""
        answer = await self._server.handle(request, self._user)
        if isinstance(answer, ApiResponse):
            if answer.status >= 400:
                raise error_of(answer.status, answer.body)
            for line in answer.body.splitlines():
                yield line
            return
        try:
            while (ready := await answer.next()) is not None:
                for line in ready.splitlines():
                    yield line
        finally:
            answer.close()

    async def close(self) -> None:
        """Hold nothing."""
