"""A routing made whole: every server answers every path, and there is one for all other names.

Source: reference 1.4, rules 2 and 8.
"""

from msgspec.structs import replace

from fairlead.model.origins import Origin
from fairlead.model.route_rules import Refuse
from fairlead.model.route_upstreams import UpstreamKey
from fairlead.model.routes import Location, Match, Routing, Server, ToUpstream

NOBODY = Origin("", "", "")
_ROOT = ("", "/")


def complete_routing(routing: Routing) -> Routing:
    """The routing with what is implied: a server of unknown names comes first, and `/` answers what nothing else does.

    Both lead to the default upstream, or to a 404 where there is none.
    """
    servers = [_complete(each, routing.default_upstream) for each in routing.servers]
    if all(each.host for each in servers):
        servers.append(_complete(Server(host="", locations=(), origin=NOBODY), routing.default_upstream))
    return replace(routing, servers=tuple(sorted(servers, key=lambda each: each.host)))


def _complete(server: Server, default: UpstreamKey | None) -> Server:
    whole = (Match.PREFIX, Match.RAW_PREFIX)
    if any(each.match in whole and each.path in _ROOT for each in server.locations):
        return server
    action = Refuse(404, "no path matches") if default is None else ToUpstream(default)
    rest = Location(path="/", match=Match.PREFIX, action=action, origin=NOBODY)
    return replace(server, locations=(*server.locations, rest))
