"""The ingress controller as a program: watches in, a running NGINX, Events and status out.

Comes in: a way to the API server and the operator's flags. It runs under `keeper`; NGINX serves on when it dies, and it
takes a running NGINX over when it starts.
"""

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from aiohttp.web import AppRunner
from msgspec import Struct

from fairlead.agents.events import EventWriter, Notice, notice_of
from fairlead.agents.ingress.metrics import metrics_page
from fairlead.agents.ingress.names import ExternalNames
from fairlead.agents.ingress.objects import IngressObjects
from fairlead.agents.ingress.placeholder import make_placeholder, with_default
from fairlead.agents.ingress.serving import Serving, lua_folder
from fairlead.agents.ingress.stapling import Stapler
from fairlead.agents.ingress.status import StatusWriter, addresses, published_by
from fairlead.agents.ingress.webhook import WebhookSettings, serve_webhook
from fairlead.agents.leases import Leadership, LeaseName
from fairlead.agents.lines import log
from fairlead.agents.pages import NOT_FOUND, Binding, Page, keep_serving
from fairlead.compile.route_options import IngressOptions, Key
from fairlead.compile.routes import Built, Routes
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.kubeapi import ApiError, HttpTransport, KubeClient
from fairlead.drivers.nginxd import Nginx, NginxFolder
from fairlead.model import Finding
from fairlead.render.nginx_names import READ_BY_WORKERS, Layout

COMPONENT = "nginx-ingress-controller"


class IngressAgentConfig(Struct, frozen=True, kw_only=True):
    """The operator's flags. Without `kubeconfig` the pod's service account is used."""

    kubeconfig: Path | None = None
    options: IngressOptions = IngressOptions()
    config_map: Key = ("nginx-ingress", "nginx-ingress")
    publish_service: Key | None = None
    publish_addresses: tuple[str, ...] = ()
    update_status: bool = True
    pod: str = ""
    namespace: str = "nginx-ingress"
    folder: Path = Path("/run/fairlead-ingress")
    nginx: str = "nginx"
    user: str | None = None
    health: Binding | None = Binding("", 10254)
    election: str = "nginx-ingress-leader"
    shutdown_seconds: float = 240.0
    webhook: WebhookSettings | None = None


def run(config: IngressAgentConfig) -> None:
    """Run until SIGTERM."""
    asyncio.run(main(config))


async def main(config: IngressAgentConfig) -> None:
    """Run until SIGTERM or SIGINT, then let NGINX finish what it has. Raises MissingNginxError where there is none."""
    named = config.kubeconfig
    transport = HttpTransport.in_cluster() if named is None else HttpTransport.from_kubeconfig(named)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    config.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    agent = IngressAgent(config, KubeClient(transport))
    agent.nginx.require(_layout(config).module_files)
    working = asyncio.create_task(agent.run())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        working.result()
    await agent.say_goodbye()
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    await agent.end_nginx()
    await transport.close()


class IngressAgent:
    """One replica of the controller and its NGINX."""

    def __init__(self, config: IngressAgentConfig, client: KubeClient) -> None:
        self._config = config
        self._news = asyncio.Event()
        who = config.pod or f"pid-{os.getpid()}"
        self._routes = Routes(config.options)
        self._objects = IngressObjects(client, self._routes, config.config_map, self._changed, self._news.set)
        self._names = ExternalNames(self._routes.set_resolved, self._news.set)
        self._events = EventWriter(client, who, time.time, self._objects.uid_of, component=COMPONENT)
        self._leadership = Leadership(client, LeaseName(config.namespace, config.election), who, time.monotonic)
        self._status = StatusWriter(client, self._leadership, self._objects.ingresses)
        self.nginx = Nginx(NginxFolder(config.folder, config.nginx, READ_BY_WORKERS))
        self._serving = Serving(self.nginx, _layout(config), self._routes, self._news.set)
        self._stapler = Stapler(self.nginx.ask, self.nginx.master)
        self._told: frozenset[Finding] = frozenset()
        self._built: Built | None = None
        self._placeholder = make_placeholder()
        self._webhook: AppRunner | None = None

    async def run(self) -> None:
        """Follow and serve for ever."""
        # Copied, since NGINX's workers are another user, who may not see where this program is installed.
        self.nginx.write({f"lua/{each.name}": each.read_text() for each in lua_folder().glob("*.lua")})
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._objects.run())
            tasks.create_task(self._serving.run())
            tasks.create_task(self._names.run())
            tasks.create_task(self._stapler.run())
            tasks.create_task(self._build())
            tasks.create_task(self._events.run())
            tasks.create_task(self._leadership.run())
            if self._config.update_status:
                tasks.create_task(self._status.run())
            if self._config.webhook is not None:
                self._webhook = await serve_webhook(self._config.webhook, self._routes.review)
            if self._config.health is not None:
                tasks.create_task(keep_serving("health", self._config.health, self._page))

    async def say_goodbye(self) -> None:
        """Give up leadership."""
        if self._webhook is not None:
            await self._webhook.cleanup()
        with suppress(ApiError):
            await self._leadership.give_back()

    async def end_nginx(self) -> None:
        """Let NGINX finish its requests, for as long as configured, and end."""
        self.nginx.quit()
        try:
            async with asyncio.timeout(self._config.shutdown_seconds):
                await self.nginx.wait_for_end()
        except TimeoutError:
            self.nginx.terminate()
        await self.nginx.close()

    def _changed(self, key: Key) -> None:
        self._serving.let_in(key)

    async def _build(self) -> None:
        config = self._config
        while True:
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(0)  # let the watches hand over what already lies in their buffers
            built = with_default(self._routes.build(), self._placeholder)
            self._objects.secrets.want(built.wanted_secrets)
            self._objects.config_maps.want(built.wanted_config_maps | {config.config_map})
            self._names.want(built.wanted_names)
            if not self._objects.synced and self._built is None:
                continue
            self._built = built
            self._tell((*built.findings, *self._serving.refusals))
            self._publish(built)
            self._stapler.want(built.certificates.values(), enabled=built.settings.tls.stapling)
            try:
                await self._serving.serve(built)
            except FairleadError as error:
                log(event="not-told", error=str(error))

    def _publish(self, built: Built) -> None:
        config = self._config
        places = addresses(config.publish_addresses)
        if not places and config.publish_service is not None:
            places = published_by(self._objects.services.get(config.publish_service))
        self._status.want(built.accepted, places)

    def _tell(self, findings: tuple[Finding, ...]) -> None:
        """Say each finding once, for as long as it holds."""
        for finding in findings:
            if finding not in self._told:
                log(event="finding", object=str(finding.origin), message=finding.message)
                self._events.tell(self._notice(finding))
        self._told = frozenset(findings)

    def _notice(self, finding: Finding) -> Notice:
        return notice_of(finding, self._config.pod)

    async def _page(self, path: str) -> Page:
        match path.partition("?")[0]:
            case "/healthz" | "/livez":
                return Page(b"ok\n")
            case "/readyz":
                return Page(b"ok\n") if self._serving.ready else Page(b"NGINX does not serve yet\n", status=503)
            case "/metrics":
                return await metrics_page(self.nginx, self._serving.reloads, self._built)
            case _:
                return NOT_FOUND


def _layout(config: IngressAgentConfig) -> Layout:
    resolvers: tuple[str, ...] = ()
    with suppress(OSError):
        lines = Path("/etc/resolv.conf").read_text().splitlines()
        resolvers = tuple(
            words[1] for line in lines if (words := line.split())[:1] == ["nameserver"] and len(words) > 1
        )
    return Layout(directory=str(config.folder), lua=str(config.folder / "lua"), user=config.user, resolvers=resolvers)
