"""What the operator set for the whole ingress controller: its ConfigMap, parsed. Sizes are bytes, times seconds.

Defaults are ingress-nginx's (reference 1.2). What is a default for a location or an upstream (`proxy`, `limits`...) is
already put into each of them by compile; here is only what NGINX is told once.
"""

from enum import Enum

from msgspec import Struct

from fairlead.model.route_tls import CertificateId
from fairlead.net import Prefix


class LogEscape(Enum):
    """How values are escaped in the access log (`log_format ... escape=`)."""

    DEFAULT = "default"
    JSON = "json"
    NONE = "none"


class AccessLog(Struct, frozen=True, kw_only=True):
    """The access log. `format` is NGINX's log format, the operator's own text; empty means ingress-nginx's format."""

    enabled: bool = True
    path: str = "/dev/stdout"
    format: str = ""
    escape: LogEscape = LogEscape.DEFAULT
    skip_urls: tuple[str, ...] = ()


class ClientAddress(Struct, frozen=True, kw_only=True):
    """Whom to believe about a client's address: X-Forwarded headers or the PROXY protocol of `trusted` peers."""

    use_forwarded_headers: bool = False
    compute_full_forwarded_for: bool = False
    header: str = "X-Forwarded-For"
    use_real_ip: bool = False
    use_proxy_protocol: bool = False
    trusted: tuple[Prefix, ...] = ()


class TlsSettings(Struct, frozen=True, kw_only=True):
    """TLS of all servers. The default ciphers are Mozilla's intermediate list (version 5.7)."""

    protocols: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")
    ciphers: str = (
        "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
        "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
    )
    prefer_server_ciphers: bool = True
    session_cache: bool = True
    session_cache_size: int = 10 * 1024 * 1024
    session_tickets: bool = False
    session_timeout: int = 600
    reject_handshake: bool = False
    stapling: bool = False
    default_certificate: CertificateId | None = None
    hsts: bool = True
    hsts_max_age: int = 31536000
    hsts_include_subdomains: bool = True
    hsts_preload: bool = False
    redirect_status: int = 308
    no_redirect_locations: tuple[str, ...] = ("/.well-known/acme-challenge",)


class ControllerSettings(Struct, frozen=True, kw_only=True):
    """Everything global. `worker_processes` 0 is one a processor. Snippets are the operator's own configuration.

    Workers of an earlier configuration finish what they have for `worker_shutdown_timeout` seconds: an hour, where
    ingress-nginx's four minutes cut WebSockets after any change (kubernetes/ingress-nginx 8977).
    """

    worker_processes: int = 0
    worker_connections: int = 16384
    worker_shutdown_timeout: int = 3600
    http_port: int = 80
    https_port: int = 443
    ipv6: bool = True
    bind_addresses: tuple[str, ...] = ()
    http2: bool = True
    http2_max_streams: int = 128
    keepalive_timeout: int = 75
    keepalive_requests: int = 1000
    client_header_buffer_size: int = 1024
    large_client_header_buffers: tuple[int, int] = (4, 8192)
    client_header_timeout: int = 60
    client_body_timeout: int = 60
    upstream_keepalive_requests: int = 10000
    upstream_keepalive_timeout: int = 60
    upstream_keepalive_time: int = 3600
    server_names_hash_bucket_size: int = 0
    server_names_hash_max_size: int = 0
    underscores_in_headers: bool = False
    ignore_invalid_headers: bool = True
    server_tokens: bool = False
    generate_request_id: bool = True
    gzip: bool = False
    gzip_level: int = 1
    gzip_min_length: int = 256
    gzip_types: tuple[str, ...] = ()
    block_cidrs: tuple[Prefix, ...] = ()
    block_user_agents: tuple[str, ...] = ()
    block_referers: tuple[str, ...] = ()
    error_log_level: str = "notice"
    access_log: AccessLog = AccessLog()
    client: ClientAddress = ClientAddress()
    tls: TlsSettings = TlsSettings()
    snippets_allowed: bool = False
    main_snippet: str = ""
    http_snippet: str = ""
    server_snippet: str = ""
    location_snippet: str = ""
    stream_snippet: str = ""
