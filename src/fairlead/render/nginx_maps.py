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
_NAMES = ("namespace", "ingress_name", "service_name", "service_port", "location_path")
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


def spelled(settings: ControllerSettings) -> dict[str, str]:
    """By which variable NGINX knows what we call `fairlead_...`: a map where that has to be computed, else its own.

    A map costs every request that asks for it, so there is none that only says what another variable says.
    """
    client = settings.client
    own_port = "proxy_protocol_server_port" if client.use_proxy_protocol else "server_port"
    plain_names = {
        "fairlead_scheme": "scheme",
        "fairlead_port": own_port,
        "fairlead_forwarded_host": "fairlead_host",
        "fairlead_redirect_host": "host",
        "fairlead_forwarded_for": "remote_addr",
    }
    trusting = client.use_forwarded_headers
    if not trusting:
        return plain_names
    computed = {name: name for name in plain_names}
    return computed if client.compute_full_forwarded_for else {**computed, "fairlead_forwarded_for": "remote_addr"}


def render_maps(settings: ControllerSettings) -> Config:
    """The maps, all at the level of `http`; each is computed only when somebody asks."""
    request_id = variable("request_id") if settings.generate_request_id else _EMPTY
    names = spelled(settings)
    scheme = names["fairlead_scheme"]
    return (
        block("geo", variable(DOLLAR), of=(entry("default", Literal("$")),)),
        block("geo", variable("fairlead_none"), of=(entry("default", _EMPTY),)),
        _map("http_upgrade", "fairlead_connection", Word("upgrade"), (_EMPTY, _EMPTY)),
        _map("http_host", "fairlead_host", variable("http_host"), (_EMPTY, variable("host"))),
        *_forwarded(settings),
        _map(scheme, "fairlead_insecure", Word("0"), (Word("http"), Word("1"))),
        _map(scheme, "fairlead_hsts", _EMPTY, (Word("https"), plain(_hsts(settings)))),
        _map("uri", "fairlead_is_root", Word("0"), (Literal("/"), Word("1"))),
        _map("http_x_request_id", "fairlead_request_id", variable("http_x_request_id"), (_EMPTY, request_id)),
        _map(
            "request_uri",
            "fairlead_trimmed_uri",
            variable("request_uri"),
            (Literal("~^(?<fairlead_kept>.*)/$"), variable("fairlead_kept")),
        ),
        *(
            _map(names.get(source, source), name, variable(names.get(source, source)))
            for name, source in _ALIASES.items()
        ),
    )


def _forwarded(settings: ControllerSettings) -> Config:
    """What is believed of X-Forwarded headers, where they are."""
    client = settings.client
    if not client.use_forwarded_headers:
        return ()
    own_port = "proxy_protocol_server_port" if client.use_proxy_protocol else "server_port"
    first = (Literal("~^(?<fairlead_first>[^,]+)"), variable("fairlead_first"))
    named = (Literal("~^(?<fairlead_named>[^,:]+)"), variable("fairlead_named"))
    https, http = (Literal("~*^https"), Word("https")), (Literal("~*^http$"), Word("http"))
    port, host = "http_x_forwarded_port", "http_x_forwarded_host"
    return (
        _map("http_x_forwarded_proto", "fairlead_scheme", variable("scheme"), https, http),
        _map(port, "fairlead_port", variable(port), (_EMPTY, variable(own_port))),
        _map(host, "fairlead_forwarded_host", variable("fairlead_host"), first),
        _map(host, "fairlead_redirect_host", variable("host"), named),
        *((_forwarded_for(settings),) if client.compute_full_forwarded_for else ()),
    )


def _forwarded_for(settings: ControllerSettings) -> Directive:
    """The whole way: what was told, and who told it."""
    source = "http_" + settings.client.header.lower().replace("-", "_")
    whole = Template((Dollar(source), ", ", Dollar("realip_remote_addr")))
    return _map(source, "fairlead_forwarded_for", whole, (_EMPTY, variable("realip_remote_addr")))


def render_names(routing: Routing, settings: ControllerSettings) -> Config:
    """The variables by which ingress-nginx's log formats name a request's objects, where somebody asks for them."""
    asked = _operators_text(routing, settings)
    if not any(name in asked for name in _NAMES):
        return ()
    told: dict[str, dict[str, str]] = {name: {} for name in _NAMES if name in asked}
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
            )
            for name, value in zip(_NAMES, values, strict=True):
                if name in told:
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


def _operators_text(routing: Routing, settings: ControllerSettings) -> str:
    """Everything in which variables can be named that are not ours."""
    given = [
        settings.access_log.format,
        settings.http_snippet,
        settings.server_snippet,
        settings.location_snippet,
    ]
    if settings.snippets_allowed:
        given += [each.snippet for each in routing.servers]
        given += [each.snippet for server in routing.servers for each in server.locations]
    return "\n".join(each for each in given if each)


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
