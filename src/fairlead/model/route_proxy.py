"""How requests are handed to an upstream, and answers taken from it. Sizes are bytes, times are seconds."""

from enum import Enum

from msgspec import Struct

from fairlead.model.route_text import Text
from fairlead.model.route_tls import CertificateId


class BackendProtocol(Enum):
    """What an upstream speaks (backend-protocol). AUTO_HTTP is what the client spoke."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"
    AUTO_HTTP = "AUTO_HTTP"
    GRPC = "GRPC"
    GRPCS = "GRPCS"
    FCGI = "FCGI"


class UpstreamTls(Struct, frozen=True, kw_only=True):
    """TLS towards the upstream. `certificate` is shown to it; `ca` is what its own is verified with."""

    certificate: CertificateId | None = None
    ca: CertificateId | None = None
    verify: bool = False
    verify_depth: int = 1
    name: str | None = None
    server_name: bool = False
    protocols: tuple[str, ...] = ("TLSv1.2",)
    ciphers: str = "DEFAULT"


class FastCgi(Struct, frozen=True):
    """FastCGI parameters besides NGINX's own; `index` follows a path that ends with a slash."""

    index: str = ""
    parameters: tuple[tuple[str, Text], ...] = ()


class ProxySettings(Struct, frozen=True, kw_only=True):
    """The defaults are ingress-nginx's (reference 1.1 and 1.2).

    `body_size` 0 is unlimited. `next_upstream` are NGINX's own words. `cookie_domain`, `cookie_path` and `redirect` are
    pairs (from, to); `redirect` None is `off`. `host` None passes the client's Host. `connection` None upgrades
    WebSocket connections and otherwise keeps the connection to the upstream open.
    """

    protocol: BackendProtocol = BackendProtocol.HTTP
    body_size: int = 1024 * 1024
    connect_timeout: int = 5
    read_timeout: int = 60
    send_timeout: int = 60
    buffering: bool = False
    request_buffering: bool = True
    buffer_size: int = 4096
    buffers_number: int = 4
    busy_buffers_size: int | None = None
    max_temp_file_size: int = 1024 * 1024 * 1024
    client_body_buffer_size: int = 8192
    http_version: str = "1.1"
    next_upstream: tuple[str, ...] = ("error", "timeout")
    next_upstream_tries: int = 3
    next_upstream_timeout: int = 0
    cookie_domain: tuple[str, str] | None = None
    cookie_path: tuple[str, str] | None = None
    redirect: tuple[str, str] | None = None
    host: Text | None = None
    forwarded_prefix: str | None = None
    connection: str | None = None
    request_headers: tuple[tuple[str, Text], ...] = ()
    hide_headers: tuple[str, ...] = ()
    pass_headers: tuple[str, ...] = ()
    tls: UpstreamTls | None = None
    fastcgi: FastCgi | None = None
