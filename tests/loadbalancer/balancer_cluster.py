"""An embedded cluster with load balancers, driven from outside as a user does.

What is asked again and again is asked without starting kubectl and `fairlead exec` each time.
"""

import asyncio
import base64
import http.client
import json
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml

from fairlead.cluster.places import open_place

REPOSITORY = Path(__file__).parents[2]
TRAFFIC = REPOSITORY / "tests/load/load_traffic.py"
CLIENT = Path(__file__).parent / "balancer_client.py"
PLURALS = {
    "service": "api/v1/namespaces/{}/services",
    "ingress": "apis/networking.k8s.io/v1/namespaces/{}/ingresses",
    "ipaddresspool": "apis/metallb.io/v1beta1/namespaces/{}/ipaddresspools",
    "configurationstate": "apis/metallb.io/v1beta1/namespaces/{}/configurationstates",
}
REQUEST = "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"

T = TypeVar("T")
Document = dict[str, Any]


class Load:
    """What a load held at its start, and what it told at its end."""

    held: dict[int, str]
    told: Document


class Cluster:
    """A cluster of three nodes with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._tls: ssl.SSLContext | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands."""
        path = os.pathsep.join([str(REPOSITORY / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
        kubeconfig = str(self.home / "fairlead" / "kubeconfig")
        return {**os.environ, "FAIRLEAD_HOME": str(self.home), "PYTHONPATH": path, "KUBECONFIG": kubeconfig}

    def run(self, *words: str, stdin: str = "", check: bool = True) -> str:
        """Run `fairlead` with these words."""
        return self.command([sys.executable, "-m", "fairlead", *words], stdin, check=check)

    def kubectl(self, *words: str, stdin: str = "", check: bool = True) -> str:
        """Run `kubectl` with these words."""
        return self.command(["kubectl", *words], stdin, check=check)

    def command(self, argv: list[str], stdin: str = "", *, check: bool = True) -> str:
        """Run a program and return what it prints; where it fails, also what it complains of."""
        done = subprocess.run(
            argv, env=self.environment, input=stdin, capture_output=True, text=True, timeout=120, check=False
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}\n{done.stderr}"
        return done.stdout if check else done.stdout + done.stderr

    def at(self, place: str, *words: str, check: bool = True) -> str:
        """Run a program at a place of the cluster."""
        return self.run("exec", "--from", place, "--", *words, check=check)

    def near(self, place: str, *words: str, check: bool = True) -> str:
        """Run a program in the network of a place, in nothing else of it: quicker than `at`."""
        spaces = open_place(self.home / "fairlead" / "run" / "places", place)
        named = (spaces.user, spaces.net)
        same = os.fstat(spaces.user).st_ino == Path("/proc/self/ns/user").stat().st_ino
        join = ([] if same else [f"--user=/proc/self/fd/{spaces.user}"]) + [f"--net=/proc/self/fd/{spaces.net}"]
        try:
            done = subprocess.run(
                ["nsenter", *join, "--", *words],
                env=self.environment,
                pass_fds=named,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        finally:
            for each in (*named, spaces.mount, spaces.pid):
                os.close(each)
        assert not check or done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
        return done.stdout if check else done.stdout + done.stderr

    def apply(self, *documents: Document) -> None:
        """Have these objects in the cluster."""
        self.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, documents)))

    def get(self, kind: str, name: str, namespace: str = "default") -> Document:
        """An object."""
        return self.read(f"/{PLURALS[kind].format(namespace)}/{name}")

    def read(self, path: str) -> Document:
        """What the API server has at a path, with the credentials that kubectl has."""
        config = yaml.safe_load((self.home / "fairlead" / "kubeconfig").read_text())
        server = config["clusters"][0]["cluster"]["server"].removeprefix("https://")
        if self._tls is None:
            data = config["clusters"][0]["cluster"] | config["users"][0]["user"]
            files = {
                each: self.home / f"{each}.pem"
                for each in ("certificate-authority", "client-certificate", "client-key")
            }
            for each, file in files.items():
                file.write_bytes(base64.b64decode(data[f"{each}-data"]))
            self._tls = ssl.create_default_context(cafile=str(files["certificate-authority"]))
            self._tls.load_cert_chain(files["client-certificate"], files["client-key"])
        connection = http.client.HTTPSConnection(server, timeout=20, context=self._tls)
        try:
            connection.request("GET", path, headers={"Accept": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, body
        return json.loads(body)

    def addresses(self, service: str) -> list[str]:
        """The addresses a Service has been given."""
        ingress = self.get("service", service)["status"]["loadBalancer"].get("ingress", [])
        return [each["ip"] for each in ingress]

    def address(self, service: str) -> str:
        """The first address a Service is given, waiting for it."""
        return eventually(lambda: self.addresses(service), f"an address for {service}")[0]

    def dial(self, address: str, port: int = 80, count: int = 1, kind: str = "tcp", patience: float = 2.5) -> Document:
        """Dial from the client, waiting so many seconds for each answer, and return who answered."""
        words = (kind, address, str(port), str(count), str(patience))
        return json.loads(self.near("client", sys.executable, str(CLIENT), *words))

    def events(self, name: str) -> list[tuple[str, str]]:
        """Reasons and messages of what was said about an object."""
        found = self.read(f"/api/v1/events?fieldSelector=involvedObject.name%3D{name}")["items"]
        return [(each["reason"], each["message"]) for each in found]

    def backends(self, address: str, port: int, protocol: str = "tcp") -> set[str]:
        """The nodes that the load-balancer host's rows lead to."""
        listed = self.near("lb", "nft", "list", "map", "ip", "fairlead", "backends")
        return set(re.findall(rf"{re.escape(address)} \. {protocol} \. {port} \. \d+ : (\S+) \.", listed))

    @asynccontextmanager
    async def load(self, *targets: str, rate: int = 200, hold: int = 50) -> AsyncGenerator[Load]:
        """So many new connections a second and held ones, from the client, for the body."""
        order = {"targets": targets, "request": REQUEST, "answer": "HTTP/1.1 200", "rate": rate, "hold": hold}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fairlead", "exec", "--from", "client", "--"),
            *(sys.executable, str(TRAFFIC), json.dumps(order)),
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        load = Load()
        try:
            line = await asyncio.wait_for(process.stdout.readline(), 20)
            load.held = {int(port): target for port, target in json.loads(line)["held"].items()}
            yield load
            assert process.stdin is not None
            process.stdin.close()
            out, _ = await asyncio.wait_for(process.communicate(), 30)
            load.told = json.loads(out)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@asynccontextmanager
async def flows(cluster: Cluster, address: str, port: int, count: int) -> AsyncGenerator[dict[int, float]]:
    """So many UDP flows from the client for the body; afterwards the longest silence of each, by its source port."""
    program = Path(__file__).parent / "balancer_flows.py"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fairlead", "exec", "--from", "client", "--"),
        *(sys.executable, str(program), address, str(port), str(count)),
        env=cluster.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    silences: dict[int, float] = {}
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"answered\n"
        yield silences
        assert process.stdin is not None
        process.stdin.close()
        out, _ = await asyncio.wait_for(process.communicate(), 30)
        silences |= {int(number): seconds for number, seconds in json.loads(out).items()}
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def eventually(look: Callable[[], T], what: str, seconds: float = 20.0) -> T:
    """Look until there is something, and return it; fail with `what` when there never is."""
    started = time.monotonic()
    while not (found := look()):
        assert time.monotonic() < started + seconds, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(0.05)
    return found


def deployment(name: str, replicas: int, nodes: tuple[str, ...] = ()) -> Document:
    """Pods that answer over TCP at 8080 and over UDP at 8081, on these nodes only."""
    ports = [{"name": "tcp", "containerPort": 8080}, {"name": "udp", "containerPort": 8081, "protocol": "UDP"}]
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}
    required = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    spec: Document = {"containers": [{"name": "web", "image": "example/web:1", "ports": ports}]}
    if nodes:
        spec["affinity"] = affinity
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
        },
    }


def service(name: str, app: str = "web", annotations: dict[str, str] | None = None, **spec: object) -> Document:
    """A Service of type LoadBalancer: port 80 over TCP, and port 81 over UDP."""
    ports = [
        {"name": "tcp", "port": 80, "targetPort": 8080},
        {"name": "udp", "port": 81, "targetPort": 8081, "protocol": "UDP"},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {"type": "LoadBalancer", "selector": {"app": app}, "ports": ports, **spec},
    }
