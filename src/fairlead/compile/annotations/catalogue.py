"""Every annotation that is known, in one place: for reading, for telling what is not carried, for the documentation."""

from typing import Any

from fairlead.compile.annotations.access import ACCESS
from fairlead.compile.annotations.balancing import BALANCING
from fairlead.compile.annotations.general import GENERAL
from fairlead.compile.annotations.proxying import PROXYING
from fairlead.compile.annotations.reading import Annotation, Unsupported
from fairlead.compile.annotations.rules import RULES
from fairlead.compile.annotations.tls import TLS

SUPPORTED: dict[str, Annotation[Any]] = {
    each.name: each for group in (PROXYING, RULES, BALANCING, ACCESS, TLS, GENERAL) for each in group
}

_TELEMETRY = "requests are not traced; X-Request-ID goes upstream"
_FIREWALL = "requests go upstream without a web application firewall"
UNSUPPORTED: dict[str, Unsupported] = {
    each.name: each
    for each in (
        Unsupported("ssl-passthrough", "TLS is terminated here"),
        Unsupported("auth-snippet", "the auth subrequest is made without it"),
        Unsupported("auth-keepalive", "each auth subrequest is a connection of its own"),
        Unsupported("auth-keepalive-requests", "each auth subrequest is a connection of its own"),
        Unsupported("auth-keepalive-timeout", "each auth subrequest is a connection of its own"),
        Unsupported("auth-keepalive-share-vars", "the auth subrequest has variables of its own"),
        Unsupported("use-port-in-redirects", "redirects name no port"),
        Unsupported("http2-push-preload", "browsers dropped HTTP/2 push; nothing is lost"),
        Unsupported("stream-snippet", "set it in the controller's ConfigMap"),
        Unsupported("enable-opentelemetry", _TELEMETRY),
        Unsupported("opentelemetry-trust-incoming-span", _TELEMETRY),
        Unsupported("opentelemetry-operation-name", _TELEMETRY),
        Unsupported("enable-opentracing", _TELEMETRY),
        Unsupported("enable-modsecurity", _FIREWALL),
        Unsupported("enable-owasp-core-rules", _FIREWALL),
        Unsupported("modsecurity-transaction-id", _FIREWALL),
        Unsupported("modsecurity-snippet", _FIREWALL),
        Unsupported("enable-influxdb", "metrics are told to Prometheus"),
    )
}

BOUGHT = {
    "nginx.com": "NGINX Plus",
    "appprotect.f5.com": "NGINX App Protect WAF",
    "appprotectdos.f5.com": "NGINX App Protect DoS",
}
"""Annotations of products, by their prefix."""
