"""A client of Kubernetes API servers: list, watch and write objects. Knows nothing of what they mean."""

from fairlead.drivers.errors import FairleadError
from fairlead.drivers.kubeapi.client import KubeClient, Listed, PatchType, error_of
from fairlead.drivers.kubeapi.http import HttpTransport
from fairlead.drivers.kubeapi.outlines import MetadataTransport
from fairlead.drivers.kubeapi.reflector import Applied, Change, Deleted, Replaced
from fairlead.drivers.kubeapi.transport import ApiError, ApiRequest, ApiResponse, Transport

__all__ = [
    "ApiError",
    "ApiRequest",
    "ApiResponse",
    "Applied",
    "Change",
    "Deleted",
    "FairleadError",
    "HttpTransport",
    "KubeClient",
    "Listed",
    "MetadataTransport",
    "PatchType",
    "Replaced",
    "Transport",
    "error_of",
]
