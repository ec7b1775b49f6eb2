"""Where a proxied request goes: in come the name in a URL and the API's objects, out go a scheme, a host and a port.

Refuses to know HTTP. Texts and choices are upstream's: pkg/registry/core/service/storage/storage.go (ResourceLocation),
pkg/registry/core/pod/strategy.go and pkg/registry/core/node/strategy.go.
"""

from collections.abc import Callable
from ipaddress import ip_address

from msgspec import Struct

from fairlead.cluster.apiserver.statuses import StatusError, bad_request
from fairlead.kube.documents import Document, Json, items_at, number_at, text_at

Get = Callable[[str, str, str], Document | None]
"""Reads an object by plural resource, namespace and name."""
Choose = Callable[[int], int]
"""Returns a whole number from 0 up to, not including, its argument: where to begin among equals."""


class Destination(Struct, frozen=True):
    """Whom to dial; `scheme` is `http` or `https`."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Host and port as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def unavailable(message: str) -> StatusError:
    """Say that there is nobody to pass the request to."""
    return StatusError(503, "ServiceUnavailable", message)


def split_name(text: str, kind: str) -> tuple[str, str, str]:
    """Split `[scheme:]name[:port]` into scheme, name and port. Raises a bad request for anything else.

    Two parts are a name and a port: a scheme without a port is written `https:name:`.
    """
    parts = text.split(":")
    if len(parts) < 3:
        parts = ["", *parts, ""][:3]
    if len(parts) != 3 or not parts[1] or parts[0] not in ("", "http", "https"):
        raise bad_request(f'invalid {kind} request "{text}"')
    return parts[0], parts[1], parts[2]


def find_destination(resource: str, namespace: str, text: str, get: Get, choose: Choose) -> Destination:
    """Resolve the name in `services/TEXT/proxy`, `pods/TEXT/proxy` or `nodes/TEXT/proxy`. Raises StatusError."""
    find = {"services": _service, "pods": _pod, "nodes": _node}[resource]
    return find(namespace, text, get, choose)


def _existing(resource: str, namespace: str, name: str, get: Get) -> Document:
    found = get(resource, namespace, name)
    if found is None:
        raise StatusError(404, "NotFound", f'{resource} "{name}" not found', {"name": name, "kind": resource})
    return found


def _service(namespace: str, text: str, get: Get, choose: Choose) -> Destination:
    scheme, name, port = split_name(text, "service")
    if port.isdecimal():
        ports = items_at(_existing("services", namespace, name, get), "spec", "ports")
        named = [text_at(each, "name") for each in ports if number_at(each, "port") == int(port)]
        if not named:
            raise unavailable(f'no service port {int(port)} found for service "{name}"')
        port = named[0]
    subsets = items_at(_existing("endpoints", namespace, name, get), "subsets")
    if not subsets:
        raise unavailable(f'no endpoints available for service "{name}"')
    for subset in _rotated(subsets, choose):
        addresses = items_at(subset, "addresses")
        for number in [number_at(each, "port") for each in items_at(subset, "ports") if text_at(each, "name") == port]:
            for address in _rotated(addresses, choose):
                if number and _is_pod(address, namespace, get):
                    return Destination(scheme or "http", text_at(address, "ip"), number)
    raise unavailable(f'no endpoints available for service "{text}"')


def _rotated(items: list[Json], choose: Choose) -> list[Json]:
    first = choose(len(items)) if items else 0
    return items[first:] + items[:first]


def _is_pod(address: Json, namespace: str, get: Get) -> bool:
    """Only addresses that a pod of the namespace has are dialled: Endpoints can be written by hand."""
    if text_at(address, "targetRef", "kind") != "Pod" or text_at(address, "targetRef", "namespace") != namespace:
        return False
    pod = get("pods", namespace, text_at(address, "targetRef", "name"))
    return pod is not None and text_at(address, "ip") in _pod_addresses(pod)


def _pod_addresses(pod: Document) -> list[str]:
    several = [text_at(each, "ip") for each in items_at(pod, "status", "podIPs")]
    return several or [text_at(pod, "status", "podIP")]


def _pod(namespace: str, text: str, get: Get, choose: Choose) -> Destination:
    del choose
    scheme, name, port = split_name(text, "pod")
    pod = _existing("pods", namespace, name, get)
    declared = [each for container in items_at(pod, "spec", "containers") for each in items_at(container, "ports")]
    if not port:
        number = number_at(declared[0], "containerPort") if declared else 80
    elif port.isdecimal():
        number = int(port)
    else:
        number = next((number_at(each, "containerPort") for each in declared if text_at(each, "name") == port), 0)
        if not number:
            raise bad_request(f'pod "{name}" has no port named "{port}"')
    host = _pod_addresses(pod)[0]
    if not _is_global_unicast(host):
        raise bad_request("address not allowed")
    return Destination(scheme or "http", host, number or 80)


def _node(namespace: str, text: str, get: Get, choose: Choose) -> Destination:
    del namespace, choose
    scheme, name, port = split_name(text, "node")
    addresses = items_at(_existing("nodes", "", name, get), "status", "addresses")
    host = next((text_at(each, "address") for each in addresses if text_at(each, "type") == "InternalIP"), "")
    if not _is_global_unicast(host):
        raise bad_request("address not allowed")
    if port in ("", "10250"):
        return Destination("https", host, 10250)
    if not port.isdecimal():
        raise bad_request(f'invalid node request "{text}"')
    return Destination(scheme or "http", host, int(port))


def _is_global_unicast(text: str) -> bool:
    """As Go's net.IP.IsGlobalUnicast: private addresses count."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not (
        address.is_unspecified
        or address.is_loopback
        or address.is_multicast
        or address.is_link_local
        or text == "255.255.255.255"
    )
