"""EndpointSlice: what is behind a service, in pieces. Source: discovery/v1 types.go."""

from fairlead.kube.base import Wire
from fairlead.kube.meta import KubeObject, ObjectReference

SERVICE_NAME_LABEL = "kubernetes.io/service-name"


class EndpointConditions(Wire, frozen=True, gc=False):
    """Absent means: ready yes, serving as ready, terminating no."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForName(Wire, frozen=True):
    """A zone or node an endpoint is meant for."""

    name: str = ""


class EndpointHints(Wire, frozen=True):
    """From where an endpoint should be used."""

    for_zones: tuple[ForName, ...] = ()
    for_nodes: tuple[ForName, ...] = ()


class Endpoint(Wire, frozen=True):
    """One backend; all `addresses` are the same endpoint, and only the first is used."""

    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    hostname: str | None = None
    target_ref: ObjectReference | None = None
    node_name: str | None = None
    zone: str | None = None
    hints: EndpointHints | None = None


class SlicePort(Wire, frozen=True, gc=False):
    """A port all endpoints of the slice have (EndpointPort of discovery/v1)."""

    name: str | None = None
    protocol: str | None = None
    port: int | None = None
    app_protocol: str | None = None


class EndpointSlice(KubeObject, frozen=True):
    """Up to a thousand endpoints of one service and one address type: IPv4, IPv6 or FQDN."""

    address_type: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[SlicePort, ...] = ()


class EndpointOutline(Wire, frozen=True, gc=False):
    """What a service proxy needs of an endpoint."""

    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    node_name: str | None = None
    hints: EndpointHints | None = None


class EndpointSliceOutline(KubeObject, frozen=True):
    """An EndpointSlice read without what a service proxy does not need: a million endpoints must fit."""

    address_type: str = ""
    endpoints: tuple[EndpointOutline, ...] = ()
    ports: tuple[SlicePort, ...] = ()
