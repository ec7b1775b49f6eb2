"""Do long connections live through changes of the configuration, and do large bodies cost no memory?"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ingress_cluster import Cluster, application, eventually, ingress

pytestmark = [pytest.mark.cluster, pytest.mark.kubectl]
LONG = bool(os.environ.get("FAIRLEAD_LONG"))
SOCKET = Path(__file__).parent / "ingress_socket.py"
MEGABYTES = 1024 if LONG else 128
SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        size = int(self.path.strip("/") or 0)
        self.send_header("Content-Length", str(size << 20))
        self.end_headers()
        block = bytes(1 << 20)
        for _ in range(size):
            self.wfile.write(block)
    def do_POST(self):
        left = int(self.headers["Content-Length"])
        while left > 0:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
http.server.ThreadingHTTPServer(("", 80), Handler).serve_forever()
"""


def test_a_websocket_is_not_cut_by_a_hundred_changes(cluster: Cluster) -> None:
    changes = 100 if LONG else 12
    words = [sys.executable, "-m", "fairlead", "exec", "--from", "client", "--", sys.executable, str(SOCKET)]
    with subprocess.Popen(
        [*words, cluster.address, "app.example"],
        env=cluster.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        before = cluster.metrics()["nginx_ingress_controller_success"]
        for number in range(changes):
            cluster.apply(ingress("changing", "changing.example", path=f"/{number}"))
            time.sleep(6 if LONG else 0.3)
        host = "changing.example"
        eventually(lambda: cluster.status(f"http://{host}/{changes - 1}", host=host) == 200, "the last change", 60)
        out, _ = process.communicate("stop\n", timeout=30)
    told = json.loads(out)
    assert not told["problem"], told
    assert told["echoes"] > 10 * changes / 3
    assert cluster.metrics()["nginx_ingress_controller_success"] > before, "the changes were reloads"
    workers = int(cluster.in_controller("ps -eo args | grep -c '[w]orker process is shutting down' || true").strip())
    assert workers <= 32
    cluster.kubectl("delete", "ingress", "changing")


def memory_of_workers(cluster: Cluster) -> int:
    """The largest resident set of a worker, KiB."""
    return int(cluster.in_controller("ps -eo rss,args | awk '/[w]orker process$/ {print $1}' | sort -n | tail -1"))


def test_large_bodies_pass_in_constant_memory(cluster: Cluster) -> None:
    deployment, service = application("large", 1)
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container |= {"image": sys.executable, "args": ["-c", SERVER]}
    del container["readinessProbe"]
    unbounded = {"proxy_body_size": "0", "proxy_request_buffering": "off", "proxy_max_temp_file_size": "0"}
    cluster.apply(deployment, service, ingress("large", "large.example", "large", **unbounded))
    eventually(lambda: cluster.status("http://large.example/0", host="large.example") == 200, "an answer")
    before = memory_of_workers(cluster)
    named = ["--resolve", f"large.example:80:{cluster.address}", "-sS", "-m", "120"]
    size = cluster.run(
        "exec", "--from", "client", "--", "curl", *named, "-o", "/dev/null", "-w", "%{size_download}",
        f"http://large.example/{MEGABYTES}",
    )  # fmt: skip
    assert int(size) == MEGABYTES << 20
    file = cluster.home / "large"
    with file.open("wb") as hole:
        hole.truncate(MEGABYTES << 20)
    sent = ["curl", *named, "-H", "Expect:", "-X", "POST", "-T", str(file), "http://large.example/"]
    assert cluster.run("exec", "--from", "client", "--", *sent) == "ok"
    assert memory_of_workers(cluster) - before < 16 * 1024
    cluster.kubectl("delete", "deploy,svc,ingress", "large")
