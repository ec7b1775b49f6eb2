"""What a request has to pass at a location: addresses, limits, users, other services' word.

Source: reference 1.1; NGINX's phases give the order: rewrite, limits, addresses, auth_basic, auth_request.
"""

import msgspec

from fairlead.model.route_rules import AuthType, BasicAuth, ExternalAuth, Limits
from fairlead.model.routes import Location, Server
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
from fairlead.nginx.tree import Line
from fairlead.render.nginx_names import location_id, scope_id
from fairlead.render.nginx_needs import Needs
from fairlead.render.nginx_surroundings import Surroundings
from fairlead.render.nginx_text import on, plain, prefix, template_of


def render_access(location: Location) -> Config:
    """`deny` and `allow`: the first that matches decides."""
    rule = location.access
    lines = [directive("deny", prefix(each)) for each in rule.deny]
    if rule.allow is not None:
        lines += [directive("allow", prefix(each)) for each in rule.allow]
        lines.append(directive("deny", "all"))
    return tuple(lines)


def render_limits(limits: Limits, needs: Needs) -> Config:
    """Requests and connections of a client, and the speed of answers."""
    lines: list[Line] = []
    for rate in limits.rates:
        name = "rate_" + scope_id(limits.scope, repr(msgspec.to_builtins(rate, str_keys=True)))
        key = variable("binary_remote_addr") if not rate.key else template_of(rate.key)
        source = _exempted(limits, name, needs) if limits.exempt and not rate.key else key
        unit = "s" if rate.seconds == 1 else "m"
        zone = directive(
            "limit_req_zone", source, f"zone={name}:{max(32, rate.zone_size // 1024)}k", f"rate={rate.amount}r/{unit}"
        )
        needs.at_http(f"zone {name}", zone)
        how = "nodelay" if rate.delay is None else f"delay={rate.delay}"
        words = [f"zone={name}", f"burst={rate.burst}", how] if rate.burst else [f"zone={name}"]
        lines.append(directive("limit_req", *words))
    if limits.rates:
        lines.append(directive("limit_req_status", limits.rates[0].status))
    if limits.connections:
        name = "connections_" + scope_id(limits.scope)
        key = _exempted(limits, name, needs) if limits.exempt else variable("binary_remote_addr")
        needs.at_http(f"zone {name}", directive("limit_conn_zone", key, f"zone={name}:5m"))
        lines.append(directive("limit_conn", name, limits.connections))
        lines.append(directive("limit_conn_status", limits.connection_status))
    if limits.bytes_per_second:
        lines.append(directive("limit_rate", limits.bytes_per_second))
        lines.append(directive("limit_rate_after", limits.bytes_after))
    return tuple(lines)


def _exempted(limits: Limits, name: str, needs: Needs) -> Template:
    """A key that is empty, and so without bounds, for exempt clients."""
    flag, key = f"exempt_{name}", f"key_{name}"
    lines = (entry("default", 0), *(entry(prefix(each), 1) for each in limits.exempt))
    needs.at_http(f"geo {flag}", block("geo", variable("remote_addr"), variable(flag), of=lines))
    needs.map(variable(flag), key, (entry(0, variable("binary_remote_addr")), entry("default", Literal(""))))
    return variable(key)


def render_users(location: Location, needs: Needs) -> Config:
    """auth_basic, or digest in Lua, which NGINX has not."""
    auth = location.basic_auth
    if auth is None:
        return ()
    if auth.type is AuthType.DIGEST:
        return (block("access_by_lua_block", of=(Lua('require("fairlead_digest").check()'),)),)
    return _basic(auth, needs)


def _basic(auth: BasicAuth, needs: Needs) -> Config:
    file = needs.file("users", "".join(f"{user}\n" for user in auth.users))
    return (directive("auth_basic", plain(auth.realm)), directive("auth_basic_user_file", Literal(file)))


def render_external_auth(server: Server, location: Location, around: Surroundings) -> tuple[Config, Config]:
    """The directives of the location itself, and the internal locations of the server beside it."""
    auth = location.external_auth
    if auth is None:
        return (), ()
    name = location_id(server, location)
    inner = f"/_fairlead/auth/{name}"
    lines: list[Line] = [directive("auth_request", Literal(inner))]
    for number, header in enumerate(auth.response_headers):
        held = f"auth_{name}_{number}"
        source = "upstream_http_" + header.lower().replace("-", "_")
        lines.append(directive("auth_request_set", variable(held), variable(source)))
    beside = [_subrequest(auth, inner, name, around)]
    if auth.always_set_cookie:
        lines.append(
            directive("auth_request_set", variable(f"auth_{name}_cookie"), variable("upstream_http_set_cookie"))
        )
        lines.append(directive("add_header", "Set-Cookie", variable(f"auth_{name}_cookie"), "always"))
    if auth.sign_in is not None:
        lines.append(directive("error_page", 401, "=", f"@sign_in_{name}"))
        beside.append(_sign_in(auth, name, around))
    return tuple(lines), tuple(beside)


def copied_headers(server: Server, location: Location) -> tuple[tuple[str, Template], ...]:
    """The headers of the auth answer that go on to the upstream."""
    auth = location.external_auth
    if auth is None:
        return ()
    name = location_id(server, location)
    return tuple((header, variable(f"auth_{name}_{number}")) for number, header in enumerate(auth.response_headers))


def _subrequest(auth: ExternalAuth, inner: str, name: str, around: Surroundings) -> Directive:
    needs, names = around.needs, around.names
    target = f"auth_{name}_url"
    told = {
        "Host": plain(auth.host),
        "X-Original-URL": template(Dollar(names["fairlead_scheme"]), "://", Dollar("http_host"), Dollar("request_uri")),
        "X-Original-Method": variable("request_method"),
        "X-Sent-From": plain("nginx-ingress-controller"),
        "X-Real-IP": variable("remote_addr"),
        "X-Forwarded-For": variable(names["fairlead_forwarded_for"]),
        "X-Request-ID": variable("fairlead_request_id"),
        "X-Auth-Request-Redirect": variable("request_uri")
        if auth.request_redirect is None
        else template_of(auth.request_redirect),
        "Content-Length": plain(""),
        "Connection": plain(""),
        "X-Forwarded-Proto": plain(""),
    }
    headers = {name.lower(): (name, value) for name, value in told.items()}
    headers |= {name.lower(): (name, template_of(value)) for name, value in auth.request_headers}
    lines: list[Line] = [
        directive("internal"),
        directive("access_log", "off"),
        directive("set", variable("fairlead_location"), Literal("")),
        directive("proxy_pass_request_body", "off"),
        directive("proxy_pass_request_headers", "on"),
        directive("proxy_ssl_server_name", "on"),
        directive("proxy_buffering", on(auth.cache_key is not None)),
        directive("proxy_http_version", "1.1"),
        *(directive("proxy_set_header", Literal(header), value) for header, value in headers.values()),
    ]
    if auth.method is not None:
        lines.append(directive("proxy_method", auth.method))
    if auth.cache_key is not None:
        needs.at_http(
            "cache auth",
            directive(
                "proxy_cache_path",
                Literal(needs.folder("auth-cache")),
                "levels=1:2",
                "keys_zone=auth_cache:10m",
                "max_size=128m",
                "inactive=30m",
            ),
        )
        lines.append(directive("proxy_cache", "auth_cache"))
        own = template_of(auth.cache_key)
        lines.append(directive("proxy_cache_key", Template((f"{name} ", *own.parts))))
        lines.append(directive("proxy_ignore_headers", "Cache-Control", "Expires", "Set-Cookie", "Vary"))
        lines += [directive("proxy_cache_valid", status, f"{seconds}s") for status, seconds in auth.cache_valid]
    lines.append(directive("set", variable(target), template_of(auth.url)))
    lines.append(directive("proxy_pass", variable(target)))
    return block("location", "=", Literal(inner), of=tuple(lines))


def _sign_in(auth: ExternalAuth, name: str, around: Surroundings) -> Directive:
    assert auth.sign_in is not None
    url = template_of(auth.sign_in)
    text = "".join(part for part in url.parts if isinstance(part, str))
    back: tuple[str | Dollar, ...] = ()
    if f"{auth.sign_in_parameter}=" not in text:
        sign = "&" if "?" in text else "?"
        back = (
            f"{sign}{auth.sign_in_parameter}=",
            Dollar(around.names["fairlead_scheme"]),
            "://",
            Dollar("http_host"),
            Dollar("fairlead_escaped_uri"),
        )
    escape = "return ngx.escape_uri(ngx.var.request_uri)"
    lines: list[Line] = [
        directive("internal"),
        block("set_by_lua_block", variable("fairlead_escaped_uri"), of=(Lua(escape),)),
    ]
    if auth.always_set_cookie:
        lines.append(directive("add_header", "Set-Cookie", variable(f"auth_{name}_cookie"), "always"))
    lines.append(directive("return", 302, Template((*url.parts, *back))))
    return block("location", f"@sign_in_{name}", of=tuple(lines))
