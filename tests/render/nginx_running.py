"""A real NGINX with a rendered configuration, and services behind it that say what they were asked.

Everything is on loopback, in a temporary folder, and ends with `stop`.
"""

import contextlib
import ctypes
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from msgspec import Struct

from fairlead.model.route_settings import ControllerSettings
from fairlead.model.route_tls import Certificate, CertificateId
from fairlead.model.route_upstreams import Endpoints, UpstreamKey
from fairlead.model.routes import Routing
from fairlead.model.services import Backend
from fairlead.net import Port, parse_address
from fairlead.render.nginx import render_nginx
from fairlead.render.nginx_dynamic import render_certificates, render_endpoints
from fairlead.render.nginx_names import Layout

LUA = str(files("fairlead.render") / "lua")
_PATIENCE = 10.0


def nginx_missing() -> str:
    """Why NGINX cannot be run here; empty when it can."""
    if shutil.which("nginx") is None:
        return "nginx is not installed"
    modules = Path("/usr/lib/nginx/modules")
    lacking = [name for name in ("ngx_http_lua_module.so", "ngx_stream_module.so") if not (modules / name).exists()]
    return f"NGINX's modules {' and '.join(lacking)} are not installed" if lacking else ""


def free_ports(number: int) -> list[int]:
    """TCP ports that nobody has now."""
    held = [socket.socket() for _ in range(number)]
    try:
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


class Answer(Struct, frozen=True):
    """What came back."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def headers_named(self, name: str) -> list[str]:
        """All headers of that name."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def told(self) -> dict[str, Any]:
        """What the service said it was asked."""
        return cast("dict[str, Any]", json.loads(self.body))

    @property
    def service(self) -> str:
        """The name of the service that answered."""
        return str(self.told["name"])


class Service:
    """An HTTP server on loopback that tells in JSON what it was asked.

    The path `/status/NNN` answers that status; `script` maps paths to (status, headers, body).
    """

    def __init__(self, name: str, *, tls: ssl.SSLContext | None = None) -> None:
        self.name = name
        self.asked: list[dict[str, Any]] = []
        self.script: dict[str, tuple[int, dict[str, str], str]] = {}
        self.gate: threading.Event | None = None
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                told = {
                    "name": service.name,
                    "method": self.command,
                    "path": self.path,
                    "headers": {key.lower(): value for key, value in self.headers.items()},
                    "body": self.rfile.read(length).decode("latin-1"),
                    "connection": self.client_address[1],
                }
                service.asked.append(told)
                if service.gate is not None:
                    service.gate.wait(_PATIENCE)
                path = self.path.split("?")[0]
                status, headers, body = service.script.get(path, (200, {}, json.dumps(told)))
                if path.startswith("/status/"):
                    status = int(path.split("/")[2])
                data = body.encode()
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = answer  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                del format, args

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                del request, client_address

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def backend(self) -> Backend:
        """Where it is."""
        return Backend(parse_address("127.0.0.1"), Port(self.port))

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class RunningNginx:
    """One NGINX of a folder, from the start until `stop`."""

    def __init__(self, folder: Path, settings: ControllerSettings | None = None) -> None:
        self.folder = folder
        self.http, self.https = free_ports(2)
        base = settings or ControllerSettings(
            worker_processes=1, worker_connections=1024, ipv6=False, error_log_level="warn"
        )
        fields = {name: getattr(base, name) for name in base.__struct_fields__}
        fields |= {"http_port": self.http, "https_port": self.https, "bind_addresses": ("127.0.0.1",)}
        fields["access_log"] = type(base.access_log)(
            path=str(folder / "access.log"), format=base.access_log.format, escape=base.access_log.escape
        )
        self.settings = ControllerSettings(**fields)
        user = "www-data" if os.getuid() == 0 else None
        self.layout = Layout(directory=str(folder), lua=str(folder / "lua"), user=user)
        shutil.copytree(LUA, folder / "lua", dirs_exist_ok=True)  # workers may not see where the source lies
        self.process: subprocess.Popen[bytes] | None = None
        self.config = ""

    def render(self, routing: Routing, **more: Any) -> dict[str, str]:
        """Render `routing` and write the files."""
        rendered = render_nginx(routing, self.settings, self.layout, **more)
        self.folder.chmod(0o755)
        for name, text in rendered.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.config = rendered["nginx.conf"]
        return rendered

    def test(self) -> str:
        """NGINX's complaint about the configuration; empty when it takes it."""
        done = subprocess.run([*self._command(), "-t", "-q"], capture_output=True, text=True, timeout=60, check=False)
        return "" if done.returncode == 0 else done.stderr

    def start(self) -> None:
        """Start and wait until it answers at its control socket."""
        log = (self.folder / "error.log").open("wb")
        self.process = subprocess.Popen(
            [*self._command(), "-g", "daemon off;"],
            stderr=log,
            stdout=log,
            preexec_fn=_end_with_us,  # noqa: PLW1509 - no thread runs when tests start it
        )
        log.close()
        self.wait(lambda: self.control("/generation")[0] == 200)

    def reload(self) -> None:
        """Reload and wait until workers of the new configuration answer."""
        assert self.process is not None
        wanted, former = self.generation(), self.workers()

        def ended() -> bool:
            titles = [Path(f"/proc/{pid}/cmdline") for pid in former]
            return all(b"shutting down" in each.read_bytes() for each in titles if each.exists())

        self.process.send_signal(signal.SIGHUP)
        self.wait(lambda: self.control("/generation")[1].decode() == wanted and ended())

    def generation(self) -> str:
        """What the written configuration answers as its generation."""
        name = next((self.folder / "files").glob("structure-*"), None)
        found = [
            json.loads(each.read_text())["generation"]
            for each in (self.folder / "files").glob("structure-*")
            if each.name in self.config
        ]
        assert name is not None
        return str(found[0])

    def stop(self) -> None:
        """End at once."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(_PATIENCE)

    def wait(self, condition: Any) -> None:
        """Wait until the condition holds; fail with NGINX's log after a while."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if condition():
                    return
            if self.process is not None and self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise AssertionError(f"it did not come about; NGINX said:\n{self.errors()}")

    def workers(self) -> tuple[int, ...]:
        """The process ids of the master's children."""
        assert self.process is not None
        told = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return tuple(int(each) for each in told.split())

    def errors(self) -> str:
        """The error log."""
        path = self.folder / "error.log"
        return path.read_text() if path.exists() else ""

    # The control socket

    def control(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Ask the control socket."""
        connection = http.client.HTTPConnection("nginx", timeout=_PATIENCE)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.sock.connect(str(self.folder / "control.sock"))
            connection.request("GET" if body is None else "POST", path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def tell(self, *changed: Endpoints, dropped: Iterable[UpstreamKey] = (), full: bool = False) -> None:
        """Tell NGINX of endpoints."""
        status, said = self.control("/endpoints", render_endpoints(changed, dropped, full=full))
        assert status == 200, said

    def tell_certificates(
        self, *changed: Certificate, names: Mapping[str, CertificateId] | None = None, **more: Any
    ) -> None:
        """Tell NGINX of certificates."""
        status, said = self.control("/certificates", render_certificates(changed, names or {}, **more))
        assert status == 200, said

    def metrics(self) -> str:
        """The metrics page."""
        return self.control("/metrics")[1].decode()

    # Requests

    def get(
        self,
        host: str,
        path: str = "/",
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> Answer:
        """One request on a connection of its own."""
        raw = socket.create_connection(("127.0.0.1", self.https if tls else self.http), _PATIENCE)
        connection = http.client.HTTPConnection("127.0.0.1", timeout=_PATIENCE)
        connection.sock = raw if tls is None else tls.wrap_socket(raw, server_hostname=server_name or host)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            if host:
                connection.putheader("Host", host)
            for key, value in (headers or {}).items():
                connection.putheader(key, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answer(answer.status, tuple(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def _command(self) -> tuple[str, ...]:
        return ("nginx", "-e", "stderr", "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"))


def _end_with_us() -> None:
    """Have NGINX told to end when the tests do, whatever ends them (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, int(signal.SIGTERM), 0, 0, 0)


def unchecked() -> ssl.SSLContext:
    """A client's TLS that takes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
