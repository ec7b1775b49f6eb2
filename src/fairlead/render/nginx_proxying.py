"""How a location hands a request to its upstream: proxy, gRPC and FastCGI directives.

Source: reference 1.1 and 1.2; the headers are those ingress-nginx sets.
"""

from fairlead.model.route_proxy import BackendProtocol, ProxySettings
from fairlead.model.route_tls import CertificateId
from fairlead.model.routes import Location
from fairlead.nginx import Config, Directive, Literal, directive, template, variable
from fairlead.nginx.tree import Dollar, Line
from fairlead.render.nginx_needs import Needs
from fairlead.render.nginx_text import on, plain, template_of

_GRPC = (BackendProtocol.GRPC, BackendProtocol.GRPCS)
_TLS = (BackendProtocol.HTTPS, BackendProtocol.GRPCS)


class Bundles:
    """Where the files of upstream certificates and authorities are."""

    def __init__(self, pairs: dict[CertificateId, str], authorities: dict[CertificateId, str]) -> None:
        self.pairs = pairs
        self.authorities = authorities


def render_passing(location: Location, upstream: str, bundles: Bundles, needs: Needs) -> Config:
    """The directives that pass requests to the upstream block of that name."""
    proxy = location.proxy
    match proxy.protocol:
        case BackendProtocol.GRPC | BackendProtocol.GRPCS:
            scheme = "grpcs" if proxy.protocol is BackendProtocol.GRPCS else "grpc"
            lines = [*_timeouts(proxy, "grpc"), *_headers(location, "grpc"), *_upstream_tls(proxy, "grpc", bundles)]
            return (*lines, directive("grpc_pass", f"{scheme}://{upstream}"))
        case BackendProtocol.FCGI:
            return (*_timeouts(proxy, "fastcgi"), *_fastcgi(proxy), directive("fastcgi_pass", upstream))
        case _:
            pass_to = {
                BackendProtocol.HTTP: template(f"http://{upstream}"),
                BackendProtocol.HTTPS: template(f"https://{upstream}"),
                BackendProtocol.AUTO_HTTP: template(Dollar("scheme"), f"://{upstream}"),
            }[proxy.protocol]
            return (
                *_timeouts(proxy, "proxy"),
                *_buffers(proxy),
                *_headers(location, "proxy"),
                *_answers(proxy),
                *_upstream_tls(proxy, "proxy", bundles),
                directive("proxy_pass", pass_to),
            )


def _timeouts(proxy: ProxySettings, family: str) -> Config:
    lines = [
        directive(f"{family}_connect_timeout", f"{proxy.connect_timeout}s"),
        directive(f"{family}_send_timeout", f"{proxy.send_timeout}s"),
        directive(f"{family}_read_timeout", f"{proxy.read_timeout}s"),
        directive(f"{family}_next_upstream", *proxy.next_upstream),
        directive(f"{family}_next_upstream_timeout", proxy.next_upstream_timeout),
        directive(f"{family}_next_upstream_tries", proxy.next_upstream_tries),
    ]
    return tuple(lines)


def _buffers(proxy: ProxySettings) -> Config:
    lines = [
        directive("proxy_buffering", on(proxy.buffering)),
        directive("proxy_request_buffering", on(proxy.request_buffering)),
        directive("proxy_buffer_size", proxy.buffer_size),
        directive("proxy_buffers", max(2, proxy.buffers_number), proxy.buffer_size),
        directive("proxy_max_temp_file_size", proxy.max_temp_file_size),
        directive("proxy_http_version", proxy.http_version),
    ]
    if proxy.busy_buffers_size is not None:
        lines.append(directive("proxy_busy_buffers_size", proxy.busy_buffers_size))
    return tuple(lines)


def _headers(location: Location, family: str) -> Config:
    proxy = location.proxy
    name = f"{family}_set_header"
    given = {header.lower() for header, _ in proxy.request_headers}
    host = variable("fairlead_host") if proxy.host is None else template_of(proxy.host)
    connection = variable("fairlead_connection") if proxy.connection is None else plain(proxy.connection)
    set_headers = {
        "Host": host,
        "Upgrade": variable("http_upgrade"),
        "Connection": connection,
        "X-Request-ID": variable("fairlead_request_id"),
        "X-Real-IP": variable("remote_addr"),
        "X-Forwarded-For": variable("fairlead_forwarded_for"),
        "X-Forwarded-Host": variable("fairlead_forwarded_host"),
        "X-Forwarded-Port": variable("fairlead_port"),
        "X-Forwarded-Proto": variable("fairlead_scheme"),
        "X-Forwarded-Scheme": variable("fairlead_scheme"),
        "X-Scheme": variable("fairlead_scheme"),
        "X-Original-Forwarded-For": variable("http_x_forwarded_for"),
        "Proxy": plain(""),
    }
    if family == "grpc":
        set_headers = {key: value for key, value in set_headers.items() if key not in ("Upgrade", "Connection")}
    if location.basic_auth is not None:
        set_headers["Authorization"] = plain("")
    if proxy.forwarded_prefix is not None and location.rewrite is not None:
        set_headers["X-Forwarded-Prefix"] = plain(proxy.forwarded_prefix)
    lines: list[Line] = [
        directive(name, header, value) for header, value in set_headers.items() if header.lower() not in given
    ]
    lines += [directive(name, Literal(header), template_of(value)) for header, value in proxy.request_headers]
    lines += [directive(f"{family}_hide_header", Literal(header)) for header in proxy.hide_headers]
    lines += [directive(f"{family}_pass_header", Literal(header)) for header in proxy.pass_headers]
    return tuple(lines)


def _answers(proxy: ProxySettings) -> Config:
    def rewriting(name: str, pair: tuple[str, str] | None) -> Directive:
        return directive(name, "off") if pair is None else directive(name, plain(pair[0]), plain(pair[1]))

    if proxy.redirect is not None and proxy.redirect[0] == "default":
        redirect = directive("proxy_redirect", "default")
    else:
        redirect = rewriting("proxy_redirect", proxy.redirect)
    return (
        redirect,
        rewriting("proxy_cookie_domain", proxy.cookie_domain),
        rewriting("proxy_cookie_path", proxy.cookie_path),
    )


def _upstream_tls(proxy: ProxySettings, family: str, bundles: Bundles) -> Config:
    tls = proxy.tls
    if tls is None:
        return (directive(f"{family}_ssl_server_name", "off"),) if proxy.protocol in _TLS else ()
    lines = [
        directive(f"{family}_ssl_verify", on(tls.verify)),
        directive(f"{family}_ssl_verify_depth", tls.verify_depth),
        directive(f"{family}_ssl_server_name", on(tls.server_name)),
        directive(f"{family}_ssl_protocols", *tls.protocols),
        directive(f"{family}_ssl_ciphers", Literal(tls.ciphers)),
    ]
    if tls.name is not None:
        lines.append(directive(f"{family}_ssl_name", plain(tls.name)))
    if tls.certificate is not None and (file := bundles.pairs.get(tls.certificate)):
        lines.append(directive(f"{family}_ssl_certificate", Literal(file)))
        lines.append(directive(f"{family}_ssl_certificate_key", Literal(file)))
    if tls.ca is not None and (file := bundles.authorities.get(tls.ca)):
        lines.append(directive(f"{family}_ssl_trusted_certificate", Literal(file)))
    return tuple(lines)


_FASTCGI = {
    "QUERY_STRING": "query_string",
    "REQUEST_METHOD": "request_method",
    "CONTENT_TYPE": "content_type",
    "CONTENT_LENGTH": "content_length",
    "SCRIPT_NAME": "fastcgi_script_name",
    "SCRIPT_FILENAME": "fastcgi_script_name",
    "REQUEST_URI": "request_uri",
    "DOCUMENT_URI": "document_uri",
    "SERVER_PROTOCOL": "server_protocol",
    "REQUEST_SCHEME": "scheme",
    "REMOTE_ADDR": "remote_addr",
    "REMOTE_PORT": "remote_port",
    "SERVER_ADDR": "server_addr",
    "SERVER_PORT": "server_port",
    "SERVER_NAME": "host",
}
"""Debian's fastcgi_params; without a document root, the script's file is its name."""


def _fastcgi(proxy: ProxySettings) -> Config:
    settings = proxy.fastcgi
    given = {name: template_of(value) for name, value in settings.parameters} if settings is not None else {}
    parameters = {name: variable(source) for name, source in _FASTCGI.items()} | given
    lines = [directive("fastcgi_param", Literal(name), value) for name, value in parameters.items()]
    lines.append(directive("fastcgi_param", Literal("GATEWAY_INTERFACE"), Literal("CGI/1.1")))
    if settings is not None and settings.index:
        lines.append(directive("fastcgi_index", plain(settings.index)))
    return tuple(lines)
