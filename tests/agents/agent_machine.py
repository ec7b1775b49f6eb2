"""A network namespace with an API server in it that can be seen through, and agents to start, stop and kill there."""

import asyncio
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from fairlead.drivers.netns import entered, new_namespace, open_socket
from fairlead.kube.documents import Document, Json, mapping_at, text_at


class World:
    """An API server of any kinds, small enough to see through: it lists, watches, dies and comes back."""

    def __init__(self, namespace: int) -> None:
        self._namespace = namespace
        self._objects: defaultdict[str, dict[str, Document]] = defaultdict(dict)
        self._history: list[tuple[int, str, Document]] = []
        self._news = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.forbidden: set[str] = set()
        self.mischief: random.Random | None = None
        """While set: refused lists, watches that are too old, break off or tell nonsense, events told twice or late."""

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

    async def forget(self) -> None:
        """Be a server whose store was restored: objects as they are, revisions from the beginning."""
        self._history.clear()

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
        if kind in self.forbidden:
            return web.json_response({"kind": "Status", "code": 403, "reason": "Forbidden"}, status=403)
        if "watch" not in request.query:
            if self._perhaps(0.2):
                return web.json_response({"kind": "Status", "code": 503}, status=503)
            items: list[Json] = list(self._objects[kind].values())
            version = str(len(self._history) + 1)
            asked = request.query.get("resourceVersion") or "0"
            if int(asked) > int(version):
                return web.json_response({"kind": "Status", "code": 504, "reason": "Timeout"}, status=504)
            return web.json_response({"metadata": {"resourceVersion": version}, "items": items})
        response = web.StreamResponse()
        await response.prepare(request)
        told = int(request.query["resourceVersion"]) - 1
        if told > len(self._history) or self._perhaps(0.3):
            gone: Document = {"kind": "Status", "code": 410, "reason": "Expired"}
            await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
            return response
        while True:
            async with self._news:
                while len(self._history) <= told:
                    await self._news.wait()
            for _, which, event in self._history[told:]:
                told += 1
                if which != kind:
                    continue
                await response.write(json.dumps(event).encode() + b"\n")
                if self._perhaps(0.05):
                    return response
                if self._perhaps(0.03):
                    await response.write(b'{"type": "MODIFIED", "object": 7}\n')
                if self._perhaps(0.3):
                    await response.write(json.dumps(self._told_before(kind, told)).encode() + b"\n")
            if self._perhaps(0.5):
                await asyncio.sleep(0.01)  # one kind lags behind the others

    def _perhaps(self, chance: float) -> bool:
        return self.mischief is not None and self.mischief.random() < chance

    def _told_before(self, kind: str, told: int) -> Document:
        """The last event again, or an older one of an object that is still there."""
        assert self.mischief is not None
        past = [event for _, which, event in self._history[max(0, told - 20) : told] if which == kind]
        names = self._objects[kind]
        old = [
            event
            for event in past
            if text_at(event, "object", "metadata", "name") in names and event["type"] != "DELETED"
        ]
        return self.mischief.choice([past[-1], *old])


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

    def listen(self) -> Callable[[], list[tuple[int, bytes]]]:
        """Hear of every nftables commit from now on; what is returned tells the messages by type."""
        heard = open_socket(self.namespace, socket.AF_NETLINK, socket.SOCK_RAW, 12)
        heard.bind((0, 0))
        heard.setsockopt(270, 1, 7)  # SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES

        def told() -> list[tuple[int, bytes]]:
            messages: list[tuple[int, bytes]] = []
            with suppress(BlockingIOError):
                while True:
                    data, at = heard.recv(1 << 17), 0
                    while at + 16 <= len(data):
                        length, kind = struct.unpack_from("=IH", data, at)
                        messages.append((kind, data[at + 16 : at + length]))
                        at += (length + 3) & ~3
            heard.close()
            return messages

        return told

    def start_agent(self, *options: str) -> subprocess.Popen[bytes]:
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
        words = ["agent", "node", "--node-name", "node-1", "--kubeconfig", str(config), "--service-cidr", "", *options]
        with entered(self.namespace):
            agent = subprocess.Popen(
                [sys.executable, "-m", "fairlead", *words], stderr=(self.folder / "log").open("ab")
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

    async def wait_for(self, addresses: set[str], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while self.addresses() != addresses:
            assert time.monotonic() < deadline, f"{self.addresses()} never became {addresses}: {self.log()}"
            await asyncio.sleep(0.02)

    async def wait_for_log(self, text: str, times: int = 1, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while self.log().count(text) < times:
            assert time.monotonic() < deadline, f"{text!r} was never said: {self.log()}"
            await asyncio.sleep(0.02)

    async def wait_for_ruleset(self, pattern: str, *, there: bool, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while bool(re.search(pattern, self.run("nft", "list", "ruleset"), re.DOTALL)) is not there:
            assert time.monotonic() < deadline, f"{pattern}: {self.run('nft', 'list', 'ruleset')} {self.log()}"
            await asyncio.sleep(0.02)

    async def wait_for_answer(self, url: str, status: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while self.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url) != status:
            assert time.monotonic() < deadline, f"{url} never answered {status}: {self.log()}"
            await asyncio.sleep(0.02)

    def close(self) -> None:
        for agent in self.agents:
            agent.kill()
            agent.wait()
        os.close(self.namespace)


async def put_first_objects(world: World) -> None:
    """A node, a service on a node port, and its two endpoints."""
    node: Document = {
        "metadata": {"name": "node-1"},
        "spec": {"podCIDRs": ["10.244.1.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.2"}]},
    }
    await world.put("nodes", node)
    await world.put("services", a_service("web", "10.96.0.10", 30080))
    await world.put("endpointslices", a_slice("web", "10.244.1.2", "10.244.2.2"))
