"""An embedded cluster with an ingress controller, driven from outside as a user does."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

REPOSITORY = Path(__file__).parents[2]
LOAD = Path(__file__).parent / "ingress_load.py"
T = TypeVar("T")
Document = dict[str, Any]


class Cluster:
    """A cluster with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.address = ""

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands."""
        path = os.pathsep.join([str(REPOSITORY / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
        kubeconfig = str(self.home / "fairlead" / "kubeconfig")
        return {**os.environ, "FAIRLEAD_HOME": str(self.home), "PYTHONPATH": path, "KUBECONFIG": kubeconfig}

    def command(self, argv: list[str], stdin: str = "", *, check: bool = True) -> str:
        """Run a program and return what it prints; where it may fail, also what it complains of."""
        done = subprocess.run(
            argv, env=self.environment, input=stdin, capture_output=True, text=True, timeout=180, check=False
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}\n{done.stderr}"
        return done.stdout if check else done.stdout + done.stderr

    def run(self, *words: str, stdin: str = "", check: bool = True) -> str:
        """Run `fairlead` with these words."""
        return self.command([sys.executable, "-m", "fairlead", *words], stdin, check=check)

    def kubectl(self, *words: str, stdin: str = "", check: bool = True) -> str:
        """Run `kubectl` with these words."""
        return self.command(["kubectl", *words], stdin, check=check)

    def apply(self, *documents: Document) -> None:
        """Have these objects in the cluster."""
        self.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, documents)))

    def get(self, *words: str) -> Document:
        """An object, or a list of them."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def curl(self, url: str, *options: str, host: str = "") -> str:
        """What curl at the client prints for a URL of the controller's address."""
        port = 443 if url.startswith("https:") else 80
        named = ["--resolve", f"{host}:{port}:{self.address}"] if host else []
        words = ["curl", "-sS", "-m", "5", *named, *options, url]
        return self.run("exec", "--from", "client", "--", *words, check=False)

    def status(self, url: str, *options: str, host: str = "") -> int:
        """The status of an answer."""
        said = self.curl(url, "-o", "/dev/null", "-w", "%{http_code}", *options, host=host)
        return int(said[:3])

    def in_controller(self, script: str, *, check: bool = True) -> str:
        """Run a shell script in the controller's pod."""
        return self.kubectl(
            "-n", "nginx-ingress", "exec", "deploy/nginx-ingress", "--", "sh", "-c", script, check=check
        )

    def metrics(self) -> dict[str, float]:
        """The controller's metrics."""
        text = self.in_controller("curl -s http://127.0.0.1:10254/metrics")
        lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def events(self, name: str, namespace: str = "default") -> list[str]:
        """What was said about an object."""
        found = self.get("events", "-n", namespace, "--field-selector", f"involvedObject.name={name}")["items"]
        return [each["message"] for each in found]

    @contextmanager
    def load(self, url: str, **order: Any) -> Generator[Document]:
        """Requests from the client for the body; what became of them is in the yielded document after it."""
        told: Document = {}
        words = [sys.executable, "-m", "fairlead", "exec", "--from", "client", "--", sys.executable, str(LOAD)]
        with subprocess.Popen(
            [*words, json.dumps({"url": url, "address": self.address, **order})],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline().strip() == "ready"
                yield told
                out, _ = process.communicate("stop\n", timeout=60)
                told.update(json.loads(out))
            finally:
                process.kill()


def eventually(found: Callable[[], T], what: str, seconds: float = 30) -> T:
    """What `found` returns once it is true."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.1)
    return value


def application(name: str, replicas: int = 2, **pod: Any) -> tuple[Document, Document]:
    """A Deployment of stand-ins and its Service."""
    container = {
        "name": "app",
        "image": "example/app:1",
        "ports": [{"name": "http", "containerPort": 80}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
    }
    labels = {"app": name}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], **pod}},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }
    return deployment, service


def ingress(name: str, host: str, service: str = "app", tls: str = "", path: str = "/", **annotations: str) -> Document:
    """An Ingress with one path; annotations without their prefix, `_` for `-`."""
    prefix = "nginx.ingress.kubernetes.io/"
    backend = {"service": {"name": service, "port": {"name": "http"}}}
    spec: Document = {
        "ingressClassName": "nginx",
        "rules": [{"host": host, "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}}],
    }
    if tls:
        spec["tls"] = [{"hosts": [host], "secretName": tls}]
    named = {prefix + key.replace("_", "-"): value for key, value in annotations.items()}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "annotations": named},
        "spec": spec,
    }


def certificate(name: str, *hosts: str) -> Document:
    """A Secret with a new self-signed certificate; its common name says which it is."""
    import base64
    from datetime import UTC, datetime, timedelta

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name}-{x509.random_serial_number() % 10**9}")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    data = {"tls.crt": made.public_bytes(Encoding.PEM), "tls.key": private}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name},
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }
