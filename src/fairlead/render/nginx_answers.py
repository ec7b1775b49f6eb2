"""What a location adds to answers, or answers by itself: CORS, HSTS, custom errors, mirrors.

Source: reference 1.1. NGINX takes `add_header` of an outer block only where the inner one has none, so each location
has all of its own.
"""

import re

from fairlead.model.route_rules import Cors, Mirror
from fairlead.model.routes import Location, Server, ToUpstream
from fairlead.nginx import (
    Config,
    Directive,
    Dollar,
    Literal,
    Lua,
    Template,
    block,
    directive,
    entry,
    template,
    variable,
)
from fairlead.nginx.tree import Line, when
from fairlead.render.nginx_names import location_id, scope_id
from fairlead.render.nginx_needs import Needs
from fairlead.render.nginx_structure import explained_by
from fairlead.render.nginx_surroundings import KEEPALIVE, Surroundings
from fairlead.render.nginx_text import on, plain, template_of

EXPLAIN = "return fairlead_explain()"


def render_response_headers(server: Server, location: Location, needs: Needs) -> Config:
    """HSTS, custom headers and those of CORS, on answers of every status."""
    lines: list[Line] = _cors(location.cors, needs) if location.cors is not None else []
    if server.hsts:
        lines.append(directive("add_header", "Strict-Transport-Security", variable("fairlead_hsts"), "always"))
    for header, value in location.response_headers:
        lines.append(directive("add_header", Literal(header), plain(value), "always"))
    return tuple(lines)


def _cors(cors: Cors, needs: Needs) -> list[Line]:
    """Headers where the origin is allowed, and the answer to preflights; `*` is allowed without any origin."""
    name = "cors_" + scope_id(*cors.origins)
    origin = name + "_origin"
    everyone = "*" in cors.origins
    lines = [] if everyone else [entry(*_origin_line(each)) for each in cors.origins]
    needs.map(variable("http_origin"), origin, (entry("default", Literal("*" if everyone else "")), *lines))
    found: list[Line] = [directive("add_header", "Access-Control-Allow-Origin", variable(origin), "always")]
    for header, value in _cors_values(cors).items():
        held = "cors_" + scope_id(name, header, value)
        needs.map(variable(origin), held, (entry("default", plain(value)), entry(Literal(""), Literal(""))))
        found.append(directive("add_header", header, variable(held), "always"))
    preflight = name + "_preflight"
    source = template(Dollar("request_method"), ":", Dollar(origin))
    needs.map(source, preflight, (entry("default", 0), entry(Literal("~^OPTIONS:."), 1)))
    found.append(when(preflight, directive("return", 204)))
    return found


def _cors_values(cors: Cors) -> dict[str, str]:
    values = {
        "Access-Control-Allow-Credentials": "true" if cors.credentials else "",
        "Access-Control-Allow-Methods": cors.methods,
        "Access-Control-Allow-Headers": cors.headers,
        "Access-Control-Expose-Headers": cors.expose_headers,
        "Access-Control-Max-Age": str(cors.max_age),
    }
    return {header: value for header, value in values.items() if value}


def _origin_line(origin: str) -> tuple[Literal, Template]:
    """The line of the map for one allowed origin, which is echoed; `*.` is one label."""
    scheme, _, rest = origin.partition("://*.")
    if rest:
        return Literal(f"~*^{re.escape(scheme)}://[A-Za-z0-9_-]+\\.{re.escape(rest)}$"), variable("http_origin")
    return Literal(f"~*^{re.escape(origin)}$"), variable("http_origin")


def replaced_headers(server: Server, location: Location) -> tuple[str, ...]:
    """The headers that are ours alone to set on answers: what the upstream says of them is dropped."""
    found = ["Strict-Transport-Security"] if server.hsts else []
    found += [header for header, _ in location.response_headers]
    if location.cors is not None:
        found += ["Access-Control-Allow-Origin", *_cors_values(location.cors)]
    return tuple(dict.fromkeys(found))


def render_errors(server: Server, location: Location, around: Surroundings) -> tuple[Config, Config]:
    """Answers replaced by what another service says: the location's directives, and the locations beside it."""
    errors = location.errors
    if errors is None:
        return (), ()
    family = {"GRPC": "grpc", "GRPCS": "grpc", "FCGI": "fastcgi"}.get(location.proxy.protocol.value, "proxy")
    name = location_id(server, location)
    lines: list[Line] = [directive(f"{family}_intercept_errors", on(errors.intercept))]
    beside: list[Line] = []
    for status in errors.statuses:
        place = f"@error_{name}_{status}"
        lines.append(directive("error_page", status, "=", place))
        beside.append(_error_location(location, place, status, around))
    return tuple(lines), tuple(beside)


def _error_location(location: Location, place: str, status: int, around: Surroundings) -> Directive:
    errors = location.errors
    assert errors is not None
    if explained_by(errors, around.default_upstream) is None:
        return block("location", place, of=(directive("internal"), directive("return", status)))
    service = location.action.upstream if isinstance(location.action, ToUpstream) else None
    told = {
        "X-Code": plain(str(status)),
        "X-Format": variable("http_accept"),
        "X-Original-URI": variable("request_uri"),
        "X-Namespace": plain(location.origin.namespace),
        "X-Ingress-Name": plain(location.origin.name),
        "X-Service-Name": plain(service.service if service is not None else ""),
        "X-Service-Port": plain(service.port if service is not None else ""),
        "X-Request-ID": variable("fairlead_request_id"),
        "X-Forwarded-For": variable("remote_addr"),
        "Host": variable("fairlead_host"),
        "Connection": plain(""),
        "Content-Length": plain(""),
    }
    lines: Config = (
        directive("internal"),
        block("set_by_lua_block", variable("fairlead_refused"), of=(Lua(EXPLAIN),)),
        when("fairlead_refused", directive("return", status)),
        directive("proxy_intercept_errors", "off"),
        directive("proxy_http_version", "1.1"),
        directive("proxy_pass_request_body", "off"),
        *(directive("proxy_set_header", header, value) for header, value in told.items()),
        directive("rewrite", Literal("(.*)"), plain("/"), "break"),
        directive("proxy_pass", template(f"http://{around.needs.pool(KEEPALIVE)}")),
    )
    return block("location", place, of=lines)


def render_mirror(server: Server, location: Location) -> tuple[Config, Config]:
    """A copy of each request elsewhere: the location's directives, and the location beside it."""
    mirror = location.mirror
    if mirror is None:
        return (), ()
    inner = f"/_fairlead/mirror/{location_id(server, location)}"
    lines = (directive("mirror", Literal(inner)), directive("mirror_request_body", on(mirror.request_body)))
    return lines, (_mirror_location(mirror, inner),)


def _mirror_location(mirror: Mirror, inner: str) -> Directive:
    lines = (
        directive("internal"),
        directive("access_log", "off"),
        directive("set", variable("fairlead_location"), Literal("")),
        directive("set", variable("fairlead_mirror"), template_of(mirror.url)),
        directive("proxy_set_header", "Host", plain(mirror.host)),
        directive("proxy_pass_request_body", on(mirror.request_body)),
        *(() if mirror.request_body else (directive("proxy_set_header", "Content-Length", Literal("")),)),
        directive("proxy_pass", variable("fairlead_mirror")),
    )
    return block("location", "=", Literal(inner), of=lines)
