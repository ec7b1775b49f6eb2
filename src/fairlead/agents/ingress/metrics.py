"""The controller's page of metrics: NGINX's own and ours, under ingress-nginx's names."""

from hashlib import sha256

from fairlead.agents.ingress.serving import Reloads
from fairlead.agents.pages import Page
from fairlead.compile.routes import Built
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.nginxd import Nginx

_TYPE = "text/plain; version=0.0.4"
_PREFIX = "nginx_ingress_controller"


async def metrics_page(nginx: Nginx, reloads: Reloads, built: Built | None) -> Page:
    """All of it; without NGINX's part where it does not answer."""
    lines = [*_config_lines(reloads), *_certificate_lines(built)]
    try:
        requests = await nginx.ask("/metrics")
    except FairleadError:
        requests = b""
    return Page("\n".join(lines).encode() + b"\n" + requests, _TYPE)


def _config_lines(reloads: Reloads) -> list[str]:
    number = int(sha256(reloads.generation.encode()).hexdigest()[:8], 16) if reloads.generation else 0
    return [
        *_metric(
            "config_last_reload_successful", "gauge", "Whether the last configuration reload attempt was successful"
        ),
        f"{_PREFIX}_config_last_reload_successful {int(reloads.last_ok)}",
        *_metric("config_last_reload_successful_timestamp_seconds", "gauge", "Timestamp of the last successful reload"),
        f"{_PREFIX}_config_last_reload_successful_timestamp_seconds {reloads.last_at}",
        *_metric("config_hash", "gauge", "Running configuration hash actually running"),
        f"{_PREFIX}_config_hash {number}",
        *_metric("success", "counter", "Cumulative number of Ingress controller reload operations"),
        f"{_PREFIX}_success {reloads.count}",
        *_metric("errors", "counter", "Cumulative number of Ingress controller errors during reload operations"),
        f"{_PREFIX}_errors {reloads.refused}",
    ]


def _certificate_lines(built: Built | None) -> list[str]:
    lines = _metric("ssl_expire_time_seconds", "gauge", "Number of seconds since 1970 to the SSL Certificate expire")
    for host, certificate in sorted(built.server_names.items() if built is not None else ()):
        found = built.certificates.get(certificate) if built is not None else None
        if found is not None:
            labels = f'host="{host}",namespace="{certificate.namespace}",secret_name="{certificate.secret}"'
            lines.append(f"{_PREFIX}_ssl_expire_time_seconds{{{labels}}} {found.not_after}")
    return lines


def _metric(name: str, kind: str, about: str) -> list[str]:
    return [f"# HELP {_PREFIX}_{name} {about}", f"# TYPE {_PREFIX}_{name} {kind}"]
