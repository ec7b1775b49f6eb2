"""Endpoints that change without a reload, and how requests are spread over them, asked of a real NGINX."""

import socket
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from nginx_running import RunningNginx, Service
from nginx_worlds import SHOP, key, location, routing, server, serving, upstream

from fairlead.model.route_proxy import ProxySettings
from fairlead.model.route_rules import Canary
from fairlead.model.route_text import Variable
from fairlead.model.route_upstreams import Balance, CookieAffinity, Endpoints, SameSite
from fairlead.model.routes import ToUpstream
from fairlead.model.services import Backend
from fairlead.net import Port, parse_address

pytestmark = pytest.mark.kernel

PEERS = ("a", "b", "c")
TRYING = ProxySettings(next_upstream=("error", "timeout", "http_502"), next_upstream_tries=3, connect_timeout=1)
UPSTREAMS = {
    "turns": upstream("turns"),
    "least": upstream("least", balance=Balance.LEAST_CONNECTIONS),
    "ewma": upstream("ewma", balance=Balance.EWMA),
    "two": upstream("two", balance=Balance.RANDOM_TWO),
    "hash": upstream("hash", balance=Balance.HASH, hash_by=("k-", Variable("arg_k"))),
    "subset": upstream("subset", balance=Balance.HASH_SUBSET, hash_by=(Variable("arg_k"),), subset_size=2),
    "sticky": upstream("sticky", affinity=CookieAffinity(name="stick", max_age=60, same_site=SameSite.LAX)),
    "kept": upstream("kept", affinity=CookieAffinity(persistent=True, path="/p", expires=60, domain="x.example")),
    "failing": upstream("failing"),
    "main": upstream("main"),
    "canary": upstream("canary"),
    "stuck": upstream("stuck", affinity=CookieAffinity(name="stuck")),
    "stuck-canary": upstream("stuck-canary"),
}


def canary(**more: object) -> ToUpstream:
    return ToUpstream(key("main"), (Canary(upstream=key("canary"), origin=SHOP, **more),))  # type: ignore[arg-type]


STUCK = ToUpstream(key("stuck"), (Canary(upstream=key("stuck-canary"), origin=SHOP, weight=50),))
WORLD = routing(
    *(server(f"{name}.example", location("/", name, proxy=TRYING)) for name in UPSTREAMS if name != "stuck"),
    server("bare.example", location("/", "turns", proxy=ProxySettings(next_upstream=("off",)))),
    server("header.example", location("/", canary(header="X-Canary", cookie="canary", weight=0))),
    server("value.example", location("/", canary(header="X-Canary", header_value="yes"))),
    server("pattern.example", location("/", canary(header="X-Canary", header_pattern="^v[0-9]+$"))),
    server("all.example", location("/", canary(header="X-Canary", weight=100))),
    server("half.example", location("/", canary(weight=500, weight_total=1000))),
    server("stuck.example", location("/", STUCK)),
    upstreams=tuple(UPSTREAMS.values()),
)


@pytest.fixture(scope="module")
def peers() -> Iterator[dict[str, Service]]:
    found = {name: Service(name) for name in (*PEERS, "new")}
    yield found
    for each in found.values():
        each.stop()


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, peers: dict[str, Service]) -> Iterator[RunningNginx]:
    with serving(tmp_path_factory.mktemp("nginx"), WORLD) as running:
        yield running


@pytest.fixture
def told(nginx: RunningNginx, peers: dict[str, Service]) -> RunningNginx:
    """NGINX with the three peers behind every upstream, and one of its own behind each side of a canary."""
    three = tuple(peers[name].backend for name in PEERS)
    alone = {"main": "a", "canary": "b", "stuck": "a", "stuck-canary": "b"}
    given = (
        Endpoints(each.key, (peers[alone[name]].backend,) if name in alone else three)
        for name, each in UPSTREAMS.items()
    )
    nginx.tell(*given, full=True)
    return nginx


def nobody() -> Backend:
    """A port that refuses connections."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return Backend(parse_address("127.0.0.1"), Port(held.getsockname()[1]))


def spread(nginx: RunningNginx, host: str, number: int, path: str = "/") -> Counter[str]:
    return Counter(nginx.get(host, path).service for _ in range(number))


def test_requests_take_turns(told: RunningNginx) -> None:
    assert spread(told, "turns.example", 9) == {"a": 3, "b": 3, "c": 3}


def test_endpoints_come_and_go_at_once_and_without_a_reload(told: RunningNginx, peers: dict[str, Service]) -> None:
    workers = told.workers()
    told.tell(Endpoints(key("turns"), (peers["new"].backend,)))
    assert spread(told, "turns.example", 3) == {"new": 3}
    told.tell(Endpoints(key("turns"), ()))
    assert told.get("turns.example").status == 503
    told.tell(Endpoints(key("turns"), (peers["a"].backend, peers["new"].backend)))
    assert spread(told, "turns.example", 4) == {"a": 2, "new": 2}
    told.tell(dropped=[key("turns")])
    assert told.get("turns.example").status == 503
    assert told.get("least.example").status == 200
    told.tell(Endpoints(key("turns"), (peers["a"].backend,)), full=True)
    assert told.get("least.example").status == 503
    assert told.workers() == workers


def test_endpoints_and_counts_survive_a_reload(told: RunningNginx) -> None:
    assert told.get("turns.example").status == 200
    before = told.workers()
    told.render(routing(*WORLD.servers, server("added.example", location("/", "turns")), upstreams=WORLD.upstreams))
    told.reload()
    assert told.workers() != before
    assert told.get("added.example").service in PEERS
    told.wait(lambda: 'nginx_ingress_controller_requests{host="turns.example"' in told.metrics())


def test_five_thousand_upstreams_are_told_at_once(nginx: RunningNginx, peers: dict[str, Service]) -> None:
    many = tuple(Backend(parse_address(f"10.1.{number}.1"), Port(8080)) for number in range(20))
    told = [Endpoints(key(f"service-{number}"), many) for number in range(5000)]
    nginx.tell(*told, Endpoints(key("turns"), (peers["new"].backend,)), full=True)
    assert nginx.get("turns.example").service == "new"


@pytest.mark.parametrize("host", ["least.example", "ewma.example", "two.example"])
def test_every_balance_uses_every_endpoint(told: RunningNginx, host: str) -> None:
    assert set(spread(told, host, 30)) == set(PEERS)


def test_the_endpoint_with_the_fewest_requests_is_asked(told: RunningNginx, peers: dict[str, Service]) -> None:
    held = peers["b"]
    held.gate = threading.Event()
    stuck: list[threading.Thread] = []
    try:
        before = len(held.asked)
        while len(held.asked) == before:  # until a request waits at b; those that meet a or c end
            stuck.append(threading.Thread(target=told.get, args=("least.example",)))
            stuck[-1].start()
            told.wait(lambda: len(held.asked) > before or not stuck[-1].is_alive())
        assert spread(told, "least.example", 10).keys() <= {"a", "c"}
    finally:
        held.gate.set()
        held.gate = None
    for each in stuck:
        each.join()
    assert "b" in spread(told, "least.example", 30)


def test_a_key_keeps_its_endpoint_and_an_endpoint_that_goes_moves_only_its_own(
    told: RunningNginx, peers: dict[str, Service]
) -> None:
    first = {k: told.get("hash.example", f"/?k={k}").service for k in map(str, range(60))}
    assert set(first.values()) == set(PEERS)
    told.tell(Endpoints(key("hash"), (peers["a"].backend, peers["c"].backend)))
    second = {k: told.get("hash.example", f"/?k={k}").service for k in first}
    assert all(second[k] == was for k, was in first.items() if was != "b")


def test_a_subset_shares_its_keys(told: RunningNginx) -> None:
    seen = [set(spread(told, "subset.example", 12, f"/?k={k}")) for k in range(6)]
    assert {frozenset(each) for each in seen} == {frozenset("ab"), frozenset("c")}


def test_a_cookie_keeps_a_client_at_its_endpoint(told: RunningNginx) -> None:
    answer = told.get("sticky.example")
    cookie = answer.header("Set-Cookie") or ""
    name, _, rest = cookie.partition("=")
    value, *attributes = rest.split("; ")
    assert (name, attributes) == ("stick", ["Path=/", "Max-Age=60", "SameSite=Lax", "HttpOnly"])
    for _ in range(6):
        again = told.get("sticky.example", headers={"Cookie": f"x=y; stick={value}"})
        assert again.service == answer.service
        assert again.header("Set-Cookie") is None
    others = {told.get("sticky.example").service for _ in range(40)}
    assert others == set(PEERS)
    assert told.get("sticky.example", headers={"Cookie": "stick=forged"}).header("Set-Cookie") is not None


def test_a_persistent_cookie_holds_while_the_endpoint_lives(told: RunningNginx, peers: dict[str, Service]) -> None:
    answer = told.get("kept.example")
    cookie = (answer.header("Set-Cookie") or "").split(";")[0]
    assert "Domain=x.example" in (answer.header("Set-Cookie") or "")
    assert "Path=/p" in (answer.header("Set-Cookie") or "")
    everyone = (*(peers[name].backend for name in PEERS), peers["new"].backend)
    told.tell(Endpoints(key("kept"), everyone))
    assert {told.get("kept.example", headers={"Cookie": cookie}).service for _ in range(5)} == {answer.service}
    told.tell(Endpoints(key("kept"), tuple(each for each in everyone if each != peers[answer.service].backend)))
    moved = told.get("kept.example", headers={"Cookie": cookie})
    assert moved.service != answer.service
    assert moved.header("Set-Cookie") is not None


def test_a_try_that_fails_goes_on_to_endpoints_not_tried_yet(told: RunningNginx, peers: dict[str, Service]) -> None:
    told.tell(Endpoints(key("failing"), (nobody(), nobody(), peers["a"].backend)))
    assert spread(told, "failing.example", 6) == {"a": 6}
    told.tell(Endpoints(key("failing"), (nobody(), nobody(), nobody(), nobody(), peers["a"].backend)))
    statuses = Counter(told.get("failing.example").status for _ in range(6))
    assert statuses[502] <= 2  # three tries may all meet nobody, until those are known to fail
    assert told.get("failing.example").status == 200


def test_without_next_upstream_nothing_is_tried_again(told: RunningNginx, peers: dict[str, Service]) -> None:
    told.tell(Endpoints(key("turns"), (nobody(), peers["a"].backend)))
    assert 502 in {told.get("bare.example").status for _ in range(2)}
    assert spread(told, "bare.example", 4) == {"a": 4}  # max_fails is one


def test_a_canary_is_claimed_by_header_then_cookie_then_weight(told: RunningNginx) -> None:
    def asked(host: str, **headers: str) -> str:
        return told.get(host, headers={key.replace("_", "-"): value for key, value in headers.items()}).service

    assert asked("header.example", X_Canary="always") == "b"
    assert asked("header.example", X_Canary="never", Cookie="canary=always") == "a"
    assert asked("header.example", X_Canary="maybe", Cookie="canary=always") == "b"
    assert asked("header.example", Cookie="canary=never") == "a"
    assert asked("header.example") == "a"
    assert (asked("value.example", X_Canary="yes"), asked("value.example", X_Canary="always")) == ("b", "a")
    assert (asked("pattern.example", X_Canary="v12"), asked("pattern.example", X_Canary="v12x")) == ("b", "a")
    assert asked("all.example") == "b"
    assert asked("all.example", X_Canary="never") == "a"
    assert set(spread(told, "half.example", 40)) == {"a", "b"}


def test_a_canary_keeps_its_clients(told: RunningNginx) -> None:
    for _ in range(8):
        answer = told.get("stuck.example")
        cookie = (answer.header("Set-Cookie") or "").split(";")[0]
        again = {told.get("stuck.example", headers={"Cookie": cookie}).service for _ in range(6)}
        assert again == {answer.service}


def test_a_canary_without_endpoints_claims_nothing(told: RunningNginx) -> None:
    told.tell(Endpoints(key("canary"), ()))
    assert told.get("all.example").service == "a"


def test_connections_to_endpoints_are_kept(told: RunningNginx) -> None:
    assert len({told.get("main.example").told["connection"] for _ in range(5)}) == 1


def test_requests_are_counted_under_the_names_of_ingress_nginx(told: RunningNginx) -> None:
    told.get("all.example")
    told.get("main.example", method="DELETE")
    told.get("main.example", method="PROPFIND")
    page = told.metrics()
    labels = 'host="main.example",path="/",namespace="shop",ingress="web",service="main"'
    assert f'nginx_ingress_controller_requests{{{labels},method="DELETE",status="200",canary=""}} 1\n' in page
    assert f'nginx_ingress_controller_requests{{{labels},method="OTHER",status="501",canary=""}} 1\n' in page
    assert 'host="all.example"' in page
    assert 'canary="web"' in page
    sizes = ("request_size", "response_size", "bytes_sent")
    for name in ("request_duration_seconds", "response_duration_seconds", *sizes):
        assert f'nginx_ingress_controller_{name}_count{{{labels},method="DELETE",status="200",canary=""}} 1' in page
    assert (
        f'nginx_ingress_controller_bytes_sent_bucket{{{labels},method="DELETE",status="200",canary="",le="100"}} 0'
        in page
    )
    assert page.count(f'response_size_bucket{{{labels},method="DELETE",status="200",canary="",le="1000"}} 1') == 1


def test_the_control_socket_refuses_nonsense(nginx: RunningNginx) -> None:
    assert nginx.control("/endpoints", b"nonsense")[0] == 400
    assert nginx.control("/endpoints", b'{"set": 3}')[0] == 400
    assert nginx.control("/certificates", b"1")[0] == 400
    assert nginx.control("/nothing")[0] == 404
