"""Servers as text, kept from one rendering to the next: a server that is the same, in the same surroundings, is not
written again.

Comes in: servers and what they are rendered with. Goes out: their lines, written. Forgets what was not asked for.
"""

from msgspec import Struct

from fairlead.model.routes import Server, ToUpstream
from fairlead.nginx.tree import Written
from fairlead.nginx.writer import write_lines
from fairlead.render.nginx_needs import Needs
from fairlead.render.nginx_servers import render_server
from fairlead.render.nginx_surroundings import Surroundings


class _Kept(Struct, frozen=True):
    server: Server
    upstreams: tuple[object, ...]
    text: Written
    needs: Needs


class ServerTexts:
    """The texts of one NGINX's servers, by host."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._common: object = None

    def render(self, servers: tuple[Server, ...], around: Surroundings) -> tuple[Written, ...]:
        """The servers, written for the level of `http`; what they need is added to the surroundings' needs."""
        common = (around.settings, around.bundles, around.default_upstream)
        former = self._kept if common == self._common else {}
        self._common, self._kept = common, {}
        for server in servers:
            upstreams = _upstreams(server, around)
            kept = former.get(server.host)
            if kept is None or (kept.server is not server and kept.server != server) or kept.upstreams != upstreams:
                needs = around.needs.apart()
                text = write_lines(render_server(server, around.with_needs(needs)), "http", 1)
                kept = _Kept(server, upstreams, text, needs)
            self._kept[server.host] = kept
            around.needs.take(kept.needs)
        return tuple(kept.text for kept in self._kept.values())


def _upstreams(server: Server, around: Surroundings) -> tuple[object, ...]:
    """What of upstreams shows in a server's text."""
    actions = [each.action for each in server.locations if isinstance(each.action, ToUpstream)]
    keys = [each.upstream for each in actions]
    keys += [canary.upstream for each in actions for canary in each.canaries]
    keys += [each.fallback for each in actions if each.fallback is not None]
    return tuple((key, around.keepalives.get(key), key in around.sticky, key in around.not_simple) for key in keys)
