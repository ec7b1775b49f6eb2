"""Does the agent, as a process, keep the kernel at what the API server says, whatever happens to either?"""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from fairlead.drivers.netns import entered, new_namespace, open_socket
from fairlead.kube.documents import Document, Json, mapping_at, text_at

pytestmark = pytest.mark.kernel


class World:
    """An API server of three kinds, small enough to see through: it lists, watches, dies and comes back."""

    def __init__(self, namespace: int) -> None:
        self._namespace = namespace
        self._objects: dict[str, dict[str, Document]] = {"services": {}, "endpointslices": {}, "nodes": {}}
        self._history: list[tuple[int, str, Document]] = []
        self._news = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        listener = open_socket(self._namespace, socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        application = web.Application()
        application.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def put(self, kind: str, document: Document) -> None:
        await self._change(kind, "MODIFIED", document)

    async def remove(self, kind: str, name: str) -> None:
        await self._change(kind, "DELETED", self._objects[kind][name])

    async def _change(self, kind: str, what: str, document: Document) -> None:
        version = len(self._history) + 2
        name = text_at(document, "metadata", "name")
        document = {**document, "metadata": {**mapping_at(document, "metadata"), "resourceVersion": str(version)}}
        if what == "DELETED":
            del self._objects[kind][name]
        else:
            self._objects[kind][name] = document
        event: Document = {"type": what, "object": document}
        async with self._news:
            self._history.append((version, kind, event))
            self._news.notify_all()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        kind = request.path.rsplit("/", 1)[-1]
        if "watch" not in request.query:
            items: list[Json] = list(self._objects[kind].values())
            version = str(len(self._history) + 1)
            return web.json_response({"metadata": {"resourceVersion": version}, "items": items})
        response = web.StreamResponse()
        await response.prepare(request)
        told = int(request.query["resourceVersion"]) - 1
        while True:
            async with self._news:
                while len(self._history) <= told:
                    await self._news.wait()
            for _, which, event in self._history[told:]:
                told += 1
                if which == kind:
                    await response.write(json.dumps(event).encode() + b"\n")


def a_service(name: str, ip: str, node_port: int = 0, protocol: str = "TCP") -> Document:
    ports: list[Json] = [{"name": "http", "port": 80, "nodePort": node_port, "protocol": protocol}]
    return {"metadata": {"namespace": "shop", "name": name}, "spec": {"clusterIP": ip, "ports": ports}}


def a_slice(service: str, *addresses: str, protocol: str = "TCP") -> Document:
    endpoints: list[Json] = [{"addresses": [address]} for address in addresses]
    labels: Document = {"kubernetes.io/service-name": service}
    return {
        "metadata": {"namespace": "shop", "name": f"{service}-1", "labels": labels},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080, "protocol": protocol}],
    }


class Machine:
    """A network namespace with an API server in it, and agents to start there."""

    def __init__(self, folder: Path) -> None:
        self.namespace = new_namespace()
        self.run("ip", "link", "set", "lo", "up")
        self.world = World(self.namespace)
        self.folder = folder
        self.agents: list[subprocess.Popen[bytes]] = []

    def run(self, *words: str) -> str:
        with entered(self.namespace):
            return subprocess.run(words, capture_output=True, text=True, check=False).stdout

    def send_udp(self, source_port: int, address: str) -> None:
        with open_socket(self.namespace, socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("10.244.1.1", source_port))
            sender.sendto(b"x", (address, 80))

    def udp_flows(self) -> set[tuple[str, str]]:
        """Source port and answerer of each UDP flow to the service."""
        found = self.run("conntrack", "-L", "-p", "udp", "--orig-dst", "10.96.0.53")
        return set(re.findall(r"sport=(\d+) dport=80 .*?src=([\d.]+) ", found))

    def listen(self) -> subprocess.Popen[str]:
        with entered(self.namespace):
            return subprocess.Popen(["nft", "monitor"], stdout=subprocess.PIPE, text=True)

    def start_agent(self) -> subprocess.Popen[bytes]:
        config = self.folder / "kubeconfig"
        named: Document = {"server": f"http://127.0.0.1:{self.world.port}"}
        config.write_text(
            json.dumps(
                {
                    "current-context": "c",
                    "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                    "clusters": [{"name": "k", "cluster": named}],
                    "users": [{"name": "u", "user": {}}],
                }
            )
        )
        program = (
            "import asyncio, sys; from pathlib import Path\n"
            "from fairlead.agents.node import Binding, NodeAgentConfig, main\n"
            "asyncio.run(main(NodeAgentConfig(node='node-1', kubeconfig=Path(sys.argv[1]), healthz=Binding('', 10256), "
            "metrics=Binding('127.0.0.1', 10249))))"
        )
        with entered(self.namespace):
            agent = subprocess.Popen(
                [sys.executable, "-c", program, str(config)], stderr=(self.folder / "log").open("ab")
            )
        self.agents.append(agent)
        return agent

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def table(self) -> str:
        """Our table as nft shows it, in an order of its own."""
        lines = self.run("nft", "list", "table", "ip", "fairlead").splitlines()
        return "\n".join(sorted(line.strip() for line in lines))

    def addresses(self) -> set[str]:
        """The addresses of the backends in the kernel."""
        found = self.run("nft", "list", "map", "ip", "fairlead", "backends")
        return set(re.findall(r": (10\.244\.\d+\.\d+) \. \d+", found))

    async def wait_for(self, addresses: set[str], seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while self.addresses() != addresses:
            assert time.monotonic() < deadline, f"{self.addresses()} never became {addresses}: {self.log()}"
            await asyncio.sleep(0.02)

    async def wait_for_log(self, text: str, times: int = 1, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while self.log().count(text) < times:
            assert time.monotonic() < deadline, f"{text!r} was never said: {self.log()}"
            await asyncio.sleep(0.02)

    async def wait_for_ruleset(self, pattern: str, *, there: bool, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while bool(re.search(pattern, self.run("nft", "list", "ruleset"), re.DOTALL)) is not there:
            assert time.monotonic() < deadline, f"{pattern}: {self.run('nft', 'list', 'ruleset')} {self.log()}"
            await asyncio.sleep(0.02)

    async def wait_for_answer(self, url: str, status: str, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while self.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url) != status:
            assert time.monotonic() < deadline, f"{url} never answered {status}: {self.log()}"
            await asyncio.sleep(0.02)

    def close(self) -> None:
        for agent in self.agents:
            agent.kill()
            agent.wait()
        os.close(self.namespace)


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    machine = Machine(tmp_path)
    world = machine.world
    await world.start()
    node: Document = {
        "metadata": {"name": "node-1"},
        "spec": {"podCIDRs": ["10.244.1.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.2"}]},
    }
    await world.put("nodes", node)
    await world.put("services", a_service("web", "10.96.0.10", 30080))
    await world.put("endpointslices", a_slice("web", "10.244.1.2", "10.244.2.2"))
    yield machine
    await world.stop()
    machine.close()


async def test_the_kernel_follows_endpoints_and_services(machine: Machine) -> None:
    machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    ruleset = machine.run("nft", "list", "ruleset")
    assert "10.96.0.10 . tcp . 80 : goto cluster-2" in ruleset.replace('"', "")
    assert "172.18.0.2 . tcp . 30080" in ruleset
    await machine.world.put("endpointslices", a_slice("web", "10.244.2.2", "10.244.2.3"))
    await machine.wait_for({"10.244.2.2", "10.244.2.3"})
    await machine.world.remove("services", "web")
    await machine.wait_for(set())
    assert "10.96.0.10" not in machine.run("nft", "list", "ruleset")


async def test_health_metrics_and_mode_are_served_as_by_kube_proxy(machine: Machine) -> None:
    machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    now = datetime.now(UTC).isoformat()
    happened: Document = {"endpoints.kubernetes.io/last-change-trigger-time": now}
    piece = a_slice("web", "10.244.1.2", "10.244.2.3")
    await machine.world.put(
        "endpointslices", {**piece, "metadata": {**mapping_at(piece, "metadata"), "annotations": happened}}
    )
    await machine.wait_for({"10.244.1.2", "10.244.2.3"})
    for address in ("127.0.0.1", "[::1]"):
        health = machine.run("curl", "-si", f"http://{address}:10256/healthz")
        assert "200 OK" in health
        assert "lastUpdated" in health
        assert json.loads(health.split("\n\n")[1])["status"]["IPv4"]["healthy"] is True
    assert "200 OK" in machine.run("curl", "-si", "http://127.0.0.1:10256/livez")
    assert machine.run("curl", "-s", "http://127.0.0.1:10249/proxyMode") == "nftables"
    assert machine.run("curl", "-s", "http://127.0.0.1:10249/healthz") == "ok"
    assert '"mode":"nftables"' in machine.run("curl", "-s", "http://127.0.0.1:10249/configz")
    metrics = machine.run("curl", "-s", "http://127.0.0.1:10249/metrics")
    assert 'kubeproxy_network_programming_duration_seconds_count{ip_family="IPv4"} 1.0' in metrics
    assert 'kubeproxy_sync_partial_proxy_rules_duration_seconds_count{ip_family="IPv4"} 1.0' in metrics
    assert "kubeproxy_sync_proxy_rules_endpoint_changes_total 1.0" in metrics
    assert 'kubeproxy_proxy_healthz_total{code="200"} 2.0' in metrics
    assert "process_resident_memory_bytes" in metrics
    await machine.world.remove("nodes", "node-1")
    await machine.wait_for_answer("http://127.0.0.1:10256/healthz", "503")
    assert machine.addresses() == {"10.244.1.2", "10.244.2.3"}


def a_family_node(*addresses: str) -> Document:
    internal: list[Json] = [{"type": "InternalIP", "address": address} for address in addresses]
    cidrs: list[Json] = ["fd00:244:1::/64" if ":" in address else "10.244.1.0/24" for address in addresses]
    return {"metadata": {"name": "node-1"}, "spec": {"podCIDRs": cidrs}, "status": {"addresses": internal}}


@pytest.mark.parametrize("families", ["IPv4", "IPv6", "both"])
async def test_a_node_has_a_table_for_each_family_it_speaks(machine: Machine, families: str) -> None:
    addresses = {"IPv4": ["172.18.0.2"], "IPv6": ["fd00:18::2"], "both": ["172.18.0.2", "fd00:18::2"]}[families]
    world = machine.world
    await world.put("nodes", a_family_node(*addresses))
    service = a_service("web", "fd00:96::10" if families == "IPv6" else "10.96.0.10", 30080)
    ips: list[Json] = [
        ip for ip in ("10.96.0.10", "fd00:96::10") if families in ("both", "IPv6" if ":" in ip else "IPv4")
    ]
    await world.put("services", {**service, "spec": {**mapping_at(service, "spec"), "clusterIPs": ips}})
    six = a_slice("web", "fd00:244:1::2", "fd00:244:2::2")
    await world.put(
        "endpointslices",
        {**six, "metadata": {**mapping_at(six, "metadata"), "name": "web-6"}, "addressType": "IPv6"},
    )
    machine.start_agent()
    wanted = {
        "IPv4": ["ip fairlead .*10\\.96\\.0\\.10 \\. tcp \\. 80", "172\\.18\\.0\\.2 \\. tcp \\. 30080"],
        "IPv6": ["ip6 fairlead .*fd00:96::10 \\. tcp \\. 80", "fd00:18::2 \\. tcp \\. 30080"],
    }
    for family, texts in wanted.items():
        for text in texts:
            await machine.wait_for_ruleset(text, there=families in (family, "both"))


async def test_a_family_that_a_node_gets_later_is_programmed_then(machine: Machine) -> None:
    machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    assert "ip6" not in machine.run("nft", "list", "tables")
    await machine.world.put("nodes", a_family_node("172.18.0.2", "fd00:18::2"))
    await machine.wait_for_ruleset("table ip6 fairlead", there=True)


async def test_sigterm_leaves_the_rows_and_the_next_agent_applies_only_the_difference(machine: Machine) -> None:
    agent = machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(10) == 0
    assert machine.addresses() == {"10.244.1.2", "10.244.2.2"}
    await machine.world.put("services", a_service("db", "10.96.0.11"))
    await machine.world.put("endpointslices", a_slice("db", "10.244.1.9"))
    monitor = machine.listen()
    machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2", "10.244.1.9"})
    monitor.terminate()
    assert monitor.stdout is not None
    heard = monitor.stdout.read()
    assert "10.96.0.11" in heard, heard
    assert "10.96.0.10 " not in heard, heard
    assert "delete" not in heard, heard


async def test_rows_stay_while_the_api_server_is_away_and_catch_up_after(machine: Machine) -> None:
    machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    await machine.world.stop()
    await machine.wait_for_log("event=waiting")
    assert machine.addresses() == {"10.244.1.2", "10.244.2.2"}
    await machine.world.put("endpointslices", a_slice("web", "10.244.2.4"))
    await machine.world.start()
    await machine.wait_for({"10.244.2.4"}, seconds=20)


EDITS = {
    "the ruleset flushed": "flush ruleset",
    "the table deleted": "delete table ip fairlead",
    "rules deleted": "flush chain ip fairlead nat-prerouting",
    "a chain deleted": "flush chain ip fairlead nat-output; delete chain ip fairlead nat-output",
    "a rule inserted": "insert rule ip fairlead nat-prerouting accept",
    "rows deleted": "flush map ip fairlead frontends; flush map ip fairlead backends",
    "a row added": "add element ip fairlead frontends { 10.96.0.99 . tcp . 80 : drop }",
    "a chain added": "add chain ip fairlead theirs { type filter hook prerouting priority -300; policy drop; }",
    "a chain of no kind of ours": "add chain ip fairlead odd { type route hook output priority -5; }",
    "another set": "add set ip fairlead odd { type ipv4_addr; flags interval, timeout; }",
}


async def test_what_somebody_did_to_our_table_is_undone_without_any_other_event(machine: Machine) -> None:
    machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    right = machine.table()
    machine.run("nft", "add", "table", "inet", "strange")
    for name, edit in EDITS.items():
        machine.run("nft", edit)
        started = time.monotonic()
        while machine.table() != right:
            assert time.monotonic() < started + 10, f"{name}: {machine.table()} {machine.log()}"
            await asyncio.sleep(0.005)
        assert "by=nft" in machine.log()
    assert machine.log().count("event=touched") <= 2 * len(EDITS)
    await machine.world.put("endpointslices", a_slice("web", "10.244.1.2", "10.244.2.5"))
    await machine.wait_for({"10.244.1.2", "10.244.2.5"})


async def test_other_tables_and_our_own_writing_do_not_look_like_somebody_elses(machine: Machine) -> None:
    machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    machine.run("nft", "add table ip strange; add chain ip strange c; add rule ip strange c counter")
    machine.run("nft", "add table ip6 fairlead")  # not ours on a node without IPv6
    await machine.world.put("endpointslices", a_slice("web", "10.244.1.2", "10.244.2.5"))
    await machine.wait_for({"10.244.1.2", "10.244.2.5"})
    assert "event=touched" not in machine.log()
    assert "table ip strange" in machine.run("nft", "list", "tables")


async def test_udp_flows_of_removed_endpoints_are_forgotten_and_others_kept(machine: Machine) -> None:
    machine.run("ip", "link", "add", "pods", "type", "veth", "peer", "name", "others")
    machine.run("ip", "link", "set", "others", "up")
    machine.run("ip", "address", "add", "10.244.1.1/24", "dev", "pods")
    machine.run("ip", "link", "set", "pods", "up")
    machine.run("ip", "route", "add", "10.96.0.0/16", "dev", "pods")
    world = machine.world
    await world.put("services", a_service("dns", "10.96.0.53", protocol="UDP"))
    machine.start_agent()
    await machine.wait_for({"10.244.1.2", "10.244.2.2"})
    await world.put("endpointslices", a_slice("dns", "10.244.1.52", protocol="UDP"))
    await machine.wait_for({"10.244.1.2", "10.244.2.2", "10.244.1.52"})
    machine.send_udp(5001, "10.96.0.53")
    assert machine.udp_flows() == {("5001", "10.244.1.52")}
    await world.put("endpointslices", a_slice("dns", "10.244.1.52", "10.244.1.53", protocol="UDP"))
    await machine.wait_for({"10.244.1.2", "10.244.2.2", "10.244.1.52", "10.244.1.53"})
    assert machine.udp_flows() == {("5001", "10.244.1.52")}
    await world.put("endpointslices", a_slice("dns", "10.244.1.53", protocol="UDP"))
    await machine.wait_for_log("event=forgot flows=1")
    assert machine.udp_flows() == set()
    machine.send_udp(5001, "10.96.0.53")
    assert machine.udp_flows() == {("5001", "10.244.1.53")}
