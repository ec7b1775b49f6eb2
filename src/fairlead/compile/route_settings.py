"""The controller's ConfigMap to settings: text by key comes in, typed settings and findings go out.

A wrong value leaves its default, and is told. Source: reference 1.2; keys of both controllers that people come from.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from fairlead.compile.annotations.proxying import read_proxying
from fairlead.compile.annotations.reading import Reading
from fairlead.compile.annotations.values import (
    parse_bool,
    parse_number,
    parse_on,
    parse_prefixes,
    parse_size,
    parse_time,
)
from fairlead.model import Finding, Origin, Severity
from fairlead.model.route_proxy import ProxySettings
from fairlead.model.route_rules import AccessRule
from fairlead.model.route_settings import ControllerSettings, LogEscape
from fairlead.model.route_upstreams import Balance


class RouteDefaults(Struct, frozen=True, kw_only=True):
    """What holds for a location or upstream that says nothing."""

    proxy: ProxySettings = ProxySettings()
    access: AccessRule = AccessRule()
    secure_redirect: bool = True
    force_secure_redirect: bool = False
    balance: Balance = Balance.ROUND_ROBIN
    keepalive: int = 320
    rate_status: int = 503
    connection_status: int = 503
    error_statuses: tuple[int, ...] = ()
    global_auth_url: str = ""
    no_auth_locations: tuple[str, ...] = ("/.well-known/acme-challenge",)
    cross_namespace: bool = False
    allowed_response_headers: tuple[str, ...] = ()
    request_headers_from: str = ""
    response_headers_from: str = ""
    hide_headers: tuple[str, ...] = ()
    retry_non_idempotent: bool = False
    service_upstream: bool = False
    strict_paths: bool = True


class Compiled(Struct, frozen=True):
    """Both kinds of settings, and what was wrong."""

    settings: ControllerSettings
    defaults: RouteDefaults
    findings: tuple[Finding, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _list(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _statuses(text: str) -> tuple[int, ...]:
    return tuple(parse_number(each, 300, 599) for each in _list(text))


def _status(text: str) -> int:
    return parse_number(text, 400, 599)


def _buffers(text: str) -> tuple[int, int]:
    number, size = text.split()
    return parse_number(number, 1, 64), parse_size(size)


def _workers(text: str) -> int:
    return 0 if text == "auto" else parse_number(text, 1, 512)


def _raw(text: str) -> str:
    return text


def _flag(text: str) -> bool:
    return parse_on(text) if text in ("on", "off") else parse_bool(text)


def _not(text: str) -> bool:
    return not _flag(text)


def _escape(text: str) -> LogEscape:
    return LogEscape.JSON if _flag(text) else LogEscape.DEFAULT


def _balance(text: str) -> Balance:
    return Balance(text)


_Parser = Callable[[str], Any]
_SETTINGS: dict[str, tuple[str, _Parser]] = {
    "worker-processes": ("worker_processes", _workers),
    "max-worker-connections": ("worker_connections", lambda text: parse_number(text, 64, 1_000_000) or 16384),
    "worker-connections": ("worker_connections", lambda text: parse_number(text, 64, 1_000_000)),
    "worker-shutdown-timeout": ("worker_shutdown_timeout", parse_time),
    "use-http2": ("http2", _flag),
    "http2": ("http2", _flag),
    "http2-max-concurrent-streams": ("http2_max_streams", lambda text: parse_number(text, 1, 10000)),
    "keep-alive": ("keepalive_timeout", parse_time),
    "keepalive-timeout": ("keepalive_timeout", parse_time),
    "keep-alive-requests": ("keepalive_requests", parse_number),
    "keepalive-requests": ("keepalive_requests", parse_number),
    "client-header-buffer-size": ("client_header_buffer_size", parse_size),
    "large-client-header-buffers": ("large_client_header_buffers", _buffers),
    "client-header-timeout": ("client_header_timeout", parse_time),
    "client-body-timeout": ("client_body_timeout", parse_time),
    "upstream-keepalive-requests": ("upstream_keepalive_requests", parse_number),
    "upstream-keepalive-timeout": ("upstream_keepalive_timeout", parse_time),
    "upstream-keepalive-time": ("upstream_keepalive_time", parse_time),
    "server-name-hash-bucket-size": ("server_names_hash_bucket_size", parse_number),
    "server-names-hash-bucket-size": ("server_names_hash_bucket_size", parse_number),
    "server-name-hash-max-size": ("server_names_hash_max_size", parse_number),
    "server-names-hash-max-size": ("server_names_hash_max_size", parse_number),
    "enable-underscores-in-headers": ("underscores_in_headers", _flag),
    "ignore-invalid-headers": ("ignore_invalid_headers", _flag),
    "server-tokens": ("server_tokens", _flag),
    "generate-request-id": ("generate_request_id", _flag),
    "use-gzip": ("gzip", _flag),
    "gzip-level": ("gzip_level", lambda text: parse_number(text, 1, 9)),
    "gzip-min-length": ("gzip_min_length", parse_number),
    "gzip-types": ("gzip_types", _words),
    "block-cidrs": ("block_cidrs", parse_prefixes),
    "error-log-level": ("error_log_level", lambda text: _one_of(text, "debug info notice warn error crit alert emerg")),
    "disable-ipv6": ("ipv6", _not),
    "bind-address": ("bind_addresses", _list),
    "allow-snippet-annotations": ("snippets_allowed", _flag),
    "main-snippet": ("main_snippet", _raw),
    "main-snippets": ("main_snippet", _raw),
    "http-snippet": ("http_snippet", _raw),
    "http-snippets": ("http_snippet", _raw),
    "server-snippet": ("server_snippet", _raw),
    "server-snippets": ("server_snippet", _raw),
    "location-snippet": ("location_snippet", _raw),
    "location-snippets": ("location_snippet", _raw),
    "stream-snippet": ("stream_snippet", _raw),
    "stream-snippets": ("stream_snippet", _raw),
}
_LOG: dict[str, tuple[str, _Parser]] = {
    "disable-access-log": ("enabled", _not),
    "access-log-off": ("enabled", _not),
    "access-log-path": ("path", _raw),
    "log-format-upstream": ("format", _raw),
    "log-format": ("format", _raw),
    "log-format-escape-json": ("escape", _escape),
    "log-format-escaping": ("escape", LogEscape),
    "skip-access-log-urls": ("skip_urls", _list),
}
_CLIENT: dict[str, tuple[str, _Parser]] = {
    "use-forwarded-headers": ("use_forwarded_headers", _flag),
    "compute-full-forwarded-for": ("compute_full_forwarded_for", _flag),
    "forwarded-for-header": ("header", _raw),
    "real-ip-header": ("header", _raw),
    "enable-real-ip": ("use_real_ip", _flag),
    "use-proxy-protocol": ("use_proxy_protocol", _flag),
    "proxy-protocol": ("use_proxy_protocol", _flag),
    "proxy-real-ip-cidr": ("trusted", parse_prefixes),
    "set-real-ip-from": ("trusted", parse_prefixes),
}
_TLS: dict[str, tuple[str, _Parser]] = {
    "ssl-protocols": ("protocols", _words),
    "ssl-ciphers": ("ciphers", _raw),
    "ssl-prefer-server-ciphers": ("prefer_server_ciphers", _flag),
    "ssl-session-cache": ("session_cache", _flag),
    "ssl-session-cache-size": ("session_cache_size", parse_size),
    "ssl-session-tickets": ("session_tickets", _flag),
    "ssl-session-timeout": ("session_timeout", parse_time),
    "ssl-reject-handshake": ("reject_handshake", _flag),
    "enable-ocsp": ("stapling", _flag),
    "hsts": ("hsts", _flag),
    "hsts-max-age": ("hsts_max_age", parse_number),
    "hsts-include-subdomains": ("hsts_include_subdomains", _flag),
    "hsts-preload": ("hsts_preload", _flag),
    "http-redirect-code": ("redirect_status", lambda text: int(_one_of(text, "301 302 307 308"))),
    "no-tls-redirect-locations": ("no_redirect_locations", _list),
}
_DEFAULTS: dict[str, tuple[str, _Parser]] = {
    "ssl-redirect": ("secure_redirect", _flag),
    "force-ssl-redirect": ("force_secure_redirect", _flag),
    "load-balance": ("balance", _balance),
    "upstream-keepalive-connections": ("keepalive", lambda text: parse_number(text, 0, 65535)),
    "keepalive": ("keepalive", lambda text: parse_number(text, 0, 65535)),
    "limit-req-status-code": ("rate_status", _status),
    "limit-conn-status-code": ("connection_status", _status),
    "custom-http-errors": ("error_statuses", _statuses),
    "global-auth-url": ("global_auth_url", _raw),
    "no-auth-locations": ("no_auth_locations", _list),
    "allow-cross-namespace-resources": ("cross_namespace", _flag),
    "global-allowed-response-headers": ("allowed_response_headers", _list),
    "proxy-set-headers": ("request_headers_from", _raw),
    "add-headers": ("response_headers_from", _raw),
    "hide-headers": ("hide_headers", _list),
    "proxy-hide-headers": ("hide_headers", _list),
    "retry-non-idempotent": ("retry_non_idempotent", _flag),
    "service-upstream": ("service_upstream", _flag),
    "strict-validate-path-type": ("strict_paths", _flag),
}
_PROXY = frozenset(
    {
        "proxy-body-size", "proxy-connect-timeout", "proxy-read-timeout", "proxy-send-timeout", "proxy-buffer-size",
        "proxy-buffers-number", "proxy-buffering", "proxy-request-buffering", "proxy-next-upstream",
        "proxy-next-upstream-tries", "proxy-next-upstream-timeout", "client-body-buffer-size", "proxy-http-version",
        "proxy-busy-buffers-size", "proxy-max-temp-file-size", "proxy-cookie-domain", "proxy-cookie-path",
        "proxy-redirect-from", "proxy-redirect-to",
    }
)  # fmt: skip
_PREFIX = "config"
_ACCESS = ("whitelist-source-range", "denylist-source-range")


def _one_of(text: str, words: str) -> str:
    if text not in words.split():
        raise ValueError(f"{text!r} is none of {', '.join(words.split())}")
    return text


def compile_settings(data: Mapping[str, str], about: Origin) -> Compiled:
    """What the ConfigMap's keys mean."""
    findings: list[Finding] = []

    def tell(key: str, message: str, remedy: str = "") -> None:
        origin = Origin(about.kind, about.namespace, about.name, f"data[{key}]")
        findings.append(Finding(Severity.WARNING, origin, message, remedy))

    def read(table: Mapping[str, tuple[str, _Parser]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, (field, parse) in table.items():
            text = data.get(key, "").strip()
            if text:
                try:
                    found[field] = parse(text)
                except ValueError as error:
                    tell(key, f"{error}; its default holds")
        return found

    settings = ControllerSettings()
    settings = replace(
        settings,
        **read(_SETTINGS),
        access_log=replace(settings.access_log, **read(_LOG)),
        client=replace(settings.client, **read(_CLIENT)),
        tls=replace(settings.tls, **read(_TLS)),
    )
    reading = Reading({f"{_PREFIX}/{key}": data[key] for key in _PROXY if key in data}, _PREFIX, about)
    defaults = replace(
        RouteDefaults(), **read(_DEFAULTS), proxy=read_proxying(reading, ProxySettings()), access=_access(data, tell)
    )
    for each in reading.findings:
        tell(each.origin.field.rpartition("/")[2].rstrip("]"), each.message, each.remedy)
    known = {*_SETTINGS, *_LOG, *_CLIENT, *_TLS, *_DEFAULTS, *_PROXY, *_ACCESS}
    for key in data:
        if key not in known:
            near = get_close_matches(key, known, 1)
            tell(key, "this key is not carried; it does nothing", f"did you mean {near[0]}?" if near else "")
    return Compiled(settings, defaults, tuple(findings))


def _access(data: Mapping[str, str], tell: Callable[[str, str], None]) -> AccessRule:
    lists: list[Any] = []
    for key in _ACCESS:
        try:
            lists.append(parse_prefixes(data[key]) if data.get(key, "").strip() else None)
        except ValueError as error:
            tell(key, f"{error}; no such list holds")
            lists.append(None)
    return AccessRule(lists[1] or (), lists[0])
