"""How a location hands a request to its upstream: proxy, gRPC and FastCGI directives.

Source: reference 1.1 and 1.2; the headers are those ingress-nginx sets.
"""

from collections.abc import Mapping

from fairlead.model.origins import Origin
from fairlead.model.route_proxy import BackendProtocol, ProxySettings
from fairlead.model.route_rules import Refuse
from fairlead.model.route_tls import VerifyClient
from fairlead.model.routes import Location, Match, Server
from fairlead.nginx import Config, Directive, Literal, Template, directive, template, variable
from fairlead.nginx.tree import Dollar
from fairlead.render.nginx_answers import replaced_headers
from fairlead.render.nginx_guards import copied_headers
from fairlead.render.nginx_names import scope_id
from fairlead.render.nginx_surroundings import Bundles, Surroundings
from fairlead.render.nginx_text import on, plain, template_of

_TLS = (BackendProtocol.HTTPS, BackendProtocol.GRPCS)
_FORWARDED = {
    "X-Request-ID": "fairlead_request_id",
    "X-Real-IP": "remote_addr",
    "X-Forwarded-For": "fairlead_forwarded_for",
    "X-Forwarded-Host": "fairlead_forwarded_host",
    "X-Forwarded-Port": "fairlead_port",
    "X-Forwarded-Proto": "fairlead_scheme",
    "X-Forwarded-Scheme": "fairlead_scheme",
    "X-Scheme": "fairlead_scheme",
    "X-Original-Forwarded-For": "http_x_forwarded_for",
}


def render_passing(server: Server, location: Location, keepalive: int, around: Surroundings) -> Config:
    """The directives that pass requests to an upstream block that keeps `keepalive` idle connections."""
    proxy, needs = location.proxy, around.needs
    match proxy.protocol:
        case BackendProtocol.GRPC | BackendProtocol.GRPCS:
            scheme = "grpcs" if proxy.protocol is BackendProtocol.GRPCS else "grpc"
            tls = _upstream_tls(proxy, "grpc", around.bundles) if proxy.protocol in _TLS else ()
            pool = needs.pool(keepalive, "grpc" + _kind(tls))
            return (
                *_timeouts(proxy, "grpc"),
                *_body(proxy),
                *_headers(server, location, "grpc", around.names),
                *_hidden(server, location, "grpc"),
                *tls,
                directive("grpc_pass", f"{scheme}://{pool}"),
            )
        case BackendProtocol.FCGI:
            lines = (
                *_timeouts(proxy, "fastcgi"),
                *_body(proxy),
                *_fastcgi(server, location),
                *_hidden(server, location, "fastcgi"),
            )
            return (*lines, directive("fastcgi_pass", needs.pool(0)))
        case _:
            secure = proxy.protocol is not BackendProtocol.HTTP
            tls = _upstream_tls(proxy, "proxy", around.bundles) if secure else ()
            pool = needs.pool(keepalive, "tls" + _kind(tls) if secure else "")
            scheme = Dollar("scheme") if proxy.protocol is BackendProtocol.AUTO_HTTP else "https" if secure else "http"
            return (
                *_differing(proxy, around),
                *(() if _has_usual_headers(server, location) else _headers(server, location, "proxy", around.names)),
                *_hidden(server, location, "proxy"),
                *tls,
                directive("proxy_pass", template(scheme, f"://{pool}")),
            )


def render_shared(names: Mapping[str, str]) -> Config:
    """What holds at the level of `http` for every location that passes requests on, unless it says otherwise.

    A location with a header of its own says all of them: NGINX takes the outer ones only where there is none.
    """
    nobody = Origin("", "", "")
    usual = Location(path="/", match=Match.PREFIX, action=Refuse(404, ""), origin=nobody)
    server = Server(host="", locations=(), origin=nobody)
    return (*_settings(usual.proxy), *_headers(server, usual, "proxy", names))


def _settings(proxy: ProxySettings) -> Config:
    return (
        *_timeouts(proxy, "proxy"),
        *_buffers(proxy),
        *_answers(proxy),
        *_body(proxy),
    )


def _body(proxy: ProxySettings) -> Config:
    return (
        directive("client_max_body_size", proxy.body_size),
        directive("client_body_buffer_size", proxy.client_body_buffer_size),
    )


def _differing(proxy: ProxySettings, around: Surroundings) -> Config:
    """The settings that are not those of `http`."""
    if proxy == ProxySettings():
        return ()
    return tuple(each for each in _settings(proxy) if each not in around.shared)


def _has_usual_headers(server: Server, location: Location) -> bool:
    proxy = location.proxy
    return (
        proxy.host is None
        and proxy.connection is None
        and proxy.forwarded_prefix is None
        and not proxy.request_headers
        and location.basic_auth is None
        and server.client_certificates is None
        and (location.external_auth is None or not location.external_auth.response_headers)
    )


def _kind(tls: Config) -> str:
    return "_" + scope_id(repr(tls)) if tls else ""


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


def _headers(server: Server, location: Location, family: str, names: Mapping[str, str]) -> Config:
    """The request's headers: ours, then what the operator or the auth service sets, which replaces ours."""
    proxy = location.proxy
    connection = variable("fairlead_connection") if proxy.connection is None else plain(proxy.connection)
    found: dict[str, tuple[str, Template]] = {}

    def put(header: str, value: Template) -> None:
        found[header.lower()] = (header, value)

    put("Host", variable(names["fairlead_forwarded_host"]) if proxy.host is None else template_of(proxy.host))
    if family == "proxy":
        put("Upgrade", variable("http_upgrade"))
        put("Connection", connection)
    for header, source in _FORWARDED.items():
        put(header, variable(names.get(source, source)))
    put("Proxy", plain(""))
    if location.basic_auth is not None:
        put("Authorization", plain(""))
    if proxy.forwarded_prefix is not None and location.rewrite is not None:
        put("X-Forwarded-Prefix", plain(proxy.forwarded_prefix))
    clients = server.client_certificates
    if clients is not None and clients.verify is not VerifyClient.OFF:
        put("ssl-client-cert", variable("ssl_client_escaped_cert") if clients.pass_to_upstream else plain(""))
        put("ssl-client-verify", variable("ssl_client_verify"))
        put("ssl-client-subject-dn", variable("ssl_client_s_dn"))
        put("ssl-client-issuer-dn", variable("ssl_client_i_dn"))
    for header, value in proxy.request_headers:
        put(header, template_of(value))
    for header, value in copied_headers(server, location):
        put(header, value)
    return tuple(directive(f"{family}_set_header", Literal(header), value) for header, value in found.values())


def _hidden(server: Server, location: Location, family: str) -> Config:
    hidden = dict.fromkeys((*replaced_headers(server, location), *location.proxy.hide_headers))
    return (
        *(directive(f"{family}_hide_header", Literal(header)) for header in hidden),
        *(directive(f"{family}_pass_header", Literal(header)) for header in location.proxy.pass_headers),
    )


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
        return (directive(f"{family}_ssl_server_name", "off"),)
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


def _fastcgi(server: Server, location: Location) -> Config:
    settings = location.proxy.fastcgi
    given = {name: template_of(value) for name, value in settings.parameters} if settings is not None else {}
    copied = {"HTTP_" + each.upper().replace("-", "_"): value for each, value in copied_headers(server, location)}
    parameters = {name: variable(source) for name, source in _FASTCGI.items()} | given | copied
    lines = [directive("fastcgi_param", Literal(name), value) for name, value in parameters.items()]
    lines.append(directive("fastcgi_param", Literal("GATEWAY_INTERFACE"), Literal("CGI/1.1")))
    if settings is not None and settings.index:
        lines.append(directive("fastcgi_index", plain(settings.index)))
    return tuple(lines)
