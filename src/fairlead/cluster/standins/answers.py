"""What a stand-in says: who it is and what it was asked, as JSON inside HTTP/1.1 or in a datagram.

Comes in: an identity, the client's address and a request. Goes out: bytes. Knows no sockets.
"""

from http import HTTPStatus

from msgspec import Struct
from msgspec.json import encode

from fairlead.cluster.standins.http1 import Request

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: fairlead-standin\r\nContent-Length: "
_END, _END_CLOSING = b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"
_REASONS = {status.value: status.phrase for status in HTTPStatus}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Identity(Struct, frozen=True, kw_only=True):
    """Whom a stand-in stands in for; `pod_ips` has the pod's address of each family, the first one first."""

    pod: str
    namespace: str
    node: str
    pod_ips: tuple[str, ...]
    container: str


def opening(identity: Identity, port: int) -> bytes:
    """The part of every answer that stays the same for one port."""
    first = {
        "pod": identity.pod,
        "namespace": identity.namespace,
        "node": identity.node,
        "pod_ip": identity.pod_ips[0] if identity.pod_ips else "",
        "port": port,
    }
    return encode(first)[:-1]


def answer(opened: bytes, client: tuple[str, int], request: Request, *, close: bool) -> bytes:
    """The whole response to `request`; to HEAD the same without its body."""
    rest = {
        "client_address": client[0],
        "client_port": client[1],
        "method": request.method,
        "path": request.target,
        "host": request.lower.get("host", ""),
        "headers": request.headers,
    }
    body = b"%b,%b\n" % (opened, encode(rest)[1:])
    head = b"%b%d%b" % (_HEAD, len(body), _END_CLOSING if close else _END)
    return head if request.method == "HEAD" else head + body


def failure(opened: bytes, request: Request, status: int, *, close: bool) -> bytes:
    """The response to a request that fails because its pod was asked to fail."""
    body = b"%b,%b\n" % (opened, encode({"error": "as its error-rate asks"})[1:])
    reason = _REASONS.get(status, "Error")
    told = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nServer: fairlead-standin\r\n"
    head = f"{told}Content-Length: {len(body)}".encode() + (_END_CLOSING if close else _END)
    return head if request.method == "HEAD" else head + body


def refusal(status: int, reason: str) -> bytes:
    """The response to what is no request; the connection closes after it."""
    body = f"{reason}\n".encode()
    return b"HTTP/1.1 %d %b\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
        status,
        reason.encode(),
        len(body),
        body,
    )


def datagram(opened: bytes, client: tuple[str, int], payload: bytes) -> bytes:
    """The reply to a datagram: one JSON line, with what was sent under `payload`, cut so that it fits into a packet."""
    text = payload[:1024].decode("utf-8", "replace")
    rest = {"client_address": client[0], "client_port": client[1], "payload": text}
    return b"%b,%b\n" % (opened, encode(rest)[1:])
