"""The ConfigMaps tcp-services and udp-services to listeners. Source: reference 1.3."""

import re
from collections.abc import Callable, Iterable, Mapping

from fairlead.compile.endpoints import SliceEndpoints
from fairlead.compile.route_upstreams import compile_upstream, find_port
from fairlead.kube.core import Service
from fairlead.model import Finding, Origin, Severity
from fairlead.model.route_upstreams import UpstreamKey
from fairlead.model.routes import StreamListener
from fairlead.net import Port, Protocol

RESERVED = frozenset({80, 443, 442, 8081, 8181, 10245, 10246, 10247, 10254})
_VALUE = re.compile(
    r"(?P<namespace>[a-z0-9-]+)/(?P<name>[a-z0-9-]+):(?P<port>[A-Za-z0-9-]+)(?P<proxy>(?::(?:PROXY)?){0,2})"
)


def compile_streams(
    data: Mapping[str, str],
    protocol: Protocol,
    about: Origin,
    service_of: Callable[[str, str], Service | None],
    slices_of: Callable[[str, str], Iterable[SliceEndpoints]],
) -> tuple[tuple[StreamListener, ...], tuple[Finding, ...]]:
    """The listeners, by port, and what is wrong with the others."""
    listeners: list[StreamListener] = []
    findings: list[Finding] = []
    for key, value in data.items():
        origin = Origin(about.kind, about.namespace, about.name, f"data[{key}]")
        parsed = _VALUE.fullmatch(value.strip())
        if not key.isdigit() or not 0 < int(key) < 65536 or int(key) in RESERVED:
            findings.append(Finding(Severity.ERROR, origin, f"{key!r} is no port that is free for a Service"))
            continue
        if parsed is None:
            message = f"{value!r} is not namespace/service:port, or that with :PROXY"
            findings.append(Finding(Severity.ERROR, origin, message))
            continue
        namespace, name, port = parsed["namespace"], parsed["name"], parsed["port"]
        upstream = UpstreamKey(namespace, name, port)
        service = service_of(namespace, name)
        targets, problem = compile_upstream(
            upstream, service, slices_of(namespace, name), whole_service=True, protocol=protocol
        )
        if service is not None and not problem and find_port(service, port, protocol) is None:
            problem = f"Service {namespace}/{name} has no port {port}"
        if problem:
            findings.append(Finding(Severity.ERROR, origin, f"{problem}; the port is not opened"))
            continue
        words = (parsed["proxy"] or "").split(":")[1:]
        listeners.append(
            StreamListener(
                protocol=protocol,
                port=Port(int(key)),
                upstream=upstream,
                targets=targets,
                origin=origin,
                decode_proxy=protocol is Protocol.TCP and words[:1] == ["PROXY"],
                encode_proxy=protocol is Protocol.TCP and words[1:2] == ["PROXY"],
            )
        )
    return tuple(sorted(listeners, key=lambda each: each.port)), tuple(findings)
