"""The variables that locations use: what the client asked for and came by, as maps of NGINX's own variables.

Source: reference 1.1 and 1.2 (forwarded headers, HSTS, redirects).
"""

from fairlead.model.route_settings import ControllerSettings
from fairlead.nginx import Config, Directive, Literal, Template, Word, block, entry, variable
from fairlead.nginx.writer import DOLLAR
from fairlead.render.nginx_text import plain

_EMPTY = Literal("")


def render_maps(settings: ControllerSettings) -> Config:
    """The maps, all at the level of `http`; each is computed only when somebody asks."""
    request_id = variable("request_id") if settings.generate_request_id else _EMPTY
    return (
        block("geo", variable(DOLLAR), of=(entry("default", Literal("$")),)),
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
    )


def _forwarded(settings: ControllerSettings) -> Config:
    """What is believed of X-Forwarded headers."""
    trusting = settings.client.use_forwarded_headers
    scheme = "http_x_forwarded_proto" if trusting else "scheme"
    port = "http_x_forwarded_port" if trusting else "server_port"
    host = "http_x_forwarded_host" if trusting else "fairlead_host"
    whole = trusting and settings.client.compute_full_forwarded_for
    chain = "proxy_add_x_forwarded_for" if whole else "remote_addr"
    first = (Literal("~^(?<fairlead_first>[^,]+)"), variable("fairlead_first"))
    named = (Literal("~^(?<fairlead_named>[^,:]+)"), variable("fairlead_named"))
    https, http = (Literal("~*^https"), Word("https")), (Literal("~*^http$"), Word("http"))
    return (
        _map(scheme, "fairlead_scheme", variable("scheme"), https, http),
        _map(port, "fairlead_port", variable(port), (_EMPTY, variable("server_port"))),
        _map(host, "fairlead_forwarded_host", variable("fairlead_host"), *((first,) if trusting else ())),
        _map(host, "fairlead_redirect_host", variable("host"), *((named,) if trusting else ())),
        _map(chain, "fairlead_forwarded_for", variable(chain)),
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
