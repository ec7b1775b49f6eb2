"""Bounds on connections and speed, compression, cookies after a failure, and refused handshakes, by a real NGINX."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from nginx_authorities import Authority
from nginx_running import RunningNginx, Service, unchecked
from nginx_worlds import key, location, routing, server, serving, upstream

from fairlead.model.route_proxy import BackendProtocol, ProxySettings
from fairlead.model.route_rules import Limits
from fairlead.model.route_settings import ControllerSettings, TlsSettings
from fairlead.model.route_tls import CertificateId, ServerTls
from fairlead.model.route_upstreams import CookieAffinity, Endpoints, SameSite

pytestmark = pytest.mark.kernel

DEFAULT = CertificateId("shop", "default")
LARGE = 200 * 1024
OLD_SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 12_4 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1"
TWO = ("a", "b")
SLOW = Limits(bytes_per_second=LARGE // 4, bytes_after=LARGE // 2, scope="shop/slow")


def sticky(**more: object) -> CookieAffinity:
    return CookieAffinity(name="stick", **more)  # type: ignore[arg-type]


WORLD = routing(
    server(
        "a.example",
        location("/", "a"),
        location("/one", "a", limits=Limits(connections=1, connection_status=429, scope="shop/one")),
        location("/slow", "a", limits=SLOW, proxy=ProxySettings(buffering=True)),
        tls=ServerTls(),
    ),
    server("busy.example", location("/", "busy")),
    server("auto.example", location("/", "auto", proxy=ProxySettings(protocol=BackendProtocol.AUTO_HTTP))),
    server("moves.example", location("/", "moves")),
    server("stays.example", location("/", "stays")),
    server("none.example", location("/", "none")),
    upstreams=(
        upstream("busy", max_connections=1),
        upstream("auto", keepalive=0),
        upstream("moves", affinity=sticky(change_on_failure=True), keepalive=0),
        upstream("stays", affinity=sticky(), keepalive=0),
        upstream("none", affinity=sticky(same_site=SameSite.NONE, conditional_same_site_none=True)),
    ),
)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def peers(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Service]]:
    pair = tmp_path_factory.mktemp("pair") / "pair.pem"
    signed = authority.sign("tls", "tls.internal")
    pair.write_text(signed.chain + signed.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    found = {"a": Service("a"), "b": Service("b"), "tls": Service("tls", tls=context)}
    found["a"].script = {
        "/slow": (200, {}, "x" * LARGE),
        "/text": (200, {"Content-Type": "text/css"}, "y" * 4000),
        "/image": (200, {"Content-Type": "image/png"}, "y" * 4000),
    }
    yield found
    for each in found.values():
        each.stop()


@pytest.fixture(scope="module")
def nginx(
    tmp_path_factory: pytest.TempPathFactory, peers: dict[str, Service], authority: Authority
) -> Iterator[RunningNginx]:
    settings = ControllerSettings(
        worker_processes=1,
        worker_connections=512,
        ipv6=False,
        error_log_level="warn",
        gzip=True,
        gzip_types=("text/css",),
        tls=TlsSettings(reject_handshake=True),
    )
    with serving(tmp_path_factory.mktemp("nginx"), WORLD, settings) as running:
        both = tuple(peers[name].backend for name in TWO)
        running.tell(
            Endpoints(key("a"), (peers["a"].backend,)),
            Endpoints(key("auto"), (peers["a"].backend,)),
            *(Endpoints(key(name), both) for name in ("busy", "moves", "stays", "none")),
        )
        signed = authority.sign("a", "a.example")
        running.tell_certificates(
            signed, authority.sign("default", "x"), names={"a.example": signed.id}, default=DEFAULT
        )
        yield running


def held(peers: dict[str, Service], *names: str) -> Callable[[], None]:
    """Let these answer nothing until the returned function is called."""
    gates = [threading.Event() for _ in names]
    for name, gate in zip(names, gates, strict=True):
        peers[name].gate = gate

    def let_go() -> None:
        for name, gate in zip(names, gates, strict=True):
            peers[name].gate = None
            gate.set()

    return let_go


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def in_background(nginx: RunningNginx, host: str, path: str, statuses: list[int], times: int = 1) -> None:
    for _ in range(times):
        threading.Thread(target=lambda: statuses.append(nginx.get(host, path).status), daemon=True).start()


def test_a_client_has_so_many_connections_and_no_more(nginx: RunningNginx, peers: dict[str, Service]) -> None:
    asked, statuses = len(peers["a"].asked), list[int]()
    let_go = held(peers, "a")
    try:
        in_background(nginx, "a.example", "/one", statuses)
        until(lambda: len(peers["a"].asked) > asked)
        assert nginx.get("a.example", "/one").status == 429
    finally:
        let_go()
    until(lambda: statuses == [200])
    assert nginx.get("a.example", "/one").status == 200


def test_an_answer_is_slowed_down_after_so_many_bytes(nginx: RunningNginx) -> None:
    began = time.monotonic()
    assert len(nginx.get("a.example", "/slow").body) == LARGE
    assert time.monotonic() - began > 1.0, "half of it at a quarter a second"


def test_an_endpoint_has_so_many_connections_and_the_next_one_takes_over(
    nginx: RunningNginx, peers: dict[str, Service]
) -> None:
    before = {name: len(peers[name].asked) for name in TWO}
    statuses = list[int]()
    let_go = held(peers, "a")
    try:
        while len(peers["a"].asked) == before["a"]:
            in_background(nginx, "busy.example", "/", statuses)
            time.sleep(0.05)
        for _ in range(6):
            assert nginx.get("busy.example").service == "b"
    finally:
        let_go()
    until(lambda: bool(statuses) and set(statuses) == {200})
    assert {nginx.get("busy.example").service for _ in range(6)} == set(TWO)


def test_where_all_endpoints_have_as_many_as_they_may_the_answer_is_503(
    nginx: RunningNginx, peers: dict[str, Service]
) -> None:
    before = {name: len(peers[name].asked) for name in TWO}
    statuses = list[int]()
    let_go = held(peers, *TWO)
    try:
        in_background(nginx, "busy.example", "/", statuses, 2)
        until(lambda: all(len(peers[name].asked) == before[name] + 1 for name in TWO))
        assert nginx.get("busy.example").status == 503
    finally:
        let_go()
    until(lambda: statuses == [200, 200])
    assert nginx.get("busy.example").status == 200


def test_an_upstream_is_spoken_to_as_the_client_speaks(nginx: RunningNginx, peers: dict[str, Service]) -> None:
    assert nginx.get("auto.example").service == "a"
    nginx.tell(Endpoints(key("auto"), (peers["tls"].backend,)))
    assert nginx.get("auto.example", tls=unchecked(), server_name="a.example").service == "tls"
    assert nginx.get("auto.example").status in (400, 502), "plain words to a port that wants TLS"


def test_what_is_worth_it_is_compressed(nginx: RunningNginx) -> None:
    wanted = {"Accept-Encoding": "gzip"}
    text = nginx.get("a.example", "/text", headers=wanted)
    assert text.header("Content-Encoding") == "gzip"
    assert len(text.body) < 1000
    assert nginx.get("a.example", "/text").header("Content-Encoding") is None
    assert nginx.get("a.example", "/image", headers=wanted).header("Content-Encoding") is None


@pytest.mark.parametrize(("name", "changes"), [("moves", True), ("stays", False)])
def test_after_a_failure_a_client_is_moved_for_good_where_that_is_asked_for(
    nginx: RunningNginx, peers: dict[str, Service], name: str, changes: bool
) -> None:
    host, leaving = f"{name}.example", Service("leaving")
    nginx.tell(Endpoints(key(name), (leaving.backend, peers["b"].backend)))
    answer = nginx.get(host)
    while answer.service != "leaving":
        answer = nginx.get(host)
    cookie = (answer.header("Set-Cookie") or "").partition(";")[0]
    assert nginx.get(host, headers={"Cookie": cookie}).service == "leaving"
    leaving.stop()
    after = nginx.get(host, headers={"Cookie": cookie})
    assert after.service == "b"
    assert (after.header("Set-Cookie") is not None) is changes


@pytest.mark.parametrize(("agent", "same_site"), [(OLD_SAFARI, False), ("curl/8", True)])
def test_same_site_none_is_kept_from_browsers_that_misread_it(nginx: RunningNginx, agent: str, same_site: bool) -> None:
    cookie = nginx.get("none.example", headers={"User-Agent": agent}).header("Set-Cookie") or ""
    assert ("SameSite=None" in cookie) is same_site


def test_a_handshake_for_a_name_that_nobody_has_is_refused(nginx: RunningNginx) -> None:
    assert nginx.get("a.example", tls=unchecked()).status == 200
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        nginx.get("nobody.example", tls=unchecked())
