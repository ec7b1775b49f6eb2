"""From Ingresses to NGINX's configuration: how long everything takes from nothing, and one change among many.

Baseline of a change is building everything, in the same run. Nothing here asks NGINX.
"""

import resource
import time
from collections.abc import Callable

from msgspec import convert

from fairlead.bench.measurement import Measurement
from fairlead.compile.route_options import IngressOptions
from fairlead.compile.routes import Routes
from fairlead.kube.core import Service
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.networking import Ingress, IngressClass
from fairlead.render.nginx import render_nginx
from fairlead.render.nginx_names import Layout
from fairlead.render.nginx_texts import ServerTexts

_SIZES = (100, 1_000, 5_000)
_ROUNDS = 20
_LAYOUT = Layout(directory="/run/fairlead-ingress", lua="/usr/share/fairlead/lua")


def routing() -> list[Measurement]:
    """Measure each size."""
    return [each for size in _SIZES for each in _measure(size)]


def _measure(size: int) -> list[Measurement]:
    objects = [(_ingress(number), _service(number), _slice(number, 1)) for number in range(size)]
    routes = Routes(IngressOptions())
    routes.set_class(
        convert({"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}}, IngressClass)
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    for ingress, service, piece in objects:
        routes.set_ingress(ingress)
        routes.set_service(service)
        routes.set_slice(piece)
    built = routes.build()
    compiled = time.perf_counter() - began
    texts = ServerTexts()
    size_of = len(render_nginx(built.routing, built.settings, _LAYOUT, texts=texts)["nginx.conf"])
    rendered = time.perf_counter() - began
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    title = f"routing: {size:,} Ingresses"
    endpoint = _median([_timed(lambda n=n: _change(routes, endpoint=n)) for n in range(_ROUNDS)])
    structure = _median([_timed(lambda n=n: _change(routes, texts, annotation=n)) for n in range(_ROUNDS)])
    return [
        Measurement(f"{title}: compiled", compiled, "s"),
        Measurement(f"{title}: and written, {size_of / 1e6:.1f} MB", rendered, "s", compiled, rendered / compiled),
        Measurement(f"{title}: an endpoint changes", 1000 * endpoint, "ms", 1000 * compiled, endpoint / compiled),
        Measurement(
            f"{title}: an annotation changes, and written",
            1000 * structure,
            "ms",
            1000 * rendered,
            structure / rendered,
        ),
        Measurement(f"{title}: memory grown by", memory, "MB"),
    ]


def _timed(change: Callable[[], None]) -> float:
    began = time.perf_counter()
    change()
    return time.perf_counter() - began


def _change(routes: Routes, texts: ServerTexts | None = None, *, endpoint: int = 0, annotation: int = 0) -> None:
    """One endpoint moves; or, with texts, an annotation changes and the configuration is written."""
    if texts is None:
        routes.set_slice(_slice(7, 2 + endpoint))
        routes.build()
        return
    routes.set_ingress(_ingress(7, 2 + annotation))
    built = routes.build()
    render_nginx(built.routing, built.settings, _LAYOUT, texts=texts)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _ingress(number: int, size: int = 1) -> Ingress:
    backend = {"service": {"name": f"web-{number}", "port": {"name": "http"}}}
    paths = [{"path": path, "pathType": "Prefix", "backend": backend} for path in ("/", "/api", "/static")]
    annotations = {
        "nginx.ingress.kubernetes.io/proxy-body-size": f"{size}m",
        "nginx.ingress.kubernetes.io/enable-cors": "true",
        "nginx.ingress.kubernetes.io/limit-rps": "100",
    }
    return convert(
        {
            "metadata": {
                "name": f"web-{number}",
                "namespace": f"team-{number % 50}",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": annotations,
            },
            "spec": {
                "ingressClassName": "nginx",
                "rules": [{"host": f"web-{number}.example", "http": {"paths": paths}}],
            },
        },
        Ingress,
    )


def _service(number: int) -> Service:
    metadata = {"name": f"web-{number}", "namespace": f"team-{number % 50}"}
    return convert({"metadata": metadata, "spec": {"ports": [{"name": "http", "port": 80}]}}, Service)


def _slice(number: int, last: int) -> EndpointSlice:
    addresses = [f"10.{number // 250 % 250}.{number % 250}.{each}" for each in (1, 100 + last)]
    return convert(
        {
            "metadata": {
                "name": f"web-{number}-a",
                "namespace": f"team-{number % 50}",
                "labels": {"kubernetes.io/service-name": f"web-{number}"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [each], "conditions": {"ready": True}} for each in addresses],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        },
        EndpointSlice,
    )
