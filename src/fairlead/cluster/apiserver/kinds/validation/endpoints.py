"""What is wrong with Endpoints or an EndpointSlice.

In: a document with defaults, and for an update its predecessor. Out: FieldErrors. Source:
k8s.io/kubernetes/pkg/apis/discovery/validation/validation.go and ValidateEndpoints of pkg/apis/core/validation.
"""

from collections.abc import Sequence

from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.errors import duplicate, invalid, required, too_many, unsupported
from fairlead.cluster.apiserver.kinds.validation import texts
from fairlead.cluster.apiserver.kinds.validation.fields import Found, immutable, judged, port_number, protocol
from fairlead.kube.documents import Document, items_at, mapping_at, text_at
from fairlead.net import Family

ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
MAX_ENDPOINTS = 1000
MAX_ADDRESSES = 100
MAX_PORTS = 20000
MAX_HINTS = 8


def endpoint_slice_rules(endpoint_slice: Document) -> Found:
    """Judge an endpoint slice."""
    kind = text_at(endpoint_slice, "addressType")
    if not kind:
        yield required("addressType")
    elif kind not in ADDRESS_TYPES:
        yield unsupported("addressType", kind, ADDRESS_TYPES)
    endpoints = children(endpoint_slice, "endpoints")
    if len(endpoints) > MAX_ENDPOINTS:
        yield too_many("endpoints", len(endpoints), MAX_ENDPOINTS)
    else:
        for index, endpoint in enumerate(endpoints):
            yield from _endpoint(f"endpoints[{index}]", endpoint, kind)
    yield from _slice_ports(children(endpoint_slice, "ports"))


def _endpoint(path: str, endpoint: Document, kind: str) -> Found:
    addresses = items_at(endpoint, "addresses")
    if not addresses:
        yield required(f"{path}.addresses", "must contain at least 1 address")
    elif len(addresses) > MAX_ADDRESSES:
        yield too_many(f"{path}.addresses", len(addresses), MAX_ADDRESSES)
    for index, address in enumerate(addresses):
        yield from _slice_address(f"{path}.addresses[{index}]", f"{path}.addresses", str(address), kind)
    for field in ("forZones", "forNodes"):
        hints = children(mapping_at(endpoint, "hints"), field)
        if len(hints) > MAX_HINTS:
            yield too_many(f"{path}.hints.{field}", len(hints), MAX_HINTS)
    if host := text_at(endpoint, "hostname"):
        yield from judged(f"{path}.hostname", host, texts.dns_label)


def _slice_address(path: str, whole: str, address: str, kind: str) -> Found:
    if kind == "FQDN":
        yield from judged(path, address, texts.dns_subdomain)
        return
    for family, article in ((Family.IPV4, "an IPv4"), (Family.IPV6, "an IPv6")):
        if kind == family.value:
            wrong = list(judged(path, address, texts.ip_address))
            if wrong:
                yield from wrong
            elif not texts.of_family(address, family):
                yield invalid(whole, address, f"must be {article} address")
            else:
                yield from judged(path, address, texts.special_address)


def _slice_ports(ports: Sequence[Document]) -> Found:
    if len(ports) > MAX_PORTS:
        yield too_many("ports", len(ports), MAX_PORTS)
        return
    names: set[str] = set()
    for index, port in enumerate(ports):
        name = text_at(port, "name")
        if name:
            yield from judged(f"ports[{index}].name", name, texts.dns_label)
        if name in names:
            yield duplicate(f"ports[{index}].name", name)
        names.add(name)
        if (value := text_at(port, "protocol")) not in ("TCP", "UDP", "SCTP"):
            yield from protocol(f"ports[{index}].protocol", value)


def endpoint_slice_update_rules(new: Document, old: Document) -> Found:
    """Refuse another type of addresses."""
    yield from immutable("addressType", text_at(new, "addressType"), text_at(old, "addressType"))


def endpoints_rules(endpoints: Document) -> Found:
    """Judge Endpoints."""
    for index, subset in enumerate(children(endpoints, "subsets")):
        path = f"subsets[{index}]"
        if not items_at(subset, "addresses") and not items_at(subset, "notReadyAddresses"):
            yield required(path, "must specify `addresses` or `notReadyAddresses`")
        for field in ("addresses", "notReadyAddresses"):
            for number, address in enumerate(children(subset, field)):
                spot, text = f"{path}.{field}[{number}].ip", text_at(address, "ip")
                wrong = texts.ip_address(text)
                for sentence in wrong or texts.special_address(text):
                    yield invalid(spot, text, sentence)
        ports = children(subset, "ports")
        for number, port in enumerate(ports):
            spot = f"{path}.ports[{number}]"
            if name := text_at(port, "name"):
                yield from judged(f"{spot}.name", name, texts.dns_label)
            elif len(ports) > 1:
                yield required(f"{spot}.name")
            yield from port_number(f"{spot}.port", port.get("port", 0))
            yield from protocol(f"{spot}.protocol", text_at(port, "protocol"))
