"""Do nginx.org annotations do what F5's controller does with them?"""

from typing import Any

import pytest
from ingress_objects_made import F5, a_secret, an_ingress, locations, routes_with

from fairlead.model.route_proxy import BackendProtocol
from fairlead.model.route_rules import Rate, Refuse
from fairlead.model.route_text import Variable
from fairlead.model.route_upstreams import Balance, CookieAffinity
from fairlead.model.routes import Match

BOUGHT = {
    "nginx.com/jwt-key": "k",
    "appprotect.f5.com/app-protect-enable": "True",
    "appprotectdos.f5.com/app-protect-dos-resource": "r",
}


def f5(**annotations: str) -> dict[str, str]:
    return {F5 + name.replace("_", "-"): value for name, value in annotations.items()}


@pytest.mark.parametrize(
    ("annotations", "field", "value"),
    [
        ({"proxy_connect_timeout": "10s"}, "connect_timeout", 10),
        ({"proxy_read_timeout": "2m"}, "read_timeout", 120),
        ({"proxy_send_timeout": "30"}, "send_timeout", 30),
        ({"client_max_body_size": "8m"}, "body_size", 8 << 20),
        ({"ssl_services": "web,other"}, "protocol", BackendProtocol.HTTPS),
        ({"grpc_services": "web"}, "protocol", BackendProtocol.GRPC),
        ({"proxy_buffering": "true"}, "buffering", True),
        ({"proxy_hide_headers": "X-A,X-B"}, "hide_headers", ("X-A", "X-B")),
        ({"proxy_pass_headers": "Server"}, "pass_headers", ("Server",)),
        ({"proxy_next_upstream": "error http_502"}, "next_upstream", ("error", "http_502")),
        ({"proxy_next_upstream_timeout": "5s"}, "next_upstream_timeout", 5),
        ({"proxy_next_upstream_tries": "2"}, "next_upstream_tries", 2),
        ({"proxy_set_headers": "X-A: 1"}, "request_headers", (("X-A", ("1",)),)),
        ({"proxy_buffers": "9 16k"}, "buffers_number", 9),
        ({"proxy_buffers": "9 16k"}, "buffer_size", 16 << 10),
        ({"proxy_busy_buffers_size": "8k"}, "busy_buffers_size", 8 << 10),
        ({"proxy_max_temp_file_size": "0"}, "max_temp_file_size", 0),
    ],
)
def test_what_is_said_of_the_upstream_is_in_the_location(annotations: dict[str, str], field: str, value: Any) -> None:
    built = routes_with(an_ingress("web", "a.example", "/", annotations=f5(**annotations))).build()
    assert getattr(locations(built)["/"].proxy, field) == value
    assert not built.findings


def test_methods_of_balancing_are_named_as_in_nginx() -> None:
    for text, balance in (("least_conn", Balance.LEAST_CONNECTIONS), ("hash $request_uri consistent", Balance.HASH)):
        built = routes_with(an_ingress("web", "a.example", "/", annotations=f5(lb_method=text))).build()
        assert built.routing.upstreams[0].balance is balance


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("keepalive", "9", "keepalive", 9),
        ("max_fails", "4", "max_fails", 4),
        ("fail_timeout", "1m", "fail_timeout", 60),
        ("max_conns", "7", "max_connections", 7),
    ],
)
def test_bounds_of_an_endpoint_are_in_the_upstream(name: str, text: str, field: str, value: int) -> None:
    built = routes_with(an_ingress("web", "a.example", "/", annotations=f5(**{name: text}))).build()
    assert getattr(built.routing.upstreams[0], field) == value
    assert not built.findings


@pytest.mark.parametrize(
    ("annotations", "rate"),
    [
        ({}, Rate(10, 1, 0, 0, status=429, zone_size=10 << 20)),
        (
            {"limit_req_burst": "5", "limit_req_delay": "2", "limit_req_reject_code": "503"},
            Rate(10, 1, 5, 2, status=503, zone_size=10 << 20),
        ),
        (
            {"limit_req_burst": "5", "limit_req_no_delay": "true", "limit_req_zone_size": "1m"},
            Rate(10, 1, 5, None, status=429, zone_size=1 << 20),
        ),
        (
            {"limit_req_key": "${request_uri}"},
            Rate(10, 1, 0, 0, status=429, key=(Variable("request_uri"),), zone_size=10 << 20),
        ),
        ({"limit_req_key": "${binary_remote_addr}"}, Rate(10, 1, 0, 0, status=429, zone_size=10 << 20)),
    ],
)
def test_a_rate_limits_the_requests_of_a_client(annotations: dict[str, str], rate: Rate) -> None:
    limited = f5(limit_req_rate="10r/s", **annotations)
    built = routes_with(an_ingress("web", "a.example", "/", annotations=limited)).build()
    assert locations(built)["/"].limits.rates == (rate,)
    assert not built.findings
    assert not locations(routes_with(an_ingress("web", "a.example", "/", annotations=f5(**annotations))).build())[
        "/"
    ].limits.rates, "only a rate turns it on"


def test_headers_are_added_to_answers() -> None:
    added = f5(add_header='X-A: one, X-B: two "quoted"')
    built = routes_with(an_ingress("web", "a.example", "/", annotations=added)).build()
    assert locations(built)["/"].response_headers == (("X-A", "one"), ("X-B", 'two "quoted"'))


def test_clients_of_a_named_service_keep_their_endpoint() -> None:
    said = "serviceName=other seat;serviceName=web srv expires=1h domain=.a.example path=/p"
    built = routes_with(an_ingress("web", "a.example", "/", annotations=f5(sticky_cookie_services=said))).build()
    assert built.routing.upstreams[0].affinity == CookieAffinity(
        name="srv", expires=3600, max_age=3600, domain=".a.example", path="/p", persistent=True
    )
    other = routes_with(
        an_ingress("web", "a.example", "/", annotations=f5(sticky_cookie_services="serviceName=other seat"))
    ).build()
    assert other.routing.upstreams[0].affinity is None


def test_a_service_can_be_asked_by_its_own_address() -> None:
    built = routes_with(an_ingress("web", "a.example", "/", annotations=f5(use_cluster_ip="true"))).build()
    plain = routes_with(an_ingress("web", "a.example", "/")).build()
    key = built.routing.upstreams[0].key
    assert built.endpoints[key].backends != plain.endpoints[key].backends
    assert len(built.endpoints[key].backends) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("limit_req_rate", "ten"),
        ("limit_req_rate", "10r/s; deny all"),
        ("limit_req_key", "$lua_evil"),
        ("add_header", "X-A"),
        ("add_header", "X-A: a\nX-B: b"),
        ("sticky_cookie_services", "serviceName=web a;b"),
        ("sticky_cookie_services", "serviceName=web srv nonsense"),
        ("sticky_cookie_services", "serviceName=web srv expires=soon"),
        ("proxy_buffers", "many"),
    ],
)
def test_a_wrong_value_is_told_and_leaves_the_default(name: str, text: str) -> None:
    limited = {} if name == "limit_req_rate" else {"limit_req_rate": "10r/s"}
    said = routes_with(an_ingress("web", "a.example", "/", annotations=f5(**limited, **{name: text}))).build()
    assert "its default holds" in said.findings[0].message
    assert said.routing == routes_with(an_ingress("web", "a.example", "/", annotations=f5(**limited))).build().routing


def test_rewrites_replace_the_prefix_for_one_service() -> None:
    rewriting = f5(rewrites="serviceName=web rewrite=/new/;serviceName=x rewrite=/y")
    built = routes_with(an_ingress("web", "a.example", "/old/", annotations=rewriting)).build()
    rewrite = locations(built)["/old/"].rewrite
    assert rewrite is not None
    assert (rewrite.pattern, rewrite.target, rewrite.replaces_prefix) == ("/old/", ("/new/",), True)


def test_path_regex_says_how_paths_are_compared_and_a_wrong_expression_is_left_out() -> None:
    for text, match in (
        ("case_sensitive", Match.REGEX_CASE),
        ("case_insensitive", Match.REGEX),
        ("exact", Match.EXACT),
    ):
        built = routes_with(
            an_ingress("web", "a.example", "/a[0-9]", kind="ImplementationSpecific", annotations=f5(path_regex=text))
        ).build()
        assert locations(built)["/a[0-9]"].match is match
    wrong = an_ingress("web", "a.example", "/(a+)+", kind="ImplementationSpecific", annotations=f5(path_regex="exact"))
    assert not routes_with(wrong).build().findings
    wrong = an_ingress(
        "web", "a.example", "/(a+)+", kind="ImplementationSpecific", annotations=f5(path_regex="case_sensitive")
    )
    assert "take for ever" in routes_with(wrong).build().findings[0].message


def test_users_come_from_a_secret_with_the_key_htpasswd() -> None:
    routes = routes_with(
        an_ingress("web", "a.example", "/", annotations=f5(basic_auth_secret="users", basic_auth_realm="in"))
    )
    assert isinstance(locations(routes.build())["/"].action, Refuse), "nobody gets in while the Secret is missing"
    assert ("shop", "users") in routes.build().wanted_secrets
    routes.set_secret(a_secret("users", htpasswd="me:$apr1$x$y"))
    auth = locations(routes.build())["/"].basic_auth
    assert auth is not None
    assert (auth.users, auth.realm) == (("me:$apr1$x$y",), "in")


def test_a_master_gives_its_host_and_minions_give_the_paths() -> None:
    master = an_ingress(
        "master", "a.example", tls="cert", annotations=f5(mergeable_ingress_type="master", proxy_read_timeout="9s")
    )
    one = an_ingress("one", "a.example", "/one", annotations=f5(mergeable_ingress_type="minion"))
    two = an_ingress(
        "two", "a.example", "/two", annotations=f5(mergeable_ingress_type="minion", proxy_read_timeout="5s")
    )
    for order in ((master, one, two), (two, one, master)):
        routes = routes_with(*order)
        found = locations(routes.build())
        assert set(found) == {"/one", "/two"}
        assert [found[path].proxy.read_timeout for path in ("/one", "/two")] == [9, 5], "inherited, unless it says so"
        assert all(each.secure_redirect for each in found.values()), "the master's tls holds for the host"
        routes.delete_ingress(("shop", "master"))
        assert locations(routes.build())["/one"].proxy.read_timeout == 60


def test_a_master_with_two_hosts_is_not_taken_over_and_says_so() -> None:
    import msgspec

    master = an_ingress("master", "a.example", annotations=f5(mergeable_ingress_type="master"))
    spec = msgspec.structs.replace(master.spec, rules=(*master.spec.rules, *an_ingress("x", "b.example").spec.rules))
    built = routes_with(msgspec.structs.replace(master, spec=spec)).build()
    assert any("exactly one host" in each.message for each in built.findings)


def test_what_is_not_carried_is_told() -> None:
    built = routes_with(
        an_ingress("web", "a.example", "/", annotations={**f5(hsts="true", nonsense="1"), **BOUGHT})
    ).build()
    said = {each.origin.field: each.message for each in built.findings}
    assert "not carried" in said["metadata.annotations[nginx.org/hsts]"]
    for name, product in zip(BOUGHT, ("NGINX Plus", "App Protect WAF", "App Protect DoS"), strict=True):
        assert product in said[f"metadata.annotations[{name}]"]
    assert "no such annotation" in said["metadata.annotations[nginx.org/nonsense]"]
