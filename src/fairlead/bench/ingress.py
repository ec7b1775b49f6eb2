"""Requests per second and p99 through the ingress's NGINX, beside one written by hand with the same upstreams.

Both serve the same host with the same headers and log, one worker each; the one by hand has plain `upstream` servers
and counts nothing. A third has its upstream's servers on addresses that the kernel maps to endpoints (design section 7,
candidate b). All run in network namespaces of a child process and are asked in turn, so that whatever else the machine
does falls on all.
"""

import http.client
import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from msgspec import Struct

import fairlead.render
from fairlead.agents.ingress.placeholder import make_placeholder
from fairlead.bench.measurement import Measurement
from fairlead.drivers.processes import Namespaces, map_own_ids, unshare
from fairlead.model import Backend, Origin
from fairlead.model.route_settings import AccessLog, ControllerSettings
from fairlead.model.route_upstreams import Endpoints, Upstream, UpstreamKey
from fairlead.model.routes import Location, Match, Routing, Server, ToUpstream
from fairlead.net import Port, parse_address
from fairlead.render.nginx import render_nginx
from fairlead.render.nginx_dynamic import render_certificates, render_endpoints
from fairlead.render.nginx_names import Layout

_ROUNDS, _SECONDS, _CONNECTIONS, _TARGET = 7, 1, 32, 0.95
_ENDPOINTS = (9001, 9002)
_HOST = "bench.example"
_SLOTS = ("198.18.0.1", "198.18.0.2")


class _Way(Struct, frozen=True):
    """One NGINX to ask: its name and ports."""

    name: str
    http: int
    https: int


_HAND, _OURS, _SLOTTED = _Way("hand", 8001, 8002), _Way("ours", 8011, 8012), _Way("slots", 8021, 8022)


class _Round(Struct, frozen=True):
    """Requests per second, p99 in milliseconds, and requests per second that its worker had a processor."""

    rate: float
    slowest: float
    paid: float


Figures = dict[tuple[str, bool, bool], list[_Round]]
"""The rounds by way, keep-alive and TLS."""


def ingress() -> list[Measurement]:
    """Measure in a child with namespaces of its own. Raises RuntimeError when it could not."""
    for program in ("nginx", "wrk", "nft", "ip"):
        if shutil.which(program) is None:
            raise RuntimeError(f"{program} is not installed")
    context = get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_measure, args=(there, os.geteuid(), os.getegid()))
    child.start()
    there.close()
    try:
        figures: Figures = here.recv()
    except EOFError:
        raise RuntimeError("the benchmark's child ended early; its trace is above") from None
    finally:
        child.join()
    return [
        each
        for keep_alive in (True, False)
        for tls in (False, True)
        for way in (_OURS, _SLOTTED)
        if (way.name, keep_alive, tls) in figures
        for each in _compared(figures, way.name, keep_alive, tls)
    ]


def _compared(figures: Figures, way: str, keep_alive: bool, tls: bool) -> list[Measurement]:
    these, those = figures[way, keep_alive, tls], figures[_HAND.name, keep_alive, tls]
    kind = f"{'TLS, ' if tls else ''}keep-alive {'on' if keep_alive else 'off'}"
    label = {"ours": "", "slots": "kernel slots, "}[way]
    ratio = statistics.median(a.rate / b.rate for a, b in zip(these, those, strict=True))
    paid = statistics.median(a.paid / b.paid for a, b in zip(these, those, strict=True))
    slowest, other = statistics.median(a.slowest for a in these), statistics.median(b.slowest for b in those)
    target = _TARGET if way == "ours" else None
    return [
        Measurement(
            name=f"ingress: requests/s, {label}{kind}",
            value=statistics.median(a.rate for a in these),
            unit="1/s",
            baseline=statistics.median(b.rate for b in those),
            ratio=ratio,
            target=target,
            met=None if target is None else ratio >= target,
        ),
        Measurement(
            name=f"ingress: requests a processor second, {label}{kind}",
            value=statistics.median(a.paid for a in these),
            unit="1/s",
            baseline=statistics.median(b.paid for b in those),
            ratio=paid,
        ),
        Measurement(f"ingress: p99, {label}{kind}", slowest, "ms", other, slowest / other),
    ]


def _measure(answer: Connection, uid: int, gid: int) -> None:
    if uid == 0:
        unshare(Namespaces.NET)
    else:
        unshare(Namespaces.NET | Namespaces.USER)
        map_own_ids(uid, gid)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "route", "add", "local", "198.18.0.0/15", "dev", "lo"], check=True)
    subprocess.run(["nft", "-f", "-"], input=_slot_rules().encode(), check=True)
    with tempfile.TemporaryDirectory() as folder:
        answer.send(_asked(Path(folder)))


def _asked(folder: Path) -> Figures:
    figures: Figures = {}
    with _running(folder / "endpoints", _endpoints_config()), _ours(folder / "ours") as ours:
        pair = folder / "pair.pem"
        made = make_placeholder()
        pair.write_text(made.chain + made.key)
        by_hand = [f"127.0.0.1:{port}" for port in _ENDPOINTS]
        slotted = [f"{address}:80" for address in _SLOTS]
        with (
            _running(folder / "hand", _hand_config(_HAND, by_hand, pair)) as hand,
            _running(folder / "slots", _hand_config(_SLOTTED, slotted, pair)) as mapped,
        ):
            masters = {_HAND: hand, _OURS: ours, _SLOTTED: mapped}
            _wait_for(lambda: all(_serves(way) for way in (_HAND, _OURS, _SLOTTED)))
            for _ in range(_ROUNDS):
                for keep_alive in (True, False):
                    for tls in (False, True):
                        for way in (_HAND, _OURS) if tls else (_HAND, _OURS, _SLOTTED):
                            asked = _wrk(way, masters[way], keep_alive, tls)
                            figures.setdefault((way.name, keep_alive, tls), []).append(asked)
    return figures


@contextmanager
def _running(folder: Path, config: str) -> Generator[int]:
    folder.mkdir(exist_ok=True)
    path = folder / "nginx.conf"
    path.write_text(config)
    command = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(path), "-g", "daemon off;"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _ours(folder: Path) -> Generator[int]:
    key, origin = UpstreamKey("bench", "app", "80"), Origin("Ingress", "bench", "app")
    place = Location(path="/", match=Match.PREFIX, action=ToUpstream(key), origin=origin)
    routing = Routing(
        servers=(Server(host=_HOST, locations=(place,), origin=origin),), upstreams=(Upstream(key=key, origin=origin),)
    )
    settings = ControllerSettings(
        worker_processes=1, ipv6=False, http_port=_OURS.http, https_port=_OURS.https, bind_addresses=("127.0.0.1",),
        access_log=AccessLog(path=str(folder / "access.log")), error_log_level="error",
    )  # fmt: skip
    lua = Path(str(fairlead.render.__file__)).parent / "lua"
    files = render_nginx(routing, settings, Layout(directory=str(folder), lua=str(lua), user=_user()))
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    with _running(folder, files["nginx.conf"]) as master:
        backends = tuple(Backend(parse_address("127.0.0.1"), Port(port)) for port in _ENDPOINTS)
        pair = make_placeholder()
        _wait_for(lambda: _post(folder, "/endpoints", render_endpoints([Endpoints(key, backends)])))
        _post(folder, "/certificates", render_certificates([pair], {}, default=pair.id))
        yield master


def _user() -> str | None:
    return "root" if os.geteuid() == 0 else None


def _post(folder: Path, path: str, body: bytes) -> bool:
    connection = http.client.HTTPConnection("nginx")
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.sock.connect(str(folder / "control.sock"))
        connection.request("POST", path, body)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _serves(way: _Way) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", way.http, timeout=2)
    try:
        connection.request("GET", "/", headers={"Host": _HOST})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("an NGINX of the benchmark does not answer")
        time.sleep(0.02)


def _spent(master: int) -> float:
    """Seconds that the workers of an NGINX had a processor."""
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return sum(int(Path(f"/proc/{child}/schedstat").read_text().split()[0]) for child in children) / 1e9


def _wrk(way: _Way, master: int, keep_alive: bool, tls: bool) -> _Round:
    url = f"https://127.0.0.1:{way.https}/" if tls else f"http://127.0.0.1:{way.http}/"
    headers = ["-H", f"Host: {_HOST}", *([] if keep_alive else ["-H", "Connection: close"])]
    command = ["wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{_SECONDS}s", "--latency", *headers, url]
    before = _spent(master)
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spent = _spent(master) - before
    number = re.search(r"(\d+) requests in", said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    slowest = re.search(r"99%\s+([\d.]+)(us|ms|s)", said)
    assert number is not None
    assert rate is not None
    assert slowest is not None
    if "Non-2xx" in said:
        raise RuntimeError(f"{way.name} answered with errors: {said}")
    unit = {"us": 0.001, "ms": 1.0, "s": 1000.0}[slowest[2]]
    return _Round(float(rate[1]), float(slowest[1]) * unit, int(number[1]) / spent)


def _slot_rules() -> str:
    elements = ", ".join(f"{slot} : 127.0.0.1 . {port}" for slot, port in zip(_SLOTS, _ENDPOINTS, strict=True))
    lines = (
        "add table ip slots",
        "add map ip slots to { type ipv4_addr : ipv4_addr . inet_service; }",
        f"add element ip slots to {{ {elements} }}",
        "add chain ip slots out { type nat hook output priority -100; }",
        "add rule ip slots out ip protocol tcp ip daddr 198.18.0.0/15 dnat ip to ip daddr map @to",
    )
    return "".join(f"{line}\n" for line in lines)


def _endpoints_config() -> str:
    servers = "".join(
        f"server {{ listen 127.0.0.1:{port}; location / {{ return 200 'endpoint {port}'; }} }}" for port in _ENDPOINTS
    )
    return _main(f"access_log off; keepalive_requests 1000000; {servers}")


def _hand_config(way: _Way, servers: list[str], pair: Path) -> str:
    """What somebody would write who knows NGINX and these upstreams: the headers and the log are ours."""
    upstream = "".join(f"server {each};" for each in servers)
    headers = "".join(
        f"proxy_set_header {name} {value};"
        for name, value in (
            ("Host", "$http_host"), ("Upgrade", "$http_upgrade"), ("Connection", "$upgrading"),
            ("X-Request-ID", "$request_id"), ("X-Real-IP", "$remote_addr"), ("X-Forwarded-For", "$remote_addr"),
            ("X-Forwarded-Host", "$http_host"), ("X-Forwarded-Port", "$server_port"), ("X-Forwarded-Proto", "$scheme"),
            ("X-Forwarded-Scheme", "$scheme"), ("X-Scheme", "$scheme"),
            ("X-Original-Forwarded-For", "$http_x_forwarded_for"), ("Proxy", '""'),
        )
    )  # fmt: skip
    return _main(
        f"upstream app {{ {upstream} keepalive 320; keepalive_requests 10000; }} "
        "map $http_upgrade $upgrading { default upgrade; '' ''; } "
        'log_format usual \'$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
        '"$http_referer" "$http_user_agent" $request_length $request_time [bench-app-80] [] $upstream_addr '
        "$upstream_response_length $upstream_response_time $upstream_status $request_id'; "
        "access_log access.log usual; tcp_nodelay on; "
        "ssl_session_cache shared:SSL:10m; ssl_session_tickets off; ssl_protocols TLSv1.2 TLSv1.3; "
        f"ssl_certificate {pair}; ssl_certificate_key {pair}; "
        f"server {{ listen 127.0.0.1:{way.http} reuseport backlog=4096; "
        f"listen 127.0.0.1:{way.https} ssl http2 reuseport backlog=4096; server_name {_HOST}; "
        f"location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_buffering off; {headers} }} }}"
    )


def _main(http_block: str) -> str:
    user = "user root; " if os.geteuid() == 0 else ""
    return (
        f"{user}worker_processes 1; pid nginx.pid; events {{ worker_connections 16384; multi_accept on; }} "
        f"http {{ {http_block} }}"
    )
