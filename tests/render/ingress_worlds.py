"""Generated sets of Ingresses, and requests that try their edges. The same seed is the same set."""

import random
from typing import Any

import msgspec

from fairlead.compile.route_options import IngressOptions
from fairlead.compile.routes import Built, Routes
from fairlead.kube.core import Service
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.networking import Ingress
from fairlead.net import parse_address
from fairlead.sim.ingress import Request

HOSTS = ("a.example", "www.a.example", "b.example", "*.b.example", "x.b.example", "")
PATHS = ("/", "/foo", "/foo/", "/foo/bar", "/Foo", "/foo.bar", "/f", "/foo/bar/baz/", "/api/*", "/café")
EXPRESSIONS = ("/foo/(.*)", "/v[0-9]+", "/foo(/|$)(.*)", "/", "/item/([a-z]+)/([0-9]+)")
SERVICES = ("red", "green", "blue", "empty", "missing")
ASKED = (
    "/", "/foo", "/foo/", "/foo/bar", "/foo/bar/", "/foobar", "/FOO", "/Foo/x", "/foo.bar", "/fooxbar", "/f", "/f/x",
    "/foo//bar", "/foo/./bar", "/foo/../f", "/foo/bar/baz", "/foo/bar/baz/", "/api", "/api/", "/api/v1", "/v1/x",
    "/item/abc/42?x=1", "/foo/%62ar", "/caf%C3%A9", "/.well-known/acme-challenge/t", "/healthz", "/foo?a=b&c=/d/",
)  # fmt: skip
PREFIX = "nginx.ingress.kubernetes.io/"


def service(name: str) -> Service:
    """A Service of namespace shop."""
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    spec = {"clusterIP": "10.96.0.9", "ports": ports}
    return msgspec.convert({"metadata": {"name": name, "namespace": "shop"}, "spec": spec}, Service)


def endpoint_slice(name: str, *addresses: str) -> EndpointSlice:
    """Its endpoints."""
    labels = {"kubernetes.io/service-name": name}
    return msgspec.convert(
        {
            "metadata": {"name": f"{name}-1", "namespace": "shop", "labels": labels},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [each], "conditions": {"ready": True}} for each in addresses],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        },
        EndpointSlice,
    )


def _path(draw: random.Random, *, expressions: bool) -> dict[str, Any]:
    kind = draw.choice(("Prefix", "Prefix", "Exact", "ImplementationSpecific"))
    text = draw.choice(EXPRESSIONS if expressions else PATHS)
    if text.endswith("*") or (expressions and kind == "Prefix"):
        kind = "ImplementationSpecific"
    port = draw.choice(({"number": 80}, {"name": "http"}))
    return {"path": text, "pathType": kind, "backend": {"service": {"name": draw.choice(SERVICES), "port": port}}}


def _annotations(draw: random.Random, *, expressions: bool) -> dict[str, str]:
    found: dict[str, str] = {"ssl-redirect": draw.choice(("true", "false"))}
    if expressions:
        found["use-regex"] = "true"
        if draw.random() < 0.5:
            found["rewrite-target"] = draw.choice(("/", "/new", "/$1", "/x/$1"))
    for name, values, chance in (
        ("app-root", ("/foo",), 0.1),
        ("permanent-redirect", ("https://else.example/there",), 0.05),
        ("temporal-redirect", ("https://else.example/now",), 0.05),
        ("force-ssl-redirect", ("true",), 0.05),
        ("whitelist-source-range", ("127.0.0.0/8", "10.0.0.0/8", "nonsense"), 0.15),
        ("denylist-source-range", ("127.0.0.1", "10.0.0.0/8"), 0.1),
        ("enable-cors", ("true",), 0.2),
        ("cors-allow-origin", ("https://*.ok.example, http://plain.example",), 0.1),
        ("from-to-www-redirect", ("true",), 0.1),
        ("server-alias", ("alias.example, b.example",), 0.1),
        ("default-backend", ("green",), 0.1),
        ("preserve-trailing-slash", ("true",), 0.1),
    ):
        if draw.random() < chance:
            found[name] = draw.choice(values)
    return {PREFIX + name: value for name, value in found.items()}


def ingresses(seed: int) -> list[Ingress]:
    """One set: Ingresses of different ages on few hosts, so that they meet."""
    draw = random.Random(seed)
    expressions = draw.random() < 0.4
    found: list[Ingress] = []
    for number in range(draw.randint(2, 5)):
        hosts = draw.sample(HOSTS, draw.randint(1, 2))
        rules = [
            {"host": host, "http": {"paths": [_path(draw, expressions=expressions) for _ in range(draw.randint(1, 4))]}}
            for host in hosts
        ]
        annotations = _annotations(draw, expressions=expressions)
        if number and draw.random() < 0.3:
            annotations |= {PREFIX + "canary": "true"} | draw.choice(
                (
                    {PREFIX + "canary-by-header": "x-canary"},
                    {PREFIX + "canary-by-header": "x-canary", PREFIX + "canary-by-header-value": "yes"},
                    {PREFIX + "canary-by-cookie": "canary"},
                    {PREFIX + "canary-weight": "100"},
                )
            )
            rules = msgspec.to_builtins(found[0].spec.rules)
            for rule in rules:
                for path in rule["http"]["paths"]:
                    path["backend"]["service"]["name"] = "blue"
        spec: dict[str, Any] = {"ingressClassName": "nginx", "rules": rules}
        if draw.random() < 0.2:
            spec["defaultBackend"] = {"service": {"name": draw.choice(SERVICES), "port": {"number": 80}}}
        if draw.random() < 0.3:
            spec["tls"] = [{"hosts": [host for host in hosts if host], "secretName": "absent"}]
        metadata = {
            "name": f"in-{number}",
            "namespace": "shop",
            "uid": str(number),
            "creationTimestamp": f"2026-01-0{draw.randint(1, 3)}T00:00:00Z",
            "annotations": annotations,
        }
        found.append(msgspec.convert({"metadata": metadata, "spec": spec}, Ingress))
    return found


def requests(seed: int, count: int) -> list[Request]:
    """Requests to those hosts, and to some that nobody has."""
    draw = random.Random(seed)
    hosts = ("a.example", "www.a.example", "b.example", "x.b.example", "y.b.example", "x.y.b.example", "nobody.example",
             "alias.example", "www.b.example")  # fmt: skip
    found: list[Request] = []
    for _ in range(count):
        headers: dict[str, str] = {}
        if draw.random() < 0.3:
            headers["origin"] = draw.choice(("https://x.ok.example", "http://plain.example", "http://bad.example"))
        if draw.random() < 0.3:
            headers["x-canary"] = draw.choice(("always", "never", "yes", "perhaps"))
        if draw.random() < 0.2:
            headers["cookie"] = f"canary={draw.choice(('always', 'never'))}"
        found.append(
            Request(
                host=draw.choice(hosts),
                target=draw.choice(ASKED),
                method=draw.choice(("GET", "GET", "GET", "POST", "OPTIONS", "PUT")),
                secure=draw.random() < 0.4,
                headers=headers,
                client=parse_address("127.0.0.1"),
            )
        )
    return found


def build(seed: int) -> Built:
    """The set, compiled."""
    routes = Routes(IngressOptions(class_by_name="nginx"))
    from fairlead.kube.networking import IngressClass

    spec = {"controller": "k8s.io/ingress-nginx"}
    routes.set_class(msgspec.convert({"metadata": {"name": "nginx"}, "spec": spec}, IngressClass))
    for number, name in enumerate(("red", "green", "blue")):
        routes.set_service(service(name))
        routes.set_slice(endpoint_slice(name, f"10.0.{number}.1"))
    routes.set_service(service("empty"))
    for each in ingresses(seed):
        routes.set_ingress(each)
    return routes.build()
