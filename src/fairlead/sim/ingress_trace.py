"""A URL followed through the ingress controller: to NGINX, through it, and on to the pods.

Comes in: a world, the objects of ingress, a source and a URL. Goes out: a Trace whose `request` says what NGINX does,
and whose `onward` traces lead from its pod to the endpoints that may be asked.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from fairlead.compile.routes import Built
from fairlead.kube.core import Service
from fairlead.net import Protocol, parse_address
from fairlead.sim.answers import Disposition, Trace
from fairlead.sim.ingress import Request, RequestVerdict, find_server, judge_request, spell
from fairlead.sim.ingress_objects import IngressObjects, routes_of
from fairlead.sim.trace import trace_connection
from fairlead.sim.world import World

CONTROLLER_LABEL = ("app.kubernetes.io/name", ("nginx-ingress", "ingress-nginx"))
_MOST_ONWARD = 3


class Url(Struct, frozen=True):
    """A URL of a request: `target` is path and query."""

    scheme: str
    host: str
    port: int
    target: str


def parse_url(text: str) -> Url | None:
    """The parts of an http or https URL whose host is a name; None for anything else."""
    try:
        parts = urlsplit(text)
        usual = {"http": 80, "https": 443}.get(parts.scheme)
        if usual is None or not parts.hostname:
            return None
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        url = Url(parts.scheme, parts.hostname, parts.port or usual, target)
    except ValueError:
        return None
    try:
        parse_address(url.host)
    except ValueError:
        return url
    return None


def is_ingress_host(objects: IngressObjects, host: str) -> bool:
    """Whether an Ingress speaks of the host."""
    built = routes_of(objects).build()
    server = find_server(built.routing, host)
    return server is not None and (bool(server.host) or bool(server.locations))


def trace_url(
    world: World,
    objects: IngressObjects,
    source: str,
    url: Url,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> Trace:
    """The way of a request. Raises UnreadableError or AbsentError for what cannot be looked up."""
    built = routes_of(objects).build()
    spelled = f"{url.scheme}://{url.host}{url.target}"
    front = front_of(objects)
    if front is None:
        remark = "no ingress controller is among these objects: what NGINX does is shown, not the way to it"
        answer = Trace(source, spelled, "", Disposition.DELIVERED, (), (remark,))
        return replace(answer, request=_judged(built, url, method, headers, ""))
    address = _address_of(front)
    entered = trace_connection(world, source, f"{address}:{url.port}", Protocol.TCP)
    if entered.disposition is not Disposition.DELIVERED:
        return replace(entered, target=spelled)
    end = entered.ends[0]
    verdict = _judged(built, url, method, headers, end.seen_as)
    onward = tuple(
        trace_connection(world, end.place, spell(each), Protocol.TCP) for each in verdict.candidates[:_MOST_ONWARD]
    )
    disposition = next((each.disposition for each in onward if each.disposition is not Disposition.DELIVERED), None)
    return replace(
        entered, target=spelled, request=verdict, onward=onward, disposition=disposition or Disposition.DELIVERED
    )


def front_of(objects: IngressObjects) -> Service | None:
    """The Service in front of the controller."""
    name, values = CONTROLLER_LABEL
    found = [each for each in objects.services if each.metadata.labels.get(name) in values]
    return next((each for each in found if each.spec.type == "LoadBalancer"), found[0] if found else None)


def _address_of(front: Service) -> str:
    given = [each.ip for each in front.status.load_balancer.ingress if each.ip]
    return (given or [front.spec.cluster_ip])[0]


def _judged(built: Built, url: Url, method: str, headers: Mapping[str, str] | None, client: str) -> RequestVerdict:
    usual = {"http": 80, "https": 443}[url.scheme]
    request = Request(
        host=url.host if url.port == usual else f"{url.host}:{url.port}",
        target=url.target,
        method=method,
        secure=url.scheme == "https",
        headers={name.lower(): value for name, value in (headers or {}).items()},
        client=parse_address(client) if client else None,
    )
    return judge_request(
        built.routing, built.settings, built.endpoints, request, server_names=frozenset(built.server_names)
    )
