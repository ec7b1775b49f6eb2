"""Words for writing routings in tests, and the fixtures' common part: one NGINX for a whole module."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from nginx_running import RunningNginx, nginx_missing

from fairlead.model.origins import Origin
from fairlead.model.route_settings import ControllerSettings
from fairlead.model.route_upstreams import Upstream, UpstreamKey
from fairlead.model.routes import Action, Location, Match, Routing, Server, ToUpstream

SHOP = Origin("Ingress", "shop", "web")


def key(service: str) -> UpstreamKey:
    """The upstream of port 80 of a Service."""
    return UpstreamKey("shop", service, "80")


def upstream(service: str, **more: Any) -> Upstream:
    """An upstream with the defaults."""
    return Upstream(key=key(service), origin=SHOP, **more)


def location(path: str, to: str | Action, match: Match = Match.PREFIX, **more: Any) -> Location:
    """A location to a Service, or to what else is done."""
    action = ToUpstream(key(to)) if isinstance(to, str) else to
    return Location(path=path, match=match, action=action, origin=SHOP, **more)


def server(host: str, *locations: Location, **more: Any) -> Server:
    """A server."""
    return Server(host=host, locations=locations, origin=SHOP, **more)


def routing(*servers: Server, upstreams: tuple[Upstream, ...] = (), **more: Any) -> Routing:
    """A routing; the upstreams that locations name need not be given."""
    named = {each.key: each for each in upstreams}
    for each in servers:
        for place in each.locations:
            if isinstance(place.action, ToUpstream):
                named.setdefault(place.action.upstream, Upstream(key=place.action.upstream, origin=SHOP))
    return Routing(servers=servers, upstreams=tuple(named[name] for name in sorted(named)), **more)


@contextmanager
def serving(
    folder: Path, given: Routing, settings: ControllerSettings | None = None, **more: Any
) -> Generator[RunningNginx]:
    """An NGINX that serves the routing; skips where there is no NGINX."""
    missing = nginx_missing()
    if missing:
        pytest.skip(missing)
    folder.chmod(0o755)  # NGINX's workers are another user
    nginx = RunningNginx(folder, settings)
    nginx.render(given, **more)
    assert nginx.test() == ""
    try:
        nginx.start()
        yield nginx
    finally:
        nginx.stop()
