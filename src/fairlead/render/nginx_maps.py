"""The variables that locations use: what the client asked for and came by, as maps of NGINX's own variables.

Source: reference 1.1 and 1.2 (forwarded headers, HSTS, redirects).
"""

from fairlead.model.route_settings import ControllerSettings
from fairlead.model.route_upstreams import UpstreamKey
from fairlead.model.routes import Routing, ToUpstream
from fairlead.nginx import Config, Directive, Dollar, Literal, Template, Word, block, entry, variable
from fairlead.nginx.writer import DOLLAR
from fairlead.render.nginx_names import location_id
from fairlead.render.nginx_text import plain

_EMPTY = Literal("")
_NAMES = ("namespace", "ingress_name", "service_name", "service_port", "location_path", "proxy_upstream_name")
_ALIASES = {
    "req_id": "fairlead_request_id",
    "the_real_ip": "remote_addr",
    "best_http_host": "fairlead_forwarded_host",
    "pass_access_scheme": "fairlead_scheme",
    "pass_server_port": "fairlead_port",
    "pass_port": "fairlead_port",
    "connection_upgrade": "fairlead_connection",
}
"""ingress-nginx's names for variables of ours, for log formats and snippets that use them."""


def render_maps(settings: ControllerSettings) -> Config:
    """The maps, all at the level of `http`; each is computed only when somebody asks."""
    request_id = variable("request_id") if settings.generate_request_id else _EMPTY
    return (
        block("geo", variable(DOLLAR), of=(entry("default", Literal("$")),)),
        block("geo", variable("fairlead_none"), of=(entry("default", _EMPTY),)),
        _map("http_upgrade", "fairlead_connection", Word("upgrade"), (_EMPTY, _EMPTY)),
        _map("http_host", "fairlead_host", variable("http_host"), (_EMPTY, variable("host"))),
        _map("fairlead_scheme", "fairlead_insecure", Word("0"), (Word("http"), Word("1"))),
        _map("fairlead_scheme", "fairlead_hsts", _EMPTY, (Word("https"), plain(_hsts(settings)))),
        _map("uri", "fairlead_is_root", Word("0"), (Literal("/"), Word("1"))),
        _map("http_x_request_id", "fairlead_request_id", variable("http_x_request_id"), (_EMPTY, request_id)),
        _map(
            "request_uri",
            "fairlead_trimmed_uri",
            variable("request_uri"),
            (Literal("~^(?<fairlead_kept>.*)/$"), variable("fairlead_kept")),
        ),
        *_forwarded(settings),
        *(_map(source, name, variable(source)) for name, source in _ALIASES.items()),
    )


def _forwarded(settings: ControllerSettings) -> Config:
    """What is believed of X-Forwarded headers, and of the PROXY protocol."""
    client = settings.client
    trusting = client.use_forwarded_headers
    own_port = "proxy_protocol_server_port" if client.use_proxy_protocol else "server_port"
    scheme = "http_x_forwarded_proto" if trusting else "scheme"
    port = "http_x_forwarded_port" if trusting else own_port
    host = "http_x_forwarded_host" if trusting else "fairlead_host"
    first = (Literal("~^(?<fairlead_first>[^,]+)"), variable("fairlead_first"))
    named = (Literal("~^(?<fairlead_named>[^,:]+)"), variable("fairlead_named"))
    https, http = (Literal("~*^https"), Word("https")), (Literal("~*^http$"), Word("http"))
    return (
        _map(scheme, "fairlead_scheme", variable("scheme"), https, http),
        _map(port, "fairlead_port", variable(port), (_EMPTY, variable(own_port))),
        _map(host, "fairlead_forwarded_host", variable("fairlead_host"), *((first,) if trusting else ())),
        _map(host, "fairlead_redirect_host", variable("host"), *((named,) if trusting else ())),
        _forwarded_for(settings),
    )


def _forwarded_for(settings: ControllerSettings) -> Directive:
    """The client's address, or where the whole way is to be told, what was told and who told it."""
    client = settings.client
    if not (client.use_forwarded_headers and client.compute_full_forwarded_for):
        return _map("remote_addr", "fairlead_forwarded_for", variable("remote_addr"))
    source = "http_" + client.header.lower().replace("-", "_")
    whole = Template((Dollar(source), ", ", Dollar("realip_remote_addr")))
    return _map(source, "fairlead_forwarded_for", whole, (_EMPTY, variable("realip_remote_addr")))


def render_names(routing: Routing) -> Config:
    """The variables by which ingress-nginx's log formats name a request's objects; computed only when asked for."""
    told: dict[str, dict[str, str]] = {name: {} for name in _NAMES}
    for server in routing.servers:
        for location in server.locations:
            key, action = location_id(server, location), location.action
            service = action.upstream if isinstance(action, ToUpstream) else UpstreamKey("", "", "")
            values = (
                location.origin.namespace,
                location.origin.name,
                service.service,
                service.port,
                location.path or "/",
                "-".join((service.namespace, service.service, service.port)) if service.service else "",
            )
            for name, value in zip(_NAMES, values, strict=True):
                told[name][key] = value
    return tuple(
        block(
            "map",
            variable("fairlead_location"),
            variable(name),
            of=tuple(entry(key, plain(value)) for key, value in lines.items()),
        )
        for name, lines in told.items()
    )


def _map(
    source: str, name: str, default: Template | Literal | Word, *lines: tuple[Literal | Word, Template | Literal | Word]
) -> Directive:
    entries = (entry("default", default), *(entry(*line) for line in lines))
    return block("map", variable(source), variable(name), of=entries)


def _hsts(settings: ControllerSettings) -> str:
    tls = settings.tls
    if not tls.hsts:
        return ""
    words = [f"max-age={tls.hsts_max_age}"]
    if tls.hsts_include_subdomains:
        words.append("includeSubDomains")
    if tls.hsts_preload:
        words.append("preload")
    return "; ".join(words)
