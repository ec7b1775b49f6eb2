"""Ingresses and what they name, made in one line each."""

import base64
from typing import Any

import msgspec

from fairlead.compile.route_options import IngressOptions
from fairlead.compile.routes import Built, Routes
from fairlead.kube.core import ConfigMap, Secret, Service
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.networking import Ingress, IngressClass
from fairlead.model.routes import Location

COMMUNITY, F5 = "nginx.ingress.kubernetes.io/", "nginx.org/"


def an_ingress(name: str = "web", host: str = "a.example", *paths: str, **more: Any) -> Ingress:
    """An Ingress to Service web; `more` are service, kind, tls, created, default and annotations with full names."""
    annotations = more.get("annotations", {})
    backend = {"service": {"name": more.get("service", "web"), "port": {"number": 80}}}
    listed = [{"path": each, "pathType": more.get("kind", "Prefix"), "backend": backend} for each in paths]
    rule: dict[str, Any] = {"host": host}
    if listed:
        rule["http"] = {"paths": listed}
    spec: dict[str, Any] = {"ingressClassName": "nginx", "rules": [rule]}
    if more.get("tls"):
        spec["tls"] = [{"hosts": [host], "secretName": more["tls"]}]
    metadata = {
        "name": name,
        "namespace": more.get("namespace", "shop"),
        "creationTimestamp": more.get("created", "2026-01-01T00:00:00Z"),
        "annotations": annotations,
    }
    return msgspec.convert({"metadata": metadata, "spec": spec}, Ingress)


def a_service(name: str = "web") -> Service:
    """A Service of namespace shop with port 80."""
    metadata = {"name": name, "namespace": "shop"}
    return msgspec.convert({"metadata": metadata, "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80}]}}, Service)


def a_slice(name: str = "web", *addresses: str) -> EndpointSlice:
    """Its ready endpoints."""
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [each]} for each in addresses or ("10.0.0.1",)],
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        },
        EndpointSlice,
    )


def a_secret(name: str, **data: str) -> Secret:
    """A Secret of namespace shop; `_` in a key is a dot."""
    encoded = {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return msgspec.convert({"metadata": {"name": name, "namespace": "shop"}, "data": encoded}, Secret)


def a_config_map(name: str, data: dict[str, str]) -> ConfigMap:
    """A ConfigMap of namespace shop."""
    return msgspec.convert({"metadata": {"name": name, "namespace": "shop"}, "data": data}, ConfigMap)


def routes_with(*ingresses: Ingress) -> Routes:
    """Routes with our class, Service web and these Ingresses."""
    routes = Routes(IngressOptions())
    spec = {"controller": "k8s.io/ingress-nginx"}
    routes.set_class(msgspec.convert({"metadata": {"name": "nginx"}, "spec": spec}, IngressClass))
    routes.set_service(a_service())
    routes.set_slice(a_slice())
    for each in ingresses:
        routes.set_ingress(each)
    return routes


def locations(built: Built, host: str = "a.example") -> dict[str, Location]:
    """The locations of a host, by path."""
    server = next(each for each in built.routing.servers if each.host == host)
    return {each.path: each for each in server.locations}
