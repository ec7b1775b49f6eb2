"""Which locations are plain: requests to them only have to be sent to the next endpoint, and nothing is decided before.

Lua is entered once less for them, by the balancer alone, and NGINX reads no `if` for them, of which each costs it as
much as a location (decision 0020). An upstream without endpoints is found by the balancer then, which sends the request
to a server of our own that refuses it. Where something would be asked before that (limits, users, other services), a
location is not plain, since that an upstream has no endpoints is told first (`model.routes.Location`).
"""

from fairlead.model.route_proxy import BackendProtocol
from fairlead.model.route_rules import AccessRule
from fairlead.model.route_settings import ControllerSettings
from fairlead.model.route_upstreams import Balance, UpstreamKey
from fairlead.model.routes import Location, Routing, Server, ToUpstream


def not_simple(routing: Routing) -> frozenset[UpstreamKey]:
    """The upstreams whose endpoints are not simply taken in turn."""
    return frozenset(
        each.key
        for each in routing.upstreams
        if each.balance is not Balance.ROUND_ROBIN or each.affinity is not None or each.max_connections
    )


def is_plain(
    server: Server, location: Location, settings: ControllerSettings, excluded: frozenset[UpstreamKey]
) -> bool:
    """Whether a location is plain; `excluded` are the upstreams that are not simple."""
    action = location.action
    return (
        isinstance(action, ToUpstream)
        and not action.canaries
        and action.fallback is None
        and action.upstream not in excluded
        and location.proxy.protocol is BackendProtocol.HTTP
        and location.access == AccessRule()
        and not location.limits.rates
        and not location.limits.connections
        and location.basic_auth is None
        and location.external_auth is None
        and location.errors is None
        and location.mirror is None
        and not _has_snippets(server, location, settings)
    )


def _has_snippets(server: Server, location: Location, settings: ControllerSettings) -> bool:
    """Whether somebody may have written down what has to come first."""
    given = (settings.http_snippet, settings.server_snippet, settings.location_snippet)
    allowed = (server.snippet, location.snippet) if settings.snippets_allowed else ()
    return any((*given, *allowed))
