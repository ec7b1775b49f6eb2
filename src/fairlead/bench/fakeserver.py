"""An API server that serves one world from bytes made beforehand: Services, EndpointSlices and one Node.

Comes in: numbers of services and endpoints. Goes out: lists, and watches that carry what `tell` is given. It speaks as
much HTTP as a reflector needs and keeps nothing; the objects have the fields and the bulk of real ones.
"""

import asyncio
import socket

import msgspec

from fairlead.kube.documents import Document, Json

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class FakeServer:
    """Serves `services` services of `endpoints` endpoints each, one slice a service."""

    def __init__(self, services: int, endpoints: int) -> None:
        self._services, self._endpoints = services, endpoints
        self._version = 1_000_000
        slices = (self._slice(number, 0) for number in range(services))
        self._lists = {
            "services": _listed("v1", "ServiceList", [_service(number) for number in range(services)]),
            "endpointslices": _listed("discovery.k8s.io/v1", "EndpointSliceList", list(slices)),
            "nodes": _listed("v1", "NodeList", [_node()]),
        }
        self._watches: list[asyncio.StreamWriter] = []
        self.watched = asyncio.Event()

    def replaced_endpoint(self, number: int) -> bytes:
        """A watch event in which the first endpoint of a service has got another address, as when a pod is replaced."""
        self._version += 1
        event = {"type": "MODIFIED", "object": self._slice(number % self._services, number // self._services + 1)}
        return msgspec.json.encode(event) + b"\n"

    def tell(self, event: bytes) -> None:
        """Write an event to every watch of EndpointSlices."""
        for watch in self._watches:
            watch.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; a watch holds it until the client goes."""
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as Go's servers do
        while head := await _head_of(reader):
            target = head.split(" ", 2)[1]
            path, _, query = target.partition("?")
            kind = path.rsplit("/", 1)[-1]
            if "watch=true" in query:
                writer.write(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
                if kind == "endpointslices":
                    self._watches.append(writer)
                    self.watched.set()
            else:
                body = self._lists.get(kind) or _listed("v1", "List", [])
                writer.write(_HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()

    def _slice(self, number: int, round_: int) -> Document:
        endpoints: list[Json] = [
            _endpoint(number * self._endpoints + index, number, round_ if index == 0 else 0)
            for index in range(self._endpoints)
        ]
        owner: Document = {
            "apiVersion": "v1",
            "kind": "Service",
            "name": f"svc-{number}",
            "uid": _uid(number),
            "controller": True,
            "blockOwnerDeletion": True,
        }
        return {
            "metadata": {
                "name": f"svc-{number}-x7k2p",
                "generateName": f"svc-{number}-",
                "namespace": f"ns-{number % 100}",
                "uid": _uid(number + 1_000_000),
                "resourceVersion": str(self._version),
                "generation": round_ + 1,
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                    "kubernetes.io/service-name": f"svc-{number}",
                },
                "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z"},
                "ownerReferences": [owner],
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        }


async def _head_of(reader: asyncio.StreamReader) -> str:
    try:
        return (await reader.readuntil(b"\r\n\r\n")).decode()
    except (asyncio.IncompleteReadError, ConnectionError):
        return ""


def _listed(version: str, kind: str, items: list[Document]) -> bytes:
    return msgspec.json.encode(
        {"apiVersion": version, "kind": kind, "metadata": {"resourceVersion": "1000000"}, "items": items}
    )


def _uid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


def _dotted(number: int) -> str:
    return ".".join(str(byte) for byte in number.to_bytes(4, "big"))


def _endpoint(number: int, service: int, round_: int) -> Json:
    address = _dotted((10 << 24 | 128 << 16) + number + round_ * 2_000_000)
    return {
        "addresses": [address],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": f"node-{number % 50}",
        "targetRef": {
            "kind": "Pod",
            "name": f"svc-{service}-6d4cf56db6-{number:05x}",
            "namespace": f"ns-{service % 100}",
            "uid": _uid(number + 2_000_000),
        },
    }


def _service(number: int) -> Document:
    ip = _dotted((10 << 24 | 96 << 16) + number + 256)
    return {
        "metadata": {
            "name": f"svc-{number}",
            "namespace": f"ns-{number % 100}",
            "uid": _uid(number),
            "resourceVersion": "999999",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app.kubernetes.io/name": f"svc-{number}"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": ip,
            "clusterIPs": [ip],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
            "sessionAffinity": "None",
            "selector": {"app.kubernetes.io/name": f"svc-{number}"},
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}],
        },
        "status": {"loadBalancer": {}},
    }


def _node() -> Document:
    return {
        "metadata": {"name": "node-1", "resourceVersion": "1"},
        "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.2"}]},
    }
