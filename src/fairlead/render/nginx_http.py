"""What NGINX is told once: processes, shared memory, maps, logs, TLS, the control socket.

Source: reference 1.2 for values, nginx.org and the documentation of lua-nginx for directives.
"""

from fairlead.model.route_settings import ControllerSettings, LogEscape
from fairlead.nginx import Config, Directive, Dollar, Literal, Lua, Raw, block, directive, entry, template
from fairlead.nginx.tree import Line, variable
from fairlead.render.nginx_maps import render_maps
from fairlead.render.nginx_names import Layout
from fairlead.render.nginx_text import on, prefix, trusted_peers

BLOCKED_CLIENT, BLOCKED_AGENT, BLOCKED_REFERER = (f"fairlead_blocked_{each}" for each in ("client", "agent", "referer"))
_DECLARED = (
    "fairlead_location",
    "fairlead_held",
    "fairlead_refused",
    "proxy_upstream_name",
    "proxy_alternative_upstream_name",
)
_LOG = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" '
    '"$http_user_agent" $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] '
    "$upstream_addr $upstream_response_length $upstream_response_time $upstream_status $fairlead_request_id"
)
"""ingress-nginx's format."""


def render_main(settings: ControllerSettings, layout: Layout) -> Config:
    """The directives before `http`."""
    workers = str(settings.worker_processes) if settings.worker_processes else "auto"
    lines: list[Line] = [
        *(directive("load_module", Literal(each)) for each in layout.module_files),
        directive("pid", Literal(layout.path("nginx.pid"))),
        directive("worker_processes", workers),
        directive("worker_shutdown_timeout", f"{settings.worker_shutdown_timeout}s"),
        directive("error_log", "stderr", settings.error_log_level),
        directive("pcre_jit", "on"),
        block(
            "events", of=(directive("multi_accept", "on"), directive("worker_connections", settings.worker_connections))
        ),
    ]
    if layout.user is not None:
        lines.insert(3, directive("user", layout.user))
    if settings.main_snippet:
        lines.append(Raw(settings.main_snippet))
    return tuple(lines)


def render_http(settings: ControllerSettings, layout: Layout, structure: str) -> Config:
    """The directives of `http` before the servers; `structure` is the file that Lua reads."""
    lines: list[Line] = [
        *_lua(layout, structure),
        *_connections(settings),
        *render_maps(settings),
        *_logs(settings),
        *_folders(layout),
        *_client_address(settings),
        *_tls(settings),
        *_blocks(settings),
    ]
    if layout.resolvers:
        places = [f"[{each}]" if ":" in each else each for each in layout.resolvers]
        lines.append(directive("resolver", *places, "valid=30s", *([] if settings.ipv6 else ["ipv6=off"])))
    if settings.gzip:
        lines += _gzip(settings)
    if settings.http_snippet:
        lines.append(Raw(settings.http_snippet))
    return tuple(lines)


def render_balancer(name: str, keepalive: int, settings: ControllerSettings) -> Directive:
    """The upstream whose endpoints Lua chooses; its one server is never asked."""
    lines: list[Line] = [
        directive("server", "0.0.0.1"),
        block("balancer_by_lua_block", of=(Lua("fairlead_balance()"),)),
    ]
    if keepalive:
        lines += [
            directive("keepalive", keepalive),
            directive("keepalive_requests", settings.upstream_keepalive_requests),
            directive("keepalive_timeout", f"{settings.upstream_keepalive_timeout}s"),
            directive("keepalive_time", f"{settings.upstream_keepalive_time}s"),
        ]
    return block("upstream", name, of=tuple(lines))


def render_control(layout: Layout) -> Directive:
    """The server at the control socket, for the controller alone."""

    def lua(path: str, code: str) -> Directive:
        return block("location", "=", path, of=(block("content_by_lua_block", of=(Lua(code),)),))

    lines = (
        directive("listen", Literal(f"unix:{layout.path('control.sock')}")),
        directive("access_log", "off"),
        directive("client_max_body_size", 0),
        directive("client_body_buffer_size", "32m"),
        # Declares the variables of Lua, and those that formats and snippets made for ingress-nginx may name.
        *(directive("set", variable(name), Literal("")) for name in _DECLARED),
        lua("/generation", 'require("fairlead_control").generation()'),
        lua("/endpoints", 'require("fairlead_control").endpoints()'),
        lua("/certificates", 'require("fairlead_control").certificates()'),
        lua("/staples", 'require("fairlead_control").staples()'),
        lua("/metrics", 'require("fairlead_metrics").page()'),
        block("location", "=", "/status", of=(directive("stub_status"),)),
        block("location", "/", of=(directive("return", 404),)),
    )
    return block("server", of=lines)


def render_refuser(layout: Layout) -> Directive:
    """The server that refuses everything: the balancer sends it requests whose upstream has no endpoints."""
    lines = (
        directive("listen", Literal(f"unix:{_refuser(layout)}")),
        directive("access_log", "off"),
        directive("client_max_body_size", 0),
        directive("large_client_header_buffers", 64, "64k"),
        directive("return", 503),
    )
    return block("server", of=lines)


def _refuser(layout: Layout) -> str:
    return layout.path("refuse.sock")


def _lua(layout: Layout, structure: str) -> Config:
    path, refuser = f"{layout.lua}/?.lua;;", f"unix:{_refuser(layout)}"
    return (
        directive("lua_package_path", Literal(path)),
        directive("lua_shared_dict", "fairlead_endpoints", "64m"),
        directive("lua_shared_dict", "fairlead_certificates", "64m"),
        directive("lua_shared_dict", "fairlead_metrics", "32m"),
        block(
            "init_by_lua_block",
            of=(Lua(f'require("resty.core") require("fairlead")({_lua_text(structure)}, {_lua_text(refuser)})'),),
        ),
        block(
            "init_worker_by_lua_block",
            of=(Lua('math.randomseed(ngx.now() * 1000 + ngx.worker.pid()) require("fairlead_metrics").start()'),),
        ),
        block("log_by_lua_block", of=(Lua("fairlead_log()"),)),
    )


def _lua_text(text: str) -> str:
    """A Lua string. Raises ValueError where the path is not one of ours."""
    if not text.isprintable() or set(text) & set("\"\\'[]"):
        raise ValueError(f"{text!r} cannot be the path of a file for Lua")
    return f'"{text}"'


def _logs(settings: ControllerSettings) -> Config:
    log = settings.access_log
    if not log.enabled:
        return (directive("access_log", "off"),)
    escape = {LogEscape.DEFAULT: "default", LogEscape.JSON: "json", LogEscape.NONE: "none"}[log.escape]
    lines = [
        directive("log_format", "fairlead", f"escape={escape}", Literal(" ".join((log.format or _LOG).splitlines())))
    ]
    condition: list[str] = []
    if log.skip_urls:
        entries = (entry("default", 1), *(entry(Literal(each), 0) for each in log.skip_urls))
        lines.append(block("map", variable("request_uri"), variable("fairlead_loggable"), of=entries))
        condition = ["fairlead_loggable"]
    words = [template("if=", Dollar(name)) for name in condition]
    lines.append(directive("access_log", Literal(log.path), "fairlead", *words))
    return tuple(lines)


def _connections(settings: ControllerSettings) -> Config:
    number, size = settings.large_client_header_buffers
    names = max(64, settings.server_names_hash_bucket_size or 512)
    return (
        directive("sendfile", "on"),
        directive("tcp_nopush", "on"),
        directive("tcp_nodelay", "on"),
        directive("reset_timedout_connection", "on"),
        directive("keepalive_timeout", f"{settings.keepalive_timeout}s"),
        directive("keepalive_requests", settings.keepalive_requests),
        directive("client_header_buffer_size", settings.client_header_buffer_size),
        directive("client_header_timeout", f"{settings.client_header_timeout}s"),
        directive("client_body_timeout", f"{settings.client_body_timeout}s"),
        directive("large_client_header_buffers", number, size),
        directive("http2_max_concurrent_streams", settings.http2_max_streams),
        directive("underscores_in_headers", on(settings.underscores_in_headers)),
        directive("ignore_invalid_headers", on(settings.ignore_invalid_headers)),
        directive("server_tokens", on(settings.server_tokens)),
        directive("server_names_hash_max_size", settings.server_names_hash_max_size or 1 << 18),
        directive("server_names_hash_bucket_size", names),
        directive("variables_hash_max_size", 1 << 18),
        directive("variables_hash_bucket_size", 256),
        directive("map_hash_max_size", 1 << 20),
        directive("map_hash_bucket_size", 512),
        directive("proxy_headers_hash_max_size", 4096),
        directive("proxy_headers_hash_bucket_size", 128),
        directive("uninitialized_variable_warn", "off"),
        directive("default_type", "text/html"),
        directive("port_in_redirect", "off"),
    )


def _folders(layout: Layout) -> Config:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return tuple(directive(f"{kind}_temp_path", Literal(layout.path(f"temp-{kind}"))) for kind in kinds)


def _client_address(settings: ControllerSettings) -> Config:
    client = settings.client
    if not (client.use_proxy_protocol or client.use_real_ip or client.use_forwarded_headers):
        return ()
    header = client.header if client.use_real_ip or not client.use_proxy_protocol else "proxy_protocol"
    return (directive("real_ip_header", header), directive("real_ip_recursive", "on"), *trusted_peers(client))


def _tls(settings: ControllerSettings) -> Config:
    tls = settings.tls
    size = max(1, tls.session_cache_size // (1024 * 1024))
    cache = ["builtin:1000", f"shared:SSL:{size}m"] if tls.session_cache else ["off"]
    return (
        # A variable, so that NGINX wants no file at its start; Lua sets the certificate of each handshake.
        directive("ssl_certificate", variable("fairlead_none")),
        directive("ssl_certificate_key", variable("fairlead_none")),
        directive("ssl_protocols", *tls.protocols),
        directive("ssl_ciphers", Literal(tls.ciphers)),
        directive("ssl_prefer_server_ciphers", on(tls.prefer_server_ciphers)),
        directive("ssl_session_cache", *cache),
        directive("ssl_session_tickets", on(tls.session_tickets)),
        directive("ssl_session_timeout", f"{tls.session_timeout}s"),
    )


def _blocks(settings: ControllerSettings) -> Config:
    """Clients, agents and referers that the operator shuts out everywhere; each server asks."""
    lines: list[Line] = []
    if settings.block_cidrs:
        clients = (entry("default", 0), *(entry(prefix(each), 1) for each in settings.block_cidrs))
        lines.append(block("geo", variable("remote_addr"), variable(BLOCKED_CLIENT), of=clients))
    for source, name, values in (
        ("http_user_agent", BLOCKED_AGENT, settings.block_user_agents),
        ("http_referer", BLOCKED_REFERER, settings.block_referers),
    ):
        if values:
            entries = (entry("default", 0), *(entry(Literal(each), 1) for each in values))
            lines.append(block("map", variable(source), variable(name), of=entries))
    return tuple(lines)


def _gzip(settings: ControllerSettings) -> Config:
    types = settings.gzip_types or (
        "application/javascript", "application/json", "application/xml", "text/css", "text/plain", "image/svg+xml",
    )  # fmt: skip
    return (
        directive("gzip", "on"),
        directive("gzip_comp_level", settings.gzip_level),
        directive("gzip_min_length", settings.gzip_min_length),
        directive("gzip_proxied", "any"),
        directive("gzip_vary", "on"),
        directive("gzip_types", *types),
    )
