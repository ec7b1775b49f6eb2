"""Users, other services' word, addresses and limits before a request passes, asked of a real NGINX."""

import subprocess
from base64 import b64encode
from collections.abc import Iterator
from hashlib import md5, sha1

import pytest
from nginx_running import RunningNginx, Service
from nginx_worlds import SHOP, key, location, routing, server, serving

from fairlead.model.route_rules import (
    AccessRule,
    AuthType,
    BasicAuth,
    ExternalAuth,
    Limits,
    Rate,
)
from fairlead.model.route_settings import ClientAddress, ControllerSettings
from fairlead.model.route_text import Variable
from fairlead.model.route_upstreams import Endpoints
from fairlead.model.routes import Routing
from fairlead.net import parse_prefix

pytestmark = pytest.mark.kernel

INSIDE, OUTSIDE = parse_prefix("10.0.0.0/8"), parse_prefix("192.0.2.0/24")
REALM = 'the "realm" $host'


def hashed(password: str) -> str:
    return "{SHA}" + b64encode(sha1(password.encode()).digest()).decode()  # NGINX's own form, as htpasswd -s writes it


BASIC = BasicAuth(type=AuthType.BASIC, realm=REALM, users=(f"ann:{hashed('secret')}",), origin=SHOP)
DIGEST = BasicAuth(
    type=AuthType.DIGEST,
    realm="digest",
    users=("ann:digest:" + md5(b"ann:digest:secret").hexdigest(),),
    origin=SHOP,
)


def external(port: int, **more: object) -> ExternalAuth:
    base = ExternalAuth(
        url=(f"http://127.0.0.1:{port}/check?to=", Variable("host")),
        host="auth.example",
        response_headers=("X-User", "X-Lacking"),
        request_headers=(("X-Extra", ("v$1",)),),
    )
    fields = {name: getattr(base, name) for name in base.__struct_fields__}
    return ExternalAuth(**{**fields, **more})  # type: ignore[arg-type]


def world(port: int) -> Routing:
    sign_in = ("https://login.example/start?a=b",)
    allow, deny = AccessRule(allow=(INSIDE,)), AccessRule(deny=(parse_prefix("10.1.0.0/16"),), allow=(INSIDE,))
    limits = Limits(rates=(Rate(1, 60, 1, status=429),), exempt=(INSIDE,), scope="shop/limits")
    return routing(
        server("basic.example", location("/", "app", basic_auth=BASIC)),
        server("digest.example", location("/", "app", basic_auth=DIGEST)),
        server(
            "any.example",
            location("/basic", "app", basic_auth=BASIC, access=allow, satisfy_any=True),
            location("/digest", "app", basic_auth=DIGEST, access=allow, satisfy_any=True),
            location("/all", "app", basic_auth=BASIC, access=allow),
        ),
        server(
            "auth.example",
            location("/", "app", external_auth=external(port)),
            location("/sign", "app", external_auth=external(port, sign_in=sign_in, always_set_cookie=True)),
            location("/post", "app", external_auth=external(port, method="POST")),
            location(
                "/cached",
                "app",
                external_auth=external(port, cache_key=(Variable("remote_addr"),), cache_valid=((200, 60),)),
            ),
        ),
        server("access.example", location("/", "app", access=deny)),
        server(
            "limits.example",
            location("/rate", "app", limits=limits),
            location("/same", "app", limits=limits),
            location("/slow", "app", limits=Limits(bytes_per_second=1024, bytes_after=4096, scope="shop/slow")),
            location("/connections", "app", limits=Limits(connections=1, scope="shop/connections")),
        ),
    )


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, Service]]:
    found = {name: Service(name) for name in ("app", "auth")}
    yield found
    for each in found.values():
        each.stop()


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, services: dict[str, Service]) -> Iterator[RunningNginx]:
    settings = ControllerSettings(
        worker_processes=1,
        worker_connections=512,
        ipv6=False,
        client=ClientAddress(use_forwarded_headers=True, trusted=(parse_prefix("127.0.0.0/8"),)),
        block_cidrs=(parse_prefix("10.9.0.0/16"),),
        block_user_agents=("~*evil", 'bad "one"'),
    )
    with serving(tmp_path_factory.mktemp("nginx"), world(services["auth"].port), settings) as running:
        running.tell(Endpoints(key("app"), (services["app"].backend,)))
        yield running


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


def test_basic_auth_lets_users_pass_and_keeps_their_passwords(nginx: RunningNginx) -> None:
    refused = nginx.get("basic.example")
    assert refused.status == 401
    assert refused.header("WWW-Authenticate") == f'Basic realm="{REALM}"'
    assert nginx.get("basic.example", headers=basic("ann", "wrong")).status == 401
    passed = nginx.get("basic.example", headers=basic("ann", "secret"))
    assert passed.status == 200
    assert "authorization" not in passed.told["headers"]


def curl_digest(nginx: RunningNginx, password: str, path: str = "/a?b=c") -> str:
    done = subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--digest", "-u", f"ann:{password}",
         "--connect-to", f"digest.example:80:127.0.0.1:{nginx.http}", f"http://digest.example{path}"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    return done.stdout


def test_digest_auth_is_what_curl_speaks(nginx: RunningNginx) -> None:
    refused = nginx.get("digest.example")
    assert refused.status == 401
    assert (refused.header("WWW-Authenticate") or "").startswith('Digest realm="digest", qop="auth"')
    assert curl_digest(nginx, "secret") == "200"
    assert curl_digest(nginx, "wrong") == "401"
    forged = 'Digest username="ann", realm="digest", nonce="5f00", uri="/", response="00"'
    assert nginx.get("digest.example", headers={"Authorization": forged}).status == 401


def test_any_means_address_or_user(nginx: RunningNginx) -> None:
    inside = {"X-Forwarded-For": "10.2.0.1"}
    outside = {"X-Forwarded-For": "192.0.2.1"}
    for path in ("/basic", "/digest"):
        assert nginx.get("any.example", path, headers=inside).status == 200
        assert nginx.get("any.example", path, headers=outside).status == 401
    assert nginx.get("any.example", "/basic", headers={**outside, **basic("ann", "secret")}).status == 200
    assert nginx.get("any.example", "/all", headers=inside).status == 401
    assert nginx.get("any.example", "/all", headers={**outside, **basic("ann", "secret")}).status == 403


@pytest.mark.parametrize(
    ("address", "status"), [("10.2.0.1", 200), ("10.1.0.1", 403), ("192.0.2.1", 403), ("10.9.0.1", 403)]
)
def test_addresses_are_denied_before_they_are_allowed(nginx: RunningNginx, address: str, status: int) -> None:
    assert nginx.get("access.example", headers={"X-Forwarded-For": address}).status == status


def test_the_operator_shuts_out_agents(nginx: RunningNginx) -> None:
    assert nginx.get("any.example", "/none", headers={"User-Agent": "Very Evil/1"}).status == 403
    assert nginx.get("any.example", "/none", headers={"User-Agent": 'bad "one"'}).status == 403
    assert nginx.get("any.example", "/none", headers={"User-Agent": 'bad "one"s'}).status == 404


def test_another_service_decides(nginx: RunningNginx, services: dict[str, Service]) -> None:
    script = services["auth"].script
    script["/check"] = (202, {"X-User": "ann"}, "")
    passed = nginx.get("auth.example", "/x?y", method="POST", body=b"text", headers={"X-Lacking": "forged"})
    assert passed.told["headers"]["x-user"] == "ann"
    assert "x-lacking" not in passed.told["headers"]
    assert passed.told["body"] == "text"
    asked = services["auth"].asked[-1]
    assert (asked["method"], asked["path"], asked["body"]) == ("GET", "/check?to=auth.example", "")
    headers = asked["headers"]
    assert headers["host"] == "auth.example"
    assert headers["x-original-url"] == "http://auth.example/x?y"
    assert headers["x-original-method"] == "POST"
    assert headers["x-auth-request-redirect"] == "/x?y"
    assert headers["x-extra"] == "v$1"
    for status, seen in ((401, 401), (403, 403), (500, 500)):
        script["/check"] = (status, {}, "")
        assert nginx.get("auth.example").status == seen


def test_who_is_not_known_is_sent_to_sign_in(nginx: RunningNginx, services: dict[str, Service]) -> None:
    services["auth"].script["/check"] = (401, {"Set-Cookie": "state=1"}, "")
    answer = nginx.get("auth.example", "/sign/in?x=1&y=2")
    assert answer.status == 302
    back = "http://auth.example%2Fsign%2Fin%3Fx%3D1%26y%3D2"
    assert answer.header("Location") == f"https://login.example/start?a=b&rd={back}"
    assert answer.header("Set-Cookie") == "state=1"
    services["auth"].script["/check"] = (403, {}, "")
    assert nginx.get("auth.example", "/sign").status == 403


def test_the_method_of_the_question_can_be_set(nginx: RunningNginx, services: dict[str, Service]) -> None:
    services["auth"].script["/check"] = (200, {}, "")
    assert nginx.get("auth.example", "/post").status == 200
    assert services["auth"].asked[-1]["method"] == "POST"


def test_answers_are_remembered_where_asked_for(nginx: RunningNginx, services: dict[str, Service]) -> None:
    services["auth"].script["/check"] = (200, {"X-User": "ann"}, "")
    before = len(services["auth"].asked)
    for _ in range(3):
        assert nginx.get("auth.example", "/cached").told["headers"]["x-user"] == "ann"
    assert len(services["auth"].asked) == before + 1


def test_no_client_can_ask_the_inner_places(nginx: RunningNginx) -> None:
    inner = next(line.split('"')[1] for line in nginx.config.splitlines() if "auth_request " in line)
    assert nginx.get("auth.example", inner).status == 404


def test_rates_are_limited_for_all_of_an_ingress_and_not_for_the_exempt(nginx: RunningNginx) -> None:
    outside, inside = {"X-Forwarded-For": "192.0.2.7"}, {"X-Forwarded-For": "10.2.0.7"}
    statuses = [nginx.get("limits.example", path, headers=outside).status for path in ("/rate", "/same", "/rate")]
    assert statuses == [200, 200, 429]
    assert [nginx.get("limits.example", "/rate", headers=inside).status for _ in range(4)] == [200] * 4
    assert nginx.get("limits.example", "/rate", headers={"X-Forwarded-For": "192.0.2.8"}).status == 200


def test_forwarded_headers_are_believed_where_the_operator_says_so(nginx: RunningNginx) -> None:
    headers = {
        "X-Forwarded-For": "6.6.6.6, 10.3.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Port": "8443",
        "X-Forwarded-Host": "outer.example, inner.example",
    }
    told = nginx.get("limits.example", "/connections", headers=headers).told["headers"]
    assert told["x-real-ip"] == told["x-forwarded-for"] == "10.3.0.1"
    assert (told["x-forwarded-proto"], told["x-forwarded-port"]) == ("https", "8443")
    assert told["x-forwarded-host"] == "outer.example"
