"""The columns of Services, Endpoints and EndpointSlices.

Source: printService, printEndpoints and printEndpointSlice of
k8s.io/kubernetes/pkg/printers/internalversion/printers.go.
"""

from fairlead.cluster.apiserver.kinds.columns.plain import AGE, NAME, age_of, name_of
from fairlead.cluster.apiserver.kinds.columns.texts import NONE, UNSET, labels_text, short_list
from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.spec import Column
from fairlead.kube.documents import Document, Json, items_at, mapping_at, number_at, strings_at, text_at

SERVICE = (
    NAME,
    Column("Type", "string", "", "ClusterIP, NodePort, LoadBalancer or ExternalName."),
    Column("Cluster-IP", "string", "", "The virtual address inside the cluster."),
    Column("External-IP", "string", "", "Addresses or names that lead to it from outside."),
    Column("Port(s)", "string", "", "Its ports, each with its node port if it has one."),
    AGE,
    Column("Selector", "string", "", "The labels of the pods behind it.", 1),
)
ENDPOINTS = (NAME, Column("Endpoints", "string", "", "The addresses and ports behind the service."), AGE)
ENDPOINT_SLICE = (
    NAME,
    Column("AddressType", "string", "", "IPv4, IPv6 or FQDN."),
    Column("Ports", "string", "", "The ports of the endpoints."),
    Column("Endpoints", "string", "", "The addresses of the endpoints."),
    AGE,
)


def _load_balancer_texts(service: Document) -> list[str]:
    ingresses = children(mapping_at(service, "status", "loadBalancer"), "ingress")
    texts = [text_at(each, "ip") or text_at(each, "hostname") for each in ingresses]
    return sorted({text for text in texts if text})


def _external(service: Document) -> str:
    extra = [str(each) for each in items_at(service, "spec", "externalIPs")]
    match text_at(service, "spec", "type"):
        case "LoadBalancer":
            return ",".join([*_load_balancer_texts(service), *extra]) or "<pending>"
        case "ExternalName":
            return text_at(service, "spec", "externalName")
        case _:
            return ",".join(extra) or NONE


def _port_text(port: Document) -> str:
    node_port = number_at(port, "nodePort")
    inner = f":{node_port}" if node_port else ""
    return f"{number_at(port, 'port')}{inner}/{text_at(port, 'protocol')}"


def service_row(service: Document, now: float) -> list[Json]:
    """Return the cells of `SERVICE`."""
    ports = children(mapping_at(service, "spec"), "ports")
    return [
        name_of(service),
        text_at(service, "spec", "type"),
        text_at(service, "spec", "clusterIP") or NONE,
        _external(service),
        ",".join(_port_text(port) for port in ports) or NONE,
        age_of(service, now),
        labels_text(strings_at(service, "spec", "selector")),
    ]


def _with_port(address: str, port: Document) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{number_at(port, 'port')}"


def endpoints_row(endpoints: Document, now: float) -> list[Json]:
    """Return the cells of `ENDPOINTS`: ready addresses only."""
    texts: list[str] = []
    for subset in children(endpoints, "subsets"):
        addresses = [text_at(each, "ip") for each in children(subset, "addresses")]
        ports = children(subset, "ports")
        if ports:
            texts += [_with_port(address, port) for port in ports for address in addresses]
        else:
            texts += addresses
    return [name_of(endpoints), short_list(texts), age_of(endpoints, now)]


def endpoint_slice_row(endpoint_slice: Document, now: float) -> list[Json]:
    """Return the cells of `ENDPOINT_SLICE`."""
    numbers = [number_at(port, "port") for port in children(endpoint_slice, "ports")]
    ports = ["*" if number is None else str(number) for number in numbers]
    addresses = [str(text) for each in children(endpoint_slice, "endpoints") for text in items_at(each, "addresses")]
    return [
        name_of(endpoint_slice),
        text_at(endpoint_slice, "addressType"),
        short_list(ports, UNSET),
        short_list(addresses, UNSET),
        age_of(endpoint_slice, now),
    ]
