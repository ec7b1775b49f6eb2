"""Objects for the agent's tests: as small as they can be."""

import msgspec

from fairlead.kube.core import Node, Service
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.documents import Document, Json
from fairlead.kube.outlines import PodOutline


def a_node(address: str = "172.18.0.2", name: str = "node-1", cidrs: tuple[str, ...] = ("10.244.1.0/24",)) -> Node:
    status: Document = {"addresses": [{"type": "InternalIP", "address": address}]}
    document: Document = {"metadata": {"name": name}, "spec": {"podCIDRs": list(cidrs)}, "status": status}
    return msgspec.convert(document, Node)


def a_service(name: str, ip: str, node_port: int = 0, created: str = "2026-01-01T00:00:00Z", port: int = 80) -> Service:
    spec: Document = {"clusterIP": ip, "ports": [{"name": "http", "port": port, "nodePort": node_port}]}
    metadata: Document = {"namespace": "shop", "name": name, "creationTimestamp": created}
    return msgspec.convert({"metadata": metadata, "spec": spec}, Service)


def a_pod(
    name: str, *addresses: str, port: int = 8080, host_port: int = 8081, host_ip: str = "", **spec: Json
) -> PodOutline:
    ports: list[Json] = [{"containerPort": port, "hostPort": host_port, "hostIP": host_ip}]
    ips: list[Json] = [{"ip": address} for address in addresses]
    created = "2026-01-01T00:00:00Z"
    document: Document = {
        "metadata": {"namespace": "shop", "name": name, "creationTimestamp": created},
        "spec": {"nodeName": "node-1", "containers": [{"ports": ports}], **spec},
        "status": {"phase": "Running", "podIPs": ips},
    }
    return msgspec.convert(document, PodOutline)


def a_slice(name: str, service: str, *addresses: str) -> EndpointSlice:
    labels: Document = {"kubernetes.io/service-name": service}
    endpoints: list[Json] = [{"addresses": [address]} for address in addresses]
    ports: list[Json] = [{"name": "http", "port": 8080}]
    metadata: Document = {"namespace": "shop", "name": name, "labels": labels}
    family = "IPv6" if ":" in "".join(addresses) else "IPv4"
    document: Document = {"metadata": metadata, "addressType": family, "endpoints": endpoints, "ports": ports}
    return msgspec.convert(document, EndpointSlice)
