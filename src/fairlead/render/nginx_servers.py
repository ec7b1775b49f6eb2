"""One server of the model as NGINX's server blocks: names, listeners, TLS, locations, and the redirect from www."""

import re

from fairlead.model.route_settings import ControllerSettings
from fairlead.model.route_tls import CertificateId, ClientCertificates, VerifyClient
from fairlead.model.routes import Server
from fairlead.nginx import Argument, Config, Directive, Literal, Raw, Template, block, directive
from fairlead.nginx.tree import Dollar, Line, variable
from fairlead.render.nginx_locations import Surroundings, render_location
from fairlead.render.nginx_text import on, plain

CERTIFICATE = 'require("fairlead_certificates").set()'


def render_server(server: Server, around: Surroundings) -> Config:
    """The server, and the one that redirects its other name."""
    settings = around.settings
    lines: list[Line] = [
        *listeners(settings, first=not server.host),
        directive("server_name", *names(server.host, *server.aliases)),
        *_tls(server, around),
    ]
    if settings.server_snippet:
        lines.append(Raw(settings.server_snippet))
    if server.snippet:
        lines.append(Raw(server.snippet))
    if not server.host:
        lines.append(_healthz())
    locations = [line for location in server.locations for line in render_location(server, location, around)]
    lines += _refusing(server, locations, around)
    if not any(_is_root(each) for each in locations):
        lines.append(block("location", "/", of=(directive("return", 404),)))
    found = [block("server", of=tuple(lines))]
    if server.www is not None:
        found.append(_www(server, around))
    return tuple(found)


def default_server(settings: ControllerSettings) -> Directive:
    """The server of all other names, where no Ingress has one."""
    lines = (
        *listeners(settings, first=True),
        directive("server_name", "_"),
        block("ssl_certificate_by_lua_block", of=(Raw(CERTIFICATE),)),
        *((directive("ssl_reject_handshake", "on"),) if settings.tls.reject_handshake else ()),
        _healthz(),
        block("location", "/", of=(directive("return", 404),)),
    )
    return block("server", of=lines)


def listeners(settings: ControllerSettings, *, first: bool) -> Config:
    """`listen` for both ports and families; `first` makes it the server of unknown names."""
    words = [*(("default_server", "reuseport", "backlog=4096") if first else ())]
    proxied = ["proxy_protocol"] if settings.client.use_proxy_protocol else []
    secure = ["ssl", *(["http2"] if settings.http2 else [])]
    hosts = settings.bind_addresses or (("", "[::]") if settings.ipv6 else ("",))
    lines: list[Line] = []
    for host in hosts:
        place = f"{host}:" if host else ""
        lines.append(directive("listen", f"{place}{settings.http_port}", *words, *proxied))
        lines.append(directive("listen", f"{place}{settings.https_port}", *words, *secure, *proxied))
    return tuple(lines)


def names(*hosts: str) -> tuple[Argument, ...]:
    """Names as `server_name` takes them; a wildcard stands for exactly one label (reference 1.4, rule 7)."""
    found: list[Argument] = []
    for host in hosts:
        if not host:
            found.append(Literal("_"))
        elif host.startswith("*."):
            found.append(Literal(rf"~^[\w-]+\.{re.escape(host[2:])}$"))
        else:
            found.append(Literal(host))
    return tuple(found)


def _tls(server: Server, around: Surroundings) -> Config:
    lines: list[Line] = [block("ssl_certificate_by_lua_block", of=(Raw(CERTIFICATE),))]
    tls = server.tls
    if tls is not None and tls.ciphers is not None:
        lines.append(directive("ssl_ciphers", Literal(tls.ciphers)))
    if tls is not None and tls.prefer_server_ciphers is not None:
        lines.append(directive("ssl_prefer_server_ciphers", on(tls.prefer_server_ciphers)))
    clients = server.client_certificates
    if clients is not None:
        lines += _client_certificates(clients, around)
    return tuple(lines)


def _client_certificates(clients: ClientCertificates, around: Surroundings) -> list[Line]:
    file = None if clients.ca is None else around.bundles.authorities.get(clients.ca)
    if clients.verify is VerifyClient.OFF:
        return [directive("ssl_verify_client", "off")]
    if file is None:
        return []
    lines: list[Line] = [
        directive("ssl_client_certificate", Literal(file)),
        directive("ssl_verify_client", clients.verify.value),
        directive("ssl_verify_depth", clients.depth),
    ]
    if clients.error_page is not None:
        lines.append(directive("error_page", 495, 496, "=", plain(clients.error_page)))
    return lines


def _refusing(server: Server, locations: list[Line], around: Surroundings) -> Config:
    """The locations, or a 403 for everything where client certificates are asked for that nobody can check."""
    clients = server.client_certificates
    if clients is None or clients.verify is VerifyClient.OFF:
        return tuple(locations)
    if clients.ca is None or clients.ca not in around.bundles.authorities:
        return (block("location", "/", of=(directive("return", 403),)),)
    return tuple(locations)


def _www(server: Server, around: Surroundings) -> Directive:
    assert server.www is not None
    settings = around.settings
    port = ()
    if settings.https_port != 443 and server.tls is not None:
        port = (f":{settings.https_port}",)
    target = Template((Dollar("fairlead_scheme"), "://", server.host, *port, Dollar("request_uri")))
    lines = (
        *listeners(settings, first=False),
        directive("server_name", *names(server.www)),
        block("ssl_certificate_by_lua_block", of=(Raw(CERTIFICATE),)),
        directive("return", settings.tls.redirect_status, target),
    )
    return block("server", of=lines)


def _healthz() -> Directive:
    lines = (
        directive("access_log", "off"),
        directive("set", variable("fairlead_location"), Literal("")),
        directive("return", 200),
    )
    return block("location", "=", "/healthz", of=lines)


def _is_root(each: object) -> bool:
    return isinstance(each, Directive) and each.arguments[:1] == (Literal("/"),)


def certificates_of(servers: tuple[Server, ...]) -> frozenset[CertificateId]:
    """The authorities that servers check clients with."""
    return frozenset(
        each.client_certificates.ca
        for each in servers
        if each.client_certificates is not None and each.client_certificates.ca is not None
    )
