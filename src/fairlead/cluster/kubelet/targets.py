"""Where a probe or hook goes: a container port's number, a host, a request's bytes. Pure.

Source: pkg/probe/http/request.go, pkg/probe/util.go.
"""

import re
from collections.abc import Sequence

from fairlead.kube.containers import Container, HTTPGetAction, IntOrString
from fairlead.kube.documents import Document

PROBER = "kube-probe/1.36"


def port_of(wanted: IntOrString, container: Container) -> int | None:
    """The number of a port given by number or by the name it has in the container; None for an unknown name."""
    if isinstance(wanted, int):
        return wanted
    if wanted.isdigit():
        return int(wanted)
    return next((port.container_port for port in container.ports if port.name == wanted), None)


def request_bytes(action: HTTPGetAction, host: str, port: int) -> bytes:
    """The request of an HTTP probe; its headers override what is sent by default, an empty Accept removes it."""
    shown = f"[{host}]" if ":" in host else host
    headers = {"host": ("Host", f"{shown}:{port}"), "user-agent": ("User-Agent", PROBER), "accept": ("Accept", "*/*")}
    for each in action.http_headers:
        headers[each.name.lower()] = (each.name, each.value)
    headers["connection"] = ("Connection", "close")
    path = action.path if action.path.startswith("/") else f"/{action.path}"
    lines = [f"{name}: {value}" for key, (name, value) in headers.items() if value or key != "accept"]
    return "\r\n".join((f"GET {path} HTTP/1.1", *lines, "", "")).encode()


def sleep_of(command: Sequence[str]) -> float:
    """How long a command sleeps, as far as its text says: what a stand-in, which has no shell, does for a hook."""
    found = re.findall(r"\bsleep\s+(\d+(?:\.\d+)?)", " ".join(command))
    return sum(map(float, found))


def events_reference(namespace: str, name: str, uid: str, container: str) -> Document:
    """A pod, or one of its containers, as events name it."""
    reference: Document = {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name, "uid": uid}
    if container:
        reference["fieldPath"] = f"spec.containers{{{container}}}"
    return reference
