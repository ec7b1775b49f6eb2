"""A transport that asks for the metadata of objects only: what they hold never leaves the API server.

Source: API conventions, PartialObjectMetadata.
"""

from collections.abc import AsyncGenerator

from msgspec.structs import replace

from fairlead.drivers.kubeapi.transport import ApiRequest, ApiResponse, Transport

_FORM = "application/json;as={};g=meta.k8s.io;v=v1"


class MetadataTransport:
    """Reads through `transport`; objects come as views with nothing but their metadata."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def send(self, request: ApiRequest) -> ApiResponse:
        """Return the answer of a list."""
        return await self._transport.send(_asked(request, "PartialObjectMetadataList"))

    def stream(self, request: ApiRequest) -> AsyncGenerator[bytes, None]:
        """Yield the events of a watch."""
        return self._transport.stream(_asked(request, "PartialObjectMetadata"))

    async def close(self) -> None:
        """Leave the transport to its owner."""


def _asked(request: ApiRequest, form: str) -> ApiRequest:
    return replace(request, headers={**request.headers, "Accept": _FORM.format(form)})
