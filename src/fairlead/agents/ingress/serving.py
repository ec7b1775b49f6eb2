"""Keeps one NGINX at what is to be served: endpoints and certificates at once, the structure by reloads one at a time.

Comes in: `Built` values. Goes out: an NGINX that serves them, and what it refuses. A configuration that it
refuses is never put in force: who is to blame is found by halving, stays out, and is tried again when it changes.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

import fairlead.render
from fairlead.agents.ingress.isolation import find_refused
from fairlead.agents.ingress.updates import Update, diff_built
from fairlead.agents.lines import log
from fairlead.compile.routes import Built, Routes
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.nginxd import ConfigRefusedError, Nginx
from fairlead.model import Finding, Origin, Severity
from fairlead.render.nginx import CONFIG, render_nginx
from fairlead.render.nginx_dynamic import render_certificates, render_endpoints
from fairlead.render.nginx_names import Layout
from fairlead.render.nginx_texts import ServerTexts

Key = tuple[str, str]

_RELOAD_SECONDS, _POLL_SECONDS = 30.0, 0.01
_MOST_ENDING = 32
_AGAIN_SECONDS = 1.0


class Reloads(Struct):
    """What became of configurations, for metrics."""

    count: int = 0
    refused: int = 0
    last_ok: bool = True
    last_at: float = 0.0
    seconds: float = 0.0
    generation: str = ""


class Serving:
    """One NGINX. `again` is called when `routes` are to be built anew, since some Ingresses stay out from now on."""

    def __init__(self, nginx: Nginx, layout: Layout, routes: Routes, again: Callable[[], None]) -> None:
        self._nginx = nginx
        self._layout = layout
        self._routes = routes
        self._again = again
        self._texts = ServerTexts()
        self._told: Built | None = None
        self._wanted: Built | None = None
        self._news = asyncio.Event()
        self._up = asyncio.Event()
        self._text = ""
        self._in_force: Built | None = None
        self._withheld: dict[Key, Finding] = {}
        self._good: frozenset[Key] = frozenset()
        self.reloads = Reloads()
        self.ready = False

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """What there is to tell of the Ingresses that NGINX refuses."""
        return tuple(self._withheld[key] for key in sorted(self._withheld))

    @property
    def withheld(self) -> frozenset[Key]:
        """The Ingresses that NGINX refuses."""
        return frozenset(self._withheld)

    def let_in(self, key: Key) -> None:
        """An Ingress has changed: try it again."""
        if self._withheld.pop(key, None) is not None:
            self._routes.withhold(self.withheld)

    async def serve(self, built: Built) -> None:
        """Serve this from now on. What needs no reload holds on return."""
        self._wanted = built
        if self.ready:
            await self._push(diff_built(self._told, built), drop=False)
            self._told = _joined(self._told, built)
        self._news.set()

    async def run(self) -> None:
        """Put structures in force, and start NGINX again when it ends, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_structure())
            tasks.create_task(self._keep_running())

    async def _keep_running(self) -> None:
        """Have NGINX started again as soon as it ends."""
        while True:
            await self._up.wait()
            await self._nginx.wait_for_end()
            log(event="nginx-died")
            self._forget()
            self._news.set()

    def _forget(self) -> None:
        """NGINX is not there, or knows nothing."""
        self._up.clear()
        self.ready, self._told, self._text, self._in_force = False, None, "", None

    async def _keep_structure(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            if self._wanted is None:
                continue
            try:
                await self._put_in_force(self._wanted)
            except FairleadError as error:
                self.reloads.last_ok = False
                log(event="not-in-force", error=str(error))
                asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._news.set)

    async def _put_in_force(self, built: Built) -> None:
        if self._in_force is not None and _same_structure(self._in_force, built) and self._nginx.master():
            await self._settle(built)
            return
        try:
            files = self._render(built)
        except ConfigRefusedError as error:
            await self._isolate(built, error)
            return
        text = files[CONFIG]
        if self._nginx.master() and (text == self._text or await self._is_in_force(files)):
            self._text, self._good, self._in_force = text, built.accepted, built
            await self._settle(built)
            return
        self._nginx.write({name: each for name, each in files.items() if name != CONFIG})
        try:
            await self._nginx.test(text)
        except ConfigRefusedError as error:
            self.reloads.refused += 1
            self.reloads.last_ok = False
            log(event="refused", error=error.message)
            await self._isolate(built, error)
            return
        began = time.monotonic()
        self._nginx.write({CONFIG: text})
        if self._nginx.master():
            self._make_room()
            self._nginx.reload()
        else:
            await self._nginx.start()
        await self._wait_for(_generation_of(files))
        self._text, self._good, self._in_force = text, built.accepted, built
        reloads = self.reloads
        reloads.count += 1
        reloads.last_ok, reloads.last_at, reloads.generation = True, time.time(), _generation_of(files)
        reloads.seconds = time.monotonic() - began
        seconds, servers = f"{reloads.seconds:.3f}", len(built.routing.servers)
        log(event="in-force", generation=reloads.generation, seconds=seconds, servers=servers)
        await self._settle(built)

    async def _is_in_force(self, files: dict[str, str]) -> bool:
        """Whether an NGINX that somebody before us started serves just this."""
        if self._text or self._nginx.in_force() != files[CONFIG]:
            return False
        try:
            return (await self._nginx.ask("/generation")).decode() == _generation_of(files)
        except FairleadError:
            return False

    def _render(self, built: Built) -> dict[str, str]:
        try:
            return render_nginx(
                built.routing,
                built.settings,
                self._layout,
                certificates=built.upstream_certificates,
                authorities=built.authorities,
                texts=self._texts,
            )
        except ValueError as error:  # a value that no configuration can hold: somebody's Ingress is to blame
            raise ConfigRefusedError(str(error)) from error

    def _make_room(self) -> None:
        """Where too many workers of earlier configurations finish what they have, the oldest give way."""
        ending = sorted(self._nginx.workers().ending)
        self._nginx.end_workers(ending[: max(0, len(ending) - _MOST_ENDING + 1)])

    async def _wait_for(self, generation: str) -> None:
        deadline = time.monotonic() + _RELOAD_SECONDS
        while True:
            try:
                if (await self._nginx.ask("/generation")).decode() == generation:
                    return
            except FairleadError:
                if not self._nginx.master():
                    raise
            if time.monotonic() > deadline:
                raise FairleadError(f"NGINX did not take the configuration in {_RELOAD_SECONDS:.0f} s")
            await asyncio.sleep(_POLL_SECONDS)

    async def _settle(self, built: Built) -> None:
        """Tell everything that NGINX is to know, and let go of what nothing uses any more."""
        fresh = not self.ready
        if fresh:
            self._told = None
        update = diff_built(self._told, built)
        await self._push(update, drop=True, full=fresh)
        self._told = built
        self.ready = True
        self._up.set()
        if self._wanted is not built and self._wanted is not None:
            self._news.set()

    async def _push(self, update: Update, *, drop: bool, full: bool = False) -> None:
        if full or update.endpoints or (drop and update.dropped):
            dropped = update.dropped if drop else ()
            await self._nginx.ask("/endpoints", render_endpoints(update.endpoints, dropped, full=full))
        if full or update.of_certificates:
            body = render_certificates(
                update.certificates,
                update.names,
                dropped=update.dropped_certificates if drop else (),
                dropped_names=update.dropped_names,
                default=update.default,
                full=full,
            )
            await self._nginx.ask("/certificates", body)

    async def _isolate(self, built: Built, first: ConfigRefusedError) -> None:
        """Find out whom NGINX refuses, and leave them out until they change."""
        said: dict[frozenset[Key], str] = {}

        async def accepts(without: frozenset[Key]) -> bool:
            self._routes.withhold(self.withheld | without)
            try:
                files = self._render(self._routes.build())
                self._nginx.write({name: each for name, each in files.items() if name != CONFIG})
                await self._nginx.test(files[CONFIG])
            except ConfigRefusedError as error:
                said[without] = error.message
                return False
            return True

        fresh = sorted(built.accepted - self._good)
        suspects = fresh if fresh and await accepts(frozenset(fresh)) else sorted(built.accepted)
        refused = await find_refused(suspects, accepts)
        if refused is None:
            self._routes.withhold(self.withheld)
            raise FairleadError(f"NGINX refuses the configuration without any Ingress: {first.message}")
        for key in refused:
            message = f"NGINX refuses what this Ingress asks for, so it is left out: {first.message}"
            remedy = "correct it; it is tried again when it changes"
            self._withheld[key] = Finding(Severity.ERROR, Origin("Ingress", *key), message, remedy)
        self._routes.withhold(self.withheld)
        self._again()


def _same_structure(one: Built, other: Built) -> bool:
    """Whether both are one configuration: nothing that it is rendered from differs. Writing it would take longer."""
    return (one.routing, one.settings, one.upstream_certificates, one.authorities, one.accepted) == (
        other.routing,
        other.settings,
        other.upstream_certificates,
        other.authorities,
        other.accepted,
    )


def _joined(told: Built | None, built: Built) -> Built:
    """What NGINX knows after an update that dropped no endpoints: those of before, too."""
    if told is None:
        return built
    return replace(
        built,
        endpoints={**told.endpoints, **built.endpoints},
        certificates={**told.certificates, **built.certificates},
    )


def _generation_of(files: dict[str, str]) -> str:
    """The generation that a configuration answers with."""
    name = next(name for name in files if name.startswith("files/structure-"))
    return files[name].split('"generation":"', 1)[1].split('"', 1)[0]


def lua_folder() -> Path:
    """Where the Lua modules are."""
    return Path(str(fairlead.render.__file__)).parent / "lua"
