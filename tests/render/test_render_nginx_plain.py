"""Which locations do without a Lua phase before the balancer, and does Lua know the same ones?"""

import json
from typing import Any

import pytest
from nginx_worlds import SHOP, key, location, routing, server, upstream

from fairlead.model.route_proxy import BackendProtocol, ProxySettings
from fairlead.model.route_rules import AccessRule, AuthType, BasicAuth, Canary, CustomErrors, Limits, Mirror, Rate
from fairlead.model.route_settings import ControllerSettings
from fairlead.model.route_upstreams import Balance, CookieAffinity, Upstream
from fairlead.model.routes import Routing, ToUpstream
from fairlead.render.nginx import render_nginx
from fairlead.render.nginx_names import Layout

LAYOUT = Layout(directory="/run/x", lua="/usr/share/lua")


def phases(world: Routing, settings: ControllerSettings | None = None) -> tuple[bool, bool]:
    """Whether the configuration of one location has the phase, and whether Lua takes it for plain."""
    files = render_nginx(world, settings or ControllerSettings(), LAYOUT)
    told = next(json.loads(text) for name, text in files.items() if "structure" in name)
    plain = [each.get("plain", False) for each in told["locations"].values() if each["host"] == "a.example"]
    assert len(plain) == 1
    return "fairlead_begin()" in files["nginx.conf"], plain[0]


def world(*upstreams: Upstream, **more: Any) -> Routing:
    return routing(
        server("a.example", location("/", more.pop("action", "app"), **more)),
        upstreams=upstreams or (upstream("app"),),
    )


def test_a_location_that_only_passes_requests_on_is_entered_once() -> None:
    assert phases(world()) == (False, True)


@pytest.mark.parametrize(
    "asked",
    [
        world(access=AccessRule(allow=())),
        world(limits=Limits(rates=(Rate(1, 1, 5),))),
        world(limits=Limits(connections=1)),
        world(errors=CustomErrors(statuses=(404,))),
        world(mirror=Mirror(url=("http://m.example",), host="m.example")),
        world(proxy=ProxySettings(protocol=BackendProtocol.GRPC)),
        world(action=ToUpstream(key("app"), (Canary(upstream=key("other"), origin=SHOP),))),
        world(action=ToUpstream(key("app"), fallback=key("other"))),
        world(basic_auth=BasicAuth(type=AuthType.BASIC, realm="shop", users=("u:h",), origin=SHOP)),
        world(upstream("app", balance=Balance.EWMA)),
        world(upstream("app", affinity=CookieAffinity())),
        world(upstream("app", max_connections=3)),
    ],
)
def test_what_decides_something_before_is_prepared(asked: Routing) -> None:
    assert phases(asked) == (True, False)


def test_what_the_operator_wrote_may_decide_something() -> None:
    assert phases(world(), ControllerSettings(location_snippet="deny all;")) == (True, False)
