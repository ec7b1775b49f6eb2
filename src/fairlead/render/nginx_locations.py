"""One location of the model as NGINX's locations.

A prefix that matches whole path elements is two of them: `/p/` by prefix and `= /p`. Source: reference 1.4, rules 5, 6
and 12.
"""

from typing import assert_never

from fairlead.model.route_rules import Redirect, Refuse
from fairlead.model.route_text import Text
from fairlead.model.route_upstreams import UpstreamKey
from fairlead.model.routes import Location, Match, Server, ToUpstream
from fairlead.nginx import Argument, Config, Literal, Lua, Raw, Template, block, directive, template
from fairlead.nginx.tree import Dollar, Line, variable, when
from fairlead.render.nginx_answers import render_errors, render_mirror, render_response_headers
from fairlead.render.nginx_guards import render_access, render_external_auth, render_limits, render_users
from fairlead.render.nginx_names import location_id, log_name
from fairlead.render.nginx_plain import is_plain
from fairlead.render.nginx_proxying import render_passing
from fairlead.render.nginx_surroundings import KEEPALIVE, Surroundings
from fairlead.render.nginx_text import plain, template_of

BEGIN = "return fairlead_begin()"


def render_location(server: Server, location: Location, around: Surroundings) -> Config:
    """All locations of a server that one of the model becomes; those it needs beside it come last."""
    lines, beside = _lines(server, location, around)
    return (*(block("location", *matcher, of=lines) for matcher in matchers(location)), *beside)


def matchers(location: Location) -> tuple[tuple[Argument | str, ...], ...]:
    """The arguments of each location directive."""
    path = location.path or "/"
    match location.match:
        case Match.EXACT:
            return (("=", Literal(path)),)
        case Match.PREFIX if path.endswith("/"):
            return ((Literal(path),),)
        case Match.PREFIX:
            return (Literal(path + "/"),), ("=", Literal(path))
        case Match.RAW_PREFIX:
            return ((Literal(path),),)
        case Match.REGEX:
            return (("~*", Literal("^" + path)),)
        case Match.REGEX_CASE:
            return (("~", Literal("^" + path)),)
        case _:
            assert_never(location.match)


def _lines(server: Server, location: Location, around: Surroundings) -> tuple[Config, Config]:
    needs, settings = around.needs, around.settings
    auth, auth_beside = render_external_auth(server, location, around)
    errors, errors_beside = render_errors(server, location, around)
    mirror, mirror_beside = render_mirror(server, location)
    lines: list[Line] = [
        directive("set", variable("fairlead_location"), location_id(server, location)),
        *_upstream_name(location),
        *render_response_headers(server, location, needs),
        *_early(location, around),
        *render_access(location),
        *render_limits(location.limits, needs),
        *render_users(location, needs),
        *auth,
        *errors,
        *mirror,
    ]
    if location.satisfy_any:
        lines.append(directive("satisfy", "any"))
    if not location.access_log:
        lines.append(directive("access_log", "off"))
    if location.rewrite_log:
        lines.append(directive("rewrite_log", "on"))
    if location.relative_redirects:
        lines.append(directive("absolute_redirect", "off"))
    if settings.location_snippet:
        lines.append(Raw(settings.location_snippet))
    if location.snippet and settings.snippets_allowed:
        lines.append(Raw(location.snippet))
    lines += _action(server, location, around)
    return tuple(lines), (*auth_beside, *errors_beside, *mirror_beside)


def _upstream_name(location: Location) -> Config:
    """The variable by which ingress-nginx's log names the upstream."""
    if not isinstance(location.action, ToUpstream):
        return ()
    return (directive("set", variable("proxy_upstream_name"), plain(log_name(location.action.upstream))),)


def _early(location: Location, around: Surroundings) -> Config:
    """What is answered before anything is asked: the way to HTTPS, and the application's root."""
    lines: list[Line] = []
    settings, names = around.settings, around.names
    skipped = any(location.path.startswith(each) for each in settings.tls.no_redirect_locations)
    if (location.secure_redirect or location.force_secure_redirect) and not skipped:
        uri = "request_uri" if location.preserve_trailing_slash else "fairlead_trimmed_uri"
        port = () if settings.https_port == 443 else (f":{settings.https_port}",)
        target = Template(("https://", Dollar(names["fairlead_redirect_host"]), *port, Dollar(uri)))
        lines.append(when("fairlead_insecure", directive("return", settings.tls.redirect_status, target)))
    if location.app_root is not None:
        root = template(Dollar(names["fairlead_scheme"]), "://", Dollar("http_host"), location.app_root)
        lines.append(when("fairlead_is_root", directive("return", 302, root)))
    return tuple(lines)


def _action(server: Server, location: Location, around: Surroundings) -> Config:
    action = location.action
    match action:
        case Redirect(status, url):
            return (directive("return", status, template_of(url)),)
        case Refuse(status):
            return (directive("return", status),)
        case ToUpstream():
            return _to_upstream(server, location, action, around)
        case _:
            assert_never(action)


def _upstreams_of(action: ToUpstream) -> tuple[UpstreamKey, ...]:
    fallback = () if action.fallback is None else (action.fallback,)
    return (action.upstream, *(each.upstream for each in action.canaries), *fallback)


def _replaced(target: Text) -> Template:
    return Template((*template_of(target).parts, Dollar("1")))


def _to_upstream(server: Server, location: Location, action: ToUpstream, around: Surroundings) -> Config:
    lines: list[Line] = []
    if not is_plain(server, location, around.settings, around.not_simple):
        lines.append(block("set_by_lua_block", variable("fairlead_refused"), of=(Lua(BEGIN),)))
        lines.append(when("fairlead_refused", directive("return", 503)))
    rewrite = location.rewrite
    if rewrite is not None:
        if rewrite.replaces_prefix:
            lines.append(directive("rewrite", Literal(f"^{rewrite.pattern}(.*)$"), _replaced(rewrite.target), "break"))
        else:
            lines.append(directive("rewrite", Literal(f"(?i){rewrite.pattern}"), template_of(rewrite.target), "break"))
    if any(key in around.sticky for key in _upstreams_of(action)):
        lines.append(block("header_filter_by_lua_block", of=(Lua('require("fairlead_affinity").set()'),)))
    keepalive = around.keepalives.get(action.upstream, KEEPALIVE)
    return (*lines, *render_passing(server, location, keepalive, around))
