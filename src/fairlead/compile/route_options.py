"""What the operator decides about an ingress controller at its start: flags, as values."""

from msgspec import Struct

COMMUNITY_CONTROLLER = "k8s.io/ingress-nginx"
F5_CONTROLLER = "nginx.org/ingress-controller"
Key = tuple[str, str]


class IngressOptions(Struct, frozen=True, kw_only=True):
    """Which Ingresses are ours, and where defaults come from. Names are `(namespace, name)`.

    `controllers` are the `spec.controller` of classes that we serve; `class_annotation` is the value of the old
    annotation; `without_class` takes Ingresses that name no class at all.
    """

    controllers: frozenset[str] = frozenset({COMMUNITY_CONTROLLER, F5_CONTROLLER})
    class_annotation: str = "nginx"
    class_by_name: str = "nginx"
    without_class: bool = False
    prefix: str = "nginx.ingress.kubernetes.io"
    f5_prefix: str = "nginx.org"
    default_service: Key | None = None
    default_certificate: Key | None = None
    tcp_services: Key | None = None
    udp_services: Key | None = None
    disable_catch_all: bool = False
    external_names: bool = True
    namespace: str = ""
    """Only Ingresses of this namespace; empty is all."""
