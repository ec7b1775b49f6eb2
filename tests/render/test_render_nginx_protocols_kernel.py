"""WebSockets, gRPC, FastCGI, long bodies, TCP and UDP streams and the PROXY protocol through a real NGINX."""

import socket
import socketserver
import struct
import subprocess
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from nginx_authorities import Authority
from nginx_running import RunningNginx, Service, free_ports
from nginx_worlds import SHOP, key, location, routing, server, serving

from fairlead.model.route_proxy import BackendProtocol, FastCgi, ProxySettings
from fairlead.model.route_settings import AccessLog, ClientAddress, ControllerSettings
from fairlead.model.route_text import Variable
from fairlead.model.route_upstreams import Endpoints
from fairlead.model.routes import StreamListener
from fairlead.model.services import Backend
from fairlead.net import Port, Protocol, parse_address

pytestmark = pytest.mark.kernel

PATIENCE = 10.0
GRPC = ProxySettings(protocol=BackendProtocol.GRPC, request_headers=(("x-given", ("v",)),))
FCGI = ProxySettings(
    protocol=BackendProtocol.FCGI,
    fastcgi=FastCgi(index="index.php", parameters=(("SCRIPT_FILENAME", ("/srv", Variable("fastcgi_script_name"))),)),
)
LONG = ProxySettings(body_size=0, request_buffering=False, buffering=False)
SERVERS = (
    server("socket.example", location("/", "socket")),
    server("grpc.example", location("/", "grpc", proxy=GRPC)),
    server("fcgi.example", location("/", "fcgi", proxy=FCGI)),
    server("long.example", location("/", "long", proxy=LONG)),
)


def backend(port: int) -> Backend:
    return Backend(parse_address("127.0.0.1"), Port(port))


class Threads(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextmanager
def tcp(talk: Any) -> Generator[int]:
    """A server on loopback that talks to each connection; its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            talk(self.request)

    with Threads(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield int(running.server_address[1])
        running.shutdown()


def head_of(connection: socket.socket) -> bytes:
    found = b""
    while not found.endswith(b"\r\n\r\n"):
        read = connection.recv(1)
        if not read:
            break
        found += read
    return found


def echo_after_upgrade(connection: socket.socket) -> None:
    head = head_of(connection).lower()
    assert b"upgrade: websocket" in head
    assert b"connection: upgrade" in head
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    while data := connection.recv(4096):
        connection.sendall(data)


def count_body(connection: socket.socket) -> None:
    """Answers as many bytes as came, both without holding them."""
    head = head_of(connection).decode()
    length = next(int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length"))
    left = length
    while left:
        left -= len(connection.recv(min(left, 1 << 16)))
    connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode())
    block, left = bytes(1 << 16), length
    while left:
        connection.sendall(block[: min(left, len(block))])
        left -= min(left, len(block))


def record(kind: int, data: bytes) -> bytes:
    return struct.pack(">BBHHBB", 1, kind, 1, len(data), 0, 0) + data


def answer_fastcgi(connection: socket.socket) -> None:
    """One FastCGI request: answers its parameters, one a line."""
    given = b""
    stream = connection.makefile("rb")
    while True:
        _, kind, _, length, padding, _ = struct.unpack(">BBHHBB", stream.read(8))
        data = stream.read(length)
        stream.read(padding)
        if kind == 4:
            given += data
        if kind == 5 and not length:
            break
    lines: list[bytes] = []
    while given:
        sizes: list[int] = []
        for _ in range(2):
            wide = given[0] & 0x80
            sizes.append(int.from_bytes(given[:4], "big") & 0x7FFFFFFF if wide else given[0])
            given = given[4 if wide else 1 :]
        lines.append(given[: sizes[0]] + b"=" + given[sizes[0] : sum(sizes)])
        given = given[sum(sizes) :]
    out = b"Status: 202 Accepted\r\nContent-Type: text/plain\r\n\r\n" + b"\n".join(lines)
    connection.sendall(record(6, out) + record(6, b"") + record(3, bytes(8)))


def tell_first_line(connection: socket.socket) -> None:
    connection.sendall(connection.recv(4096))


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    with (
        tcp(echo_after_upgrade) as sockets,
        tcp(answer_fastcgi) as fcgi,
        tcp(count_body) as long,
        tcp(tell_first_line) as lines,
        socketserver.ThreadingUDPServer(("127.0.0.1", 0), UdpEcho) as datagrams,
    ):
        threading.Thread(target=datagrams.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        grpc, tcp_in, udp_in, proxied, decoded = free_ports(5)
        yield {
            "socket": sockets, "fcgi": fcgi, "long": long, "lines": lines, "grpc": grpc,
            "udp": int(datagrams.server_address[1]), "tcp_in": tcp_in, "udp_in": udp_in, "proxied": proxied,
            "decoded": decoded,
        }  # fmt: skip
        datagrams.shutdown()


class UdpEcho(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, answering = self.request
        answering.sendto(b"echo " + data, self.client_address)


def streams(ports: dict[str, int]) -> tuple[StreamListener, ...]:
    def stream(port: str, target: str, protocol: Protocol = Protocol.TCP, **more: Any) -> StreamListener:
        targets = (backend(ports[target]),)
        return StreamListener(
            protocol=protocol, port=Port(ports[port]), upstream=key(target), targets=targets, origin=SHOP, **more
        )

    return (
        stream("tcp_in", "lines"),
        stream("proxied", "lines", encode_proxy=True),
        stream("decoded", "lines", decode_proxy=True, encode_proxy=True),
        stream("udp_in", "udp", Protocol.UDP),
    )


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, ports: dict[str, int]) -> Iterator[RunningNginx]:
    folder = tmp_path_factory.mktemp("nginx")
    with serving(folder, routing(*SERVERS, streams=streams(ports))) as running:
        running.tell(*(Endpoints(key(name), (backend(ports[name]),)) for name in ("socket", "fcgi", "long", "grpc")))
        made = Authority().sign("default", "default.example")
        running.tell_certificates(made, default=made.id)
        yield running


def test_websockets_are_passed_and_live_through_reloads(nginx: RunningNginx, ports: dict[str, int]) -> None:
    with socket.create_connection(("127.0.0.1", nginx.http), PATIENCE) as connection:
        connection.sendall(
            b"GET /ws HTTP/1.1\r\nHost: socket.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        )
        assert head_of(connection).startswith(b"HTTP/1.1 101")
        for number in range(3):
            connection.sendall(b"message %d" % number)
            assert connection.recv(100) == b"message %d" % number
            more = server(f"more{number}.example", location("/", "socket"))
            nginx.render(routing(*SERVERS, more, streams=streams(ports)))
            nginx.reload()
        connection.sendall(b"last")
        assert connection.recv(100) == b"last"


def test_grpc_is_passed_over_http_2_on_both_sides(nginx: RunningNginx, ports: dict[str, int], tmp_path: Path) -> None:
    config = tmp_path / "nginx.conf"
    config.write_text(
        "daemon off; master_process off; pid h2.pid; events {} http { access_log off; "
        f"server {{ listen 127.0.0.1:{ports['grpc']} http2; location / {{ default_type application/grpc; "
        'return 200 "$server_protocol $request_uri $http_x_given"; } } }'
    )
    far = subprocess.Popen(["nginx", "-e", "stderr", "-p", str(tmp_path), "-c", str(config)], stderr=subprocess.PIPE)
    try:
        command = [
            "curl", "-sk", "--http2", "-H", "content-type: application/grpc", "-H", "te: trailers", "--data", "x",
            "--connect-to", f"grpc.example:443:127.0.0.1:{nginx.https}", "https://grpc.example/pkg.Service/Method",
        ]  # fmt: skip

        def said() -> bytes:
            return subprocess.run(command, capture_output=True, timeout=20, check=False).stdout

        nginx.wait(lambda: said() == b"HTTP/2.0 /pkg.Service/Method v")
    finally:
        far.terminate()
        far.wait(PATIENCE)


def test_fastcgi_gets_its_parameters(nginx: RunningNginx) -> None:
    answer = nginx.get("fcgi.example", "/app/?a=b", headers={"X-Team": "us"})
    told = dict(line.split("=", 1) for line in answer.body.decode().splitlines())
    assert answer.status == 202
    assert told["SCRIPT_FILENAME"] == "/srv/app/index.php"
    assert (told["QUERY_STRING"], told["REQUEST_METHOD"], told["HTTP_X_TEAM"]) == ("a=b", "GET", "us")
    assert told["SERVER_NAME"] == "fcgi.example"


def test_long_bodies_pass_both_ways_without_growing_nginx(nginx: RunningNginx) -> None:
    size = 64 << 20

    def resident() -> int:
        status = Path(f"/proc/{nginx.workers()[-1]}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    nginx.get("long.example", method="POST", body=b"x")
    before = resident()
    answer = nginx.get("long.example", method="POST", body=bytes(size))
    assert len(answer.body) == size
    assert resident() - before < 4096
    assert not [each for each in (nginx.folder / "temp-client_body").rglob("*") if each.is_file()]


def talk(port: int, said: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(said)
        return connection.recv(4096)


def test_tcp_streams_are_passed_untouched(nginx: RunningNginx, ports: dict[str, int]) -> None:
    assert talk(ports["tcp_in"], b"hello\n") == b"hello\n"


def test_the_proxy_protocol_is_spoken_and_understood(nginx: RunningNginx, ports: dict[str, int]) -> None:
    assert talk(ports["proxied"], b"hello").startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 ")
    told = talk(ports["decoded"], b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\nhello")
    assert told.startswith(b"PROXY TCP4 192.0.2.1 ")


def test_udp_streams_answer(nginx: RunningNginx, ports: dict[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(PATIENCE)
        asking.connect(("127.0.0.1", ports["udp_in"]))
        for number in range(3):
            asking.send(b"%d" % number)
            assert asking.recv(100) == b"echo %d" % number


def test_the_listener_believes_the_proxy_protocol_where_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    app = Service("app")
    settings = ControllerSettings(
        worker_processes=1,
        worker_connections=256,
        ipv6=False,
        client=ClientAddress(use_proxy_protocol=True),
        access_log=AccessLog(format="$remote_addr [$namespace/$ingress_name $service_name] $proxy_upstream_name"),
    )
    with serving(
        tmp_path_factory.mktemp("nginx"), routing(server("a.example", location("/", "app"))), settings
    ) as running:
        running.tell(Endpoints(key("app"), (app.backend,)))
        request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", running.http), PATIENCE) as connection:
            connection.sendall(b"PROXY TCP4 192.0.2.9 192.0.2.2 1000 80\r\n" + request)
            answered = b"".join(iter(lambda: connection.recv(4096), b""))
        assert b'"x-real-ip": "192.0.2.9"' in answered
        assert b'"x-forwarded-port": "80"' in answered
        log = running.folder / "access.log"
        running.wait(lambda: log.read_text() == "192.0.2.9 [shop/web app] shop-app-80\n")
    app.stop()


def test_the_usual_log_is_that_of_ingress_nginx(nginx: RunningNginx) -> None:
    nginx.get("fcgi.example", "/logged", headers={"User-Agent": "me", "X-Request-ID": "id-1"})
    log = nginx.folder / "access.log"
    nginx.wait(lambda: "/logged" in log.read_text())
    line = next(line for line in log.read_text().splitlines() if "/logged" in line)
    assert line.startswith("127.0.0.1 - - [")
    assert '"GET /logged HTTP/1.1" 202' in line
    assert '"me"' in line
    assert " [shop-fcgi-80] [] 127.0.0.1:" in line
    assert line.endswith(" 202 id-1")
