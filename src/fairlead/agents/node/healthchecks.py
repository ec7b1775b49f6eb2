"""The healthCheckNodePort of each Service that has one: whether this node has endpoints of it.

Comes in: which services changed. Goes out: HTTP servers, and their answers to load balancers: 200 while the node has
a ready endpoint and the proxy keeps up, 503 otherwise. Only services of type LoadBalancer with external traffic policy
Local have one. Source: k/pkg/proxy/healthcheck/service_health.go.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from fairlead.agents.events import Notice
from fairlead.agents.lines import log
from fairlead.agents.node.objects import Key, ServiceObjects
from fairlead.agents.pages import JSON, Binding, Page, serve
from fairlead.kube.core import Service
from fairlead.model import Origin
from fairlead.net import Family

AGAIN_SECONDS = 15.0
"""How long until a port that could not be had is tried again."""


def health_check_port(service: Service | None) -> int:
    """The port on which load balancers ask for the service, 0 where they do not."""
    if service is None or service.spec.type != "LoadBalancer" or service.spec.external_traffic_policy != "Local":
        return 0
    return service.spec.health_check_node_port


def health_check_page(key: Key, local_endpoints: int, *, proxy_healthy: bool) -> Page:
    """The answer for a service with so many ready endpoints on this node."""
    body = {
        "service": {"namespace": key[0], "name": key[1]},
        "localEndpoints": local_endpoints,
        "serviceProxyHealthy": proxy_healthy,
    }
    headers = (("X-Content-Type-Options", "nosniff"), ("X-Load-Balancing-Endpoint-Weight", str(local_endpoints)))
    return Page(msgspec.json.encode(body), JSON, 200 if local_endpoints and proxy_healthy else 503, headers)


class HealthChecks:
    """The servers there should be, and those there are."""

    def __init__(
        self, objects: ServiceObjects, healthy: Callable[[], bool], tell: Callable[[Notice], None], node: str
    ) -> None:
        self._objects = objects
        self._healthy = healthy
        self._tell = tell
        self._node = node
        self._touched: dict[Key, None] = {}
        self._wanted: dict[Key, int] = {}
        self._serving: dict[Key, tuple[int, Sequence[asyncio.Server]]] = {}
        self._news = asyncio.Event()
        objects.listen(self)

    def touch(self, key: Key, family: Family | None) -> None:
        """A service changed; its slices are looked at when somebody asks."""
        if family is None and (key in self._wanted or health_check_port(self._objects.services.get(key))):
            self._touched[key] = None
            self._news.set()

    def touch_node(self) -> None:
        """The node's addresses changed: listen on the new ones."""
        if self._wanted:
            self._touched |= dict.fromkeys(self._wanted)
            self._news.set()

    async def run(self) -> None:
        """Open and close servers for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            touched, self._touched = self._touched, {}
            for key in touched:
                self._close(key)
            for key in touched:
                await self._open(key)

    def close(self) -> None:
        """Stop listening."""
        for key in list(self._serving):
            self._close(key)

    def _close(self, key: Key) -> None:
        _, servers = self._serving.pop(key, (0, ()))
        for server in servers:
            server.close()

    async def _open(self, key: Key) -> None:
        port = health_check_port(self._objects.services.get(key))
        if not port:
            self._wanted.pop(key, None)
            return
        self._wanted[key] = port

        async def page(path: str) -> Page:
            return health_check_page(key, len(self._objects.local_ready(key)), proxy_healthy=self._healthy())

        bindings = [Binding(str(address), port) for address in self._objects.facts.addresses]
        try:
            self._serving[key] = port, await serve(bindings or [Binding("", port)], page)
        except OSError as error:
            self._complain(key, port, error.strerror or str(error))
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._try_again, key)

    def _try_again(self, key: Key) -> None:
        if key in self._wanted and key not in self._serving:
            self._touched[key] = None
            self._news.set()

    def _complain(self, key: Key, port: int, why: str) -> None:
        name = "/".join(key)
        log(event="no-health-check", service=name, port=port, error=why)
        message = f'node {self._node} failed to start healthcheck "{name}" on port {port}: {why}'
        self._tell(Notice(Origin("Service", *key), "FailedToStartServiceHealthcheck", message))
