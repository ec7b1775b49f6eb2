"""Hosts, paths, rewrites, redirects and the headers a location adds, asked of a real NGINX."""

from collections.abc import Iterator

import pytest
from nginx_running import RunningNginx, Service
from nginx_worlds import key, location, routing, server, serving

from fairlead.model.route_proxy import ProxySettings
from fairlead.model.route_rules import Cors, CustomErrors, Mirror, Redirect, Refuse, Rewrite
from fairlead.model.route_text import Capture, Variable
from fairlead.model.route_upstreams import Endpoints
from fairlead.model.routes import Match, ToUpstream

pytestmark = pytest.mark.kernel

SERVICES = ("root", "foo", "bar", "exact", "other", "errors", "empty")
NASTY = '/"; return 200; #/${http_host}/$http_host/\\'

WORLD = routing(
    server("", location("/", "other")),
    server(
        "paths.example",
        location("/", "root"),
        location("/foo", "foo"),
        location("/foo", "exact", Match.EXACT),
        location("/bar/", "bar"),
        location("/bar", "other"),
        location("/raw", "foo", Match.RAW_PREFIX),
        location(NASTY, "bar"),
    ),
    server("*.wild.example", location("/", "bar")),
    server("named.wild.example", location("/", "foo"), aliases=("alias.example", "*.alias.example")),
    server("only.example", location("/only", "foo")),
    server(
        "regex.example",
        location("/api/v[0-9]+/x", "foo", Match.REGEX),
        location("/api/", "bar", Match.REGEX),
        location("/case", "root", Match.REGEX_CASE),
    ),
    server(
        "rewrite.example",
        location(
            "/shop(/|$)(.*)",
            "foo",
            Match.REGEX,
            rewrite=Rewrite("/shop(/|$)(.*)", ("/new/", Capture(2))),
            proxy=ProxySettings(forwarded_prefix="/shop$http_host"),
        ),
        location("/nic/", "bar", Match.RAW_PREFIX, rewrite=Rewrite("/nic/", ("/inner/",), replaces_prefix=True)),
        location("/dollar", "bar", rewrite=Rewrite("/dollar", ("/$http_host/", Variable("request_method")))),
    ),
    server(
        "moved.example",
        location("/there", Redirect(301, ("https://there.example/$uri",))),
        location("/refused", Refuse(503, "a mistake")),
        location("/root", "foo", app_root="/start"),
        location("/", "foo", app_root="/start"),
    ),
    server(
        "secure.example",
        location("/", "foo", secure_redirect=True),
        location("/keep", "foo", secure_redirect=True, preserve_trailing_slash=True),
        location("/.well-known/acme-challenge/x", "foo", secure_redirect=True),
        www="www.secure.example",
    ),
    server(
        "cors.example",
        location("/any", "foo", cors=Cors()),
        location(
            "/some",
            "foo",
            cors=Cors(origins=("https://a.example", "http://*.b.example:81"), credentials=False, max_age=5),
        ),
    ),
    server(
        "errors.example",
        location("/status", "foo", errors=CustomErrors(statuses=(404, 503), upstream=key("errors"))),
        location("/empty", "empty", errors=CustomErrors(statuses=(503,), upstream=key("errors"))),
        location("/plain", "foo", errors=CustomErrors(statuses=(404,), upstream=key("empty"))),
    ),
    server("empty.example", location("/", "empty"), location("/fallback", ToUpstream(key("empty"), (), key("root")))),
    server(
        "headers.example",
        location(
            "/",
            "foo",
            response_headers=(("X-Team", 'a "$host" \\ team'),),
            proxy=ProxySettings(
                host=("inner.example",),
                request_headers=(("X-Given", ("v$1 ", Variable("scheme"))),),
                redirect=("http://inner.example/", "/outer/"),
                cookie_path=("/a", "/b"),
                body_size=10,
            ),
        ),
    ),
)


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, Service]]:
    found = {name: Service(name) for name in SERVICES if name != "empty"}
    yield found
    for each in found.values():
        each.stop()


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, services: dict[str, Service]) -> Iterator[RunningNginx]:
    with serving(tmp_path_factory.mktemp("nginx"), WORLD) as running:
        running.tell(*(Endpoints(key(name), (each.backend,)) for name, each in services.items()))
        yield running


@pytest.mark.parametrize(
    ("host", "path", "service", "sent"),
    [
        ("paths.example", "/", "root", "/"),
        ("PATHS.example", "/anything?a=b", "root", "/anything?a=b"),
        ("paths.example", "/foo", "exact", "/foo"),
        ("paths.example", "/foo/", "foo", "/foo/"),
        ("paths.example", "/foo/x%20y?q=%2F", "foo", "/foo/x%20y?q=%2F"),
        ("paths.example", "/foobar", "root", "/foobar"),
        ("paths.example", "/FOO", "root", "/FOO"),
        ("paths.example", "/x//../foo/y", "foo", "/x//../foo/y"),
        ("paths.example", "/bar/x", "bar", "/bar/x"),
        ("paths.example", "/bar", "other", "/bar"),
        ("paths.example", "/rawness", "foo", "/rawness"),
        ("paths.example", "/%22;%20return%20200;%20%23/$%7Bhttp_host%7D/$http_host/%5C/", "bar", None),
        ("paths.example", "/%22", "root", "/%22"),
        ("a.wild.example", "/", "bar", "/"),
        ("named.wild.example", "/", "foo", "/"),
        ("alias.example", "/", "foo", "/"),
        ("x.alias.example", "/", "foo", "/"),
        ("a.b.wild.example", "/", "other", "/"),
        ("wild.example", "/", "other", "/"),
        ("nobody.example", "/", "other", "/"),
        ("only.example", "/only", "foo", "/only"),
        ("regex.example", "/api/v7/xyz", "foo", "/api/v7/xyz"),
        ("regex.example", "/API/V7/X", "foo", "/API/V7/X"),
        ("regex.example", "/api/other", "bar", "/api/other"),
        ("regex.example", "/case", "root", "/case"),
        ("rewrite.example", "/shop/a/b?c=d", "foo", "/new/a/b?c=d"),
        ("rewrite.example", "/shop", "foo", "/new/"),
        ("rewrite.example", "/nic/x/y?z", "bar", "/inner/x/y?z"),
        ("rewrite.example", "/dollar", "bar", "/$http_host/GET"),
    ],
)
def test_a_request_reaches_the_service_of_its_host_and_path(
    nginx: RunningNginx, host: str, path: str, service: str, sent: str | None
) -> None:
    answer = nginx.get(host, path)
    assert (answer.status, answer.service) == (200, service)
    assert sent is None or answer.told["path"] == sent


@pytest.mark.parametrize(
    ("host", "path", "status", "target"),
    [
        ("only.example", "/", 404, None),
        ("regex.example", "/CASE", 404, None),
        ("nobody.example", "/healthz", 200, None),
        ("moved.example", "/there", 301, "https://there.example/$uri"),
        ("moved.example", "/refused", 503, None),
        ("moved.example", "/", 302, "http://moved.example/start"),
        ("empty.example", "/", 503, None),
    ],
)
def test_some_requests_are_answered_by_nginx_itself(
    nginx: RunningNginx, host: str, path: str, status: int, target: str | None
) -> None:
    answer = nginx.get(host, path)
    assert (answer.status, answer.header("Location")) == (status, target)
    assert answer.header("Server") == "nginx"


def test_plain_requests_are_sent_to_https_without_one_slash_at_the_end(nginx: RunningNginx) -> None:
    def target(path: str, host: str = "secure.example") -> str | None:
        answer = nginx.get(host, path)
        assert answer.status == 308
        return answer.header("Location")

    home = f"https://secure.example:{nginx.https}"
    assert target("/") == home
    assert target("/a/?b=/") == f"{home}/a/?b="
    assert target("/a/b") == f"{home}/a/b"
    assert target("/a//", "secure.example:8080") == f"{home}/a/"
    assert target("/keep/") == f"{home}/keep/"
    assert target("/x", "www.secure.example") == "http://secure.example/x"
    assert nginx.get("secure.example", "/.well-known/acme-challenge/x").status == 200


def test_the_fallback_answers_for_a_service_without_endpoints(nginx: RunningNginx) -> None:
    assert nginx.get("empty.example", "/fallback").service == "root"


def test_a_service_learns_who_asked_and_how(nginx: RunningNginx) -> None:
    told = nginx.get("paths.example:8080", "/foo/", headers={"X-Forwarded-For": "6.6.6.6", "Proxy": "evil"}).told
    headers = told["headers"]
    assert headers["host"] == "paths.example:8080"
    assert headers["x-forwarded-for"] == headers["x-real-ip"] == "127.0.0.1"
    assert headers["x-original-forwarded-for"] == "6.6.6.6"
    assert headers["x-forwarded-host"] == "paths.example:8080"
    assert headers["x-forwarded-port"] == str(nginx.http)
    assert headers["x-forwarded-proto"] == headers["x-scheme"] == "http"
    assert len(headers["x-request-id"]) == 32
    assert "proxy" not in headers
    assert "connection" not in headers
    assert nginx.get("paths.example", "/", headers={"X-Request-ID": "mine"}).told["headers"]["x-request-id"] == "mine"


def test_a_prefix_is_told_only_where_paths_are_rewritten(nginx: RunningNginx) -> None:
    told = nginx.get("rewrite.example", "/shop/a", headers={"X-Forwarded-Prefix": "client"}).told
    assert told["headers"]["x-forwarded-prefix"] == "/shop$http_host"


def test_headers_are_set_literally_and_limits_hold(nginx: RunningNginx, services: dict[str, Service]) -> None:
    services["foo"].script["/moved"] = (
        302,
        {"Location": "http://inner.example/x", "Set-Cookie": "a=b; Path=/a/c", "X-Team": "theirs"},
        "",
    )
    answer = nginx.get("headers.example", "/moved")
    assert answer.header("Location") == "http://headers.example/outer/x"
    assert answer.header("Set-Cookie") == "a=b; Path=/b/c"
    assert answer.headers_named("X-Team") == ['a "$host" \\ team']
    told = nginx.get("headers.example").told["headers"]
    assert (told["host"], told["x-given"]) == ("inner.example", "v$1 http")
    assert nginx.get("headers.example", method="POST", body=b"0123456789").status == 200
    assert nginx.get("headers.example", method="POST", body=b"0123456789a").status == 413


def test_cors_answers_preflights_and_echoes_only_allowed_origins(nginx: RunningNginx) -> None:
    def asked(path: str, origin: str, method: str = "GET") -> tuple[int, str | None, str | None, str | None]:
        answer = nginx.get("cors.example", path, method=method, headers={"Origin": origin} if origin else {})
        names = ("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Max-Age")
        return (answer.status, *(answer.header(name) for name in names))  # type: ignore[return-value]  # three names

    assert asked("/any", "https://x.example") == (200, "*", "true", "1728000")
    assert asked("/any", "", "OPTIONS") == (204, "*", "true", "1728000")
    assert asked("/some", "https://a.example") == (200, "https://a.example", None, "5")
    assert asked("/some", "http://sub.b.example:81", "OPTIONS") == (204, "http://sub.b.example:81", None, "5")
    assert asked("/some", "http://sub.sub.b.example:81") == (200, None, None, None)
    assert asked("/some", "https://a.example.evil", "OPTIONS") == (200, None, None, None)
    assert asked("/some", "https://axexample") == (200, None, None, None)


def test_errors_are_explained_by_another_service(nginx: RunningNginx, services: dict[str, Service]) -> None:
    services["errors"].script["/"] = (418, {}, "explained")
    before = len(services["errors"].asked)
    assert nginx.get("errors.example", "/status/404", headers={"Accept": "text/x"}).status == 418
    headers = services["errors"].asked[before]["headers"]
    wanted = {
        "x-code": "404",
        "x-format": "text/x",
        "x-original-uri": "/status/404",
        "x-namespace": "shop",
        "x-ingress-name": "web",
        "x-service-name": "foo",
        "x-service-port": "80",
    }
    assert {name: headers[name] for name in wanted} == wanted
    assert nginx.get("errors.example", "/status/500").status == 500
    assert nginx.get("errors.example", "/empty").status == 418
    assert nginx.get("errors.example", "/plain").status == 200
    assert nginx.get("errors.example", "/plain/status/404").status == 200


def test_mirrors_get_a_copy_of_each_request(tmp_path_factory: pytest.TempPathFactory) -> None:
    main, copied = Service("main"), Service("copied")
    mirror = Mirror(url=(f"http://127.0.0.1:{copied.port}", Variable("request_uri")), host="mirror.example")
    world = routing(server("mirror.example", location("/", "main", mirror=mirror)))
    with serving(tmp_path_factory.mktemp("nginx"), world) as running:
        running.tell(Endpoints(key("main"), (main.backend,)))
        assert running.get("mirror.example", "/a?b", method="POST", body=b"text").service == "main"
        running.wait(lambda: copied.asked)
    assert (copied.asked[0]["path"], copied.asked[0]["body"]) == ("/a?b", "text")
    assert copied.asked[0]["headers"]["host"] == "mirror.example"
    main.stop()
    copied.stop()
