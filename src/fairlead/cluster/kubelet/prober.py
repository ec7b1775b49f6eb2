"""Looks at containers: connects from the node's namespace as the probe says, and reports what it found.

Comes in: a probe, the pod's addresses, the node's namespace. Goes out: an outcome and the words for the event.
Refuses to know thresholds. Plain sockets and a request by hand, so that a thousand probes a second are nothing.
Source: pkg/probe/http, pkg/probe/tcp.
"""

import asyncio
import os
import socket
import ssl
import struct
from functools import cache
from urllib.parse import urlsplit

from fairlead.cluster.kubelet.probes import Outcome
from fairlead.cluster.kubelet.targets import port_of, request_bytes
from fairlead.cluster.standins.health import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    SETTINGS,
    h2_frame,
    literal,
    take_frame,
)
from fairlead.drivers.netns import open_socket
from fairlead.kube.containers import Container, GRPCAction, HTTPGetAction, TCPSocketAction

_MOST_BODY = 10 * 1024
_LINGER = struct.pack("ii", 1, 1)

Found = tuple[Outcome, str]


@cache
def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def _connect(netns: int, host: str, port: int, *, tls: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = open_socket(netns, family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
        return await asyncio.open_connection(
            sock=sock, limit=_MOST_BODY * 2, ssl=_unverified() if tls else None, server_hostname="" if tls else None
        )
    except BaseException:
        sock.close()
        raise


async def look(
    action: HTTPGetAction | TCPSocketAction | GRPCAction, container: Container, netns: int, pod: str, timeout: float
) -> Found:
    """Carry out one probe against the pod's address. Never raises for what the network does."""
    number = port_of(action.port, container)
    if number is None:
        return Outcome.UNKNOWN, f'couldn\'t find port "{action.port}" in container {container.name}'
    host = pod if isinstance(action, GRPCAction) else action.host or pod
    try:
        async with asyncio.timeout(timeout):
            if isinstance(action, HTTPGetAction):
                return await _http(action, netns, host, number)
            if isinstance(action, GRPCAction):
                return await _grpc(action, netns, host, number)
            _, writer = await _connect(netns, host, number, tls=False)
            writer.close()
            return Outcome.SUCCESS, ""
    except TimeoutError:
        return Outcome.FAILURE, f"{_dialled(action, host, number)}: context deadline exceeded"
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        code = error.errno if isinstance(error, OSError) else None
        told = os.strerror(code) if code and code > 0 else str(error)
        return Outcome.FAILURE, f"{_dialled(action, host, number)}: {told.lower()}"


def _dialled(action: HTTPGetAction | TCPSocketAction | GRPCAction, host: str, port: int) -> str:
    if isinstance(action, HTTPGetAction):
        return f'Get "{action.scheme.lower()}://{host}:{port}{action.path}": dial tcp {host}:{port}: connect'
    return f"dial tcp {host}:{port}: connect"


async def _http(action: HTTPGetAction, netns: int, host: str, port: int, redirects: int = 10) -> Found:
    tls = action.scheme.upper() == "HTTPS"
    reader, writer = await _connect(netns, host, port, tls=tls)
    try:
        writer.write(request_bytes(action, host, port))
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        location = next((line[9:].strip() for line in head.split(b"\r\n") if line[:9].lower() == b"location:"), b"")
    finally:
        writer.transport.abort()
    if 300 <= status < 400 and location and redirects:
        target = urlsplit(location.decode("latin-1"))
        if target.hostname in (None, host):
            path = target.path + (f"?{target.query}" if target.query else "")
            scheme = (target.scheme or action.scheme).upper()
            followed = HTTPGetAction(path=path or "/", scheme=scheme, http_headers=action.http_headers)
            default = port if scheme == action.scheme else {"HTTP": 80, "HTTPS": 443}[scheme]
            return await _http(followed, netns, host, target.port or default, redirects - 1)
    if 200 <= status < 400:
        return Outcome.SUCCESS, ""
    return Outcome.FAILURE, f"HTTP probe failed with statuscode: {status}"


def _judged(response: bytes) -> Found:
    """What a HealthCheckResponse says; an empty one is status 0, and no message at all is an error of the call."""
    statuses = {b"\x08\x01": "SERVING", b"\x08\x02": "NOT_SERVING", b"\x08\x03": "SERVICE_UNKNOWN"}
    if not response:
        return Outcome.FAILURE, "the service is not known there, or does not answer"
    status = statuses.get(response, "UNKNOWN")
    if status == "SERVING":
        return Outcome.SUCCESS, ""
    return Outcome.FAILURE, f'service unhealthy (responded with "{status}")'


async def _grpc(action: GRPCAction, netns: int, host: str, port: int) -> Found:
    reader, writer = await _connect(netns, host, port, tls=False)
    name = action.service.encode()
    message = (b"\x0a" + bytes((len(name),)) + name) if name else b""
    headers = b"\x83\x86" + literal(b":path", b"/grpc.health.v1.Health/Check") + literal(b":authority", host.encode())
    headers += literal(b"content-type", b"application/grpc") + literal(b"te", b"trailers")
    try:
        writer.write(PREFACE + h2_frame(SETTINGS, 0, 0) + h2_frame(HEADERS, END_HEADERS, 1, headers))
        writer.write(h2_frame(DATA, END_STREAM, 1, b"\x00" + len(message).to_bytes(4, "big") + message))
        buffer, said = bytearray(), b""
        while data := await reader.read(65536):
            buffer += data
            while (taken := take_frame(buffer)) is not None:
                kind, flags, stream, payload = taken
                if kind == SETTINGS and not flags & 1:
                    writer.write(h2_frame(SETTINGS, 1, 0))
                said += payload if kind == DATA and stream == 1 else b""
                if stream == 1 and flags & END_STREAM:
                    return _judged(said[5:])
        return Outcome.FAILURE, "error: the server closed the connection"
    finally:
        writer.transport.abort()
