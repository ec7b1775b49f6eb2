"""One server of the model as NGINX's server blocks: names, listeners, TLS, locations, and the redirect from www."""

import re
from collections.abc import Sequence

from fairlead.model.route_settings import ControllerSettings
from fairlead.model.route_tls import CertificateId, ClientCertificates, VerifyClient
from fairlead.model.routes import Location, Match, Server
from fairlead.nginx import Argument, Config, Directive, Literal, Lua, Raw, Template, Word, block, directive, entry
from fairlead.nginx.tree import Dollar, Line, variable, when
from fairlead.render.nginx_http import BLOCKED_AGENT, BLOCKED_CLIENT, BLOCKED_REFERER
from fairlead.render.nginx_locations import matchers, render_location
from fairlead.render.nginx_names import scope_id
from fairlead.render.nginx_surroundings import Surroundings
from fairlead.render.nginx_text import on, plain

CERTIFICATE = 'require("fairlead_certificates").set()'


def render_server(server: Server, around: Surroundings) -> Config:
    """The server, and the one that redirects its other name."""
    settings = around.settings
    lines: list[Line] = [
        *listeners(settings, first=not server.host),
        directive("server_name", *names(server.host, *server.aliases)),
        *_tls(server, around),
        *_refused_everywhere(settings),
    ]
    if settings.tls.reject_handshake and not server.host:
        lines.append(directive("ssl_reject_handshake", "on"))
    if settings.server_snippet:
        lines.append(Raw(settings.server_snippet))
    if server.snippet and settings.snippets_allowed:
        lines.append(Raw(server.snippet))
    lines += _locations(server, around)
    found = [block("server", of=tuple(lines))]
    if server.www is not None:
        found.append(_www(server, around))
    return tuple(found)


def _locations(server: Server, around: Surroundings) -> Config:
    """Each location once: NGINX refuses a second of the same match, so the first one declared is it.

    What a prefix without a slash at its end becomes (`/p/` and `= /p`) gives way to a path that is named just so.
    """
    clients = server.client_certificates
    if clients is not None and _unusable(clients, around):
        return (block("location", "/", of=(directive("return", 403),)),)
    ours = () if server.host else (_healthz(),)
    rendered: list[Line] = [*ours]
    named = {_words(each) for location in server.locations if not _doubled(location) for each in matchers(location)}
    for location in server.locations:
        gives_way = named if _doubled(location) else frozenset[object]()
        rendered += [
            line
            for line in render_location(server, location, around)
            if not (isinstance(line, Directive) and _words(line.arguments) in gives_way)
        ]
    found: dict[object, Line] = {}
    for line in rendered:
        found.setdefault(_words(line.arguments) if isinstance(line, Directive) else line, line)
    return tuple(found.values())


def _doubled(location: Location) -> bool:
    """Whether a location becomes two."""
    return location.match is Match.PREFIX and not location.path.endswith("/")


def _words(arguments: Sequence[Argument | str]) -> tuple[object, ...]:
    return tuple(each.text if isinstance(each, Word) else each for each in arguments)


def _refused_everywhere(settings: ControllerSettings) -> Config:
    """Clients, agents and referers that the operator shuts out."""
    asked = (
        (BLOCKED_CLIENT, settings.block_cidrs),
        (BLOCKED_AGENT, settings.block_user_agents),
        (BLOCKED_REFERER, settings.block_referers),
    )
    return tuple(when(name, directive("return", 403)) for name, values in asked if values)


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
    lines: list[Line] = [block("ssl_certificate_by_lua_block", of=(Lua(CERTIFICATE),))]
    tls = server.tls
    if tls is not None and tls.ciphers is not None:
        lines.append(directive("ssl_ciphers", Literal(tls.ciphers)))
    if tls is not None and tls.prefer_server_ciphers is not None:
        lines.append(directive("ssl_prefer_server_ciphers", on(tls.prefer_server_ciphers)))
    clients = server.client_certificates
    if clients is not None and clients.verify is not VerifyClient.OFF and not _unusable(clients, around):
        lines += _client_certificates(clients, around)
    return tuple(lines)


def _unusable(clients: ClientCertificates, around: Surroundings) -> bool:
    """Whether certificates are asked for that nobody can check."""
    if clients.verify is VerifyClient.OFF:
        return False
    return clients.ca is None or clients.ca not in around.bundles.authorities


def _client_certificates(clients: ClientCertificates, around: Surroundings) -> list[Line]:
    assert clients.ca is not None
    lines: list[Line] = [
        directive("ssl_client_certificate", Literal(around.bundles.authorities[clients.ca])),
        directive("ssl_verify_client", clients.verify.value),
        directive("ssl_verify_depth", clients.depth),
    ]
    if clients.ca in around.bundles.revocations:
        lines.append(directive("ssl_crl", Literal(around.bundles.revocations[clients.ca])))
    if clients.error_page is not None:
        lines.append(directive("error_page", 495, 496, "=", plain(clients.error_page)))
    if clients.match_common_name is not None:
        name = "client_" + scope_id(clients.match_common_name)
        wanted = entry(Literal("~" + clients.match_common_name), 0)
        around.needs.map(variable("ssl_client_s_dn"), name, (entry("default", 1), wanted))
        lines.append(when(name, directive("return", 403)))
    return lines


def _www(server: Server, around: Surroundings) -> Directive:
    assert server.www is not None
    settings = around.settings
    port = ()
    if settings.https_port != 443 and server.tls is not None:
        port = (f":{settings.https_port}",)
    target = Template((Dollar(around.names["fairlead_scheme"]), "://", server.host, *port, Dollar("request_uri")))
    lines = (
        *listeners(settings, first=False),
        directive("server_name", *names(server.www)),
        block("ssl_certificate_by_lua_block", of=(Lua(CERTIFICATE),)),
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


def certificates_of(servers: tuple[Server, ...]) -> frozenset[CertificateId]:
    """The authorities that servers check clients with."""
    return frozenset(
        each.client_certificates.ca
        for each in servers
        if each.client_certificates is not None and each.client_certificates.ca is not None
    )
