"""The controller of addresses: Services and pools in, statuses and Events out.

One such loop may run in a cluster at a time. Its memory is the API: it decides nothing before everything was listed,
and what it decided is tried again until it is written.
"""

import asyncio
from collections.abc import Callable, Sequence

from msgspec import Struct

from fairlead.agents.events import Notice, format_time
from fairlead.agents.lines import log
from fairlead.agents.loadbalancer.following import World
from fairlead.compile.external import proxy_version
from fairlead.compile.loadbalancer_book import AddressBook, Grant, Remark
from fairlead.compile.loadbalancers import FROM_POOL, PREFIX, annotation, compile_wish, is_ours
from fairlead.compile.pools import compile_pools, parse_range
from fairlead.drivers.kubeapi import ApiError, KubeClient
from fairlead.kube.core import Service
from fairlead.kube.documents import Document, Json
from fairlead.kube.metallb import ConfigurationState, IPAddressPool
from fairlead.kube.resources import resource_of
from fairlead.model import Origin
from fairlead.model.loadbalancers import Pool, ServiceKey
from fairlead.net import Family

DEFAULT_POOL = "default"
_WRITERS = 16
_AGAIN_SECONDS = 1.0
_STATUS_SECONDS = 0.5  # between two writings of how full the pools are


class AllocationSettings(Struct, frozen=True, kw_only=True):
    """Which Services are ours, and what they get while there is no pool."""

    classes: frozenset[str] = frozenset()
    default_addresses: tuple[str, ...] = ()
    """The addresses of a pool that there is as long as no IPAddressPool is; it is called `default`."""


class Allocation:
    """Gives addresses to Services."""

    def __init__(
        self,
        world: World,
        client: KubeClient,
        settings: AllocationSettings,
        tell: Callable[[Notice], None],
        clock: Callable[[], float],
    ) -> None:
        self.book = AddressBook()
        self.wrong = ""
        """What is wrong with the pools; the last good ones are then in use."""
        self.updates = 0
        self.failed_updates = 0
        self._world = world
        self._client = client
        self._settings = settings
        self._tell = tell
        self._clock = clock
        self._news = asyncio.Event()
        self._services: set[ServiceKey] = set()
        self._pools_touched = True
        self._unwritten: dict[ServiceKey, Grant] = {}
        self._writing: set[ServiceKey] = set()
        self._shown: dict[str, tuple[int, ...]] = {}
        world.services.listen(self._heard_services)
        world.pools.listen(self._heard_pools)
        world.namespaces.listen(self._heard_namespaces)

    async def run(self) -> None:
        """Give addresses for ever."""
        await self._world.wait_for_sync()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._show_pools())
            self._news.set()
            while True:
                await self._news.wait()
                self._news.clear()
                await asyncio.sleep(0)  # let the watches hand over what already lies in their buffers
                if self._pools_touched:
                    self._pools_touched = False
                    await self._take_pools()
                self._take_services()
                grants, remarks = self.book.step()
                self._say(remarks)
                if grants:
                    log(event="allocated", granted=len(grants), waiting=len(self.book.waiting))
                self._unwritten |= {grant.service: grant for grant in grants}
                for _ in range(min(_WRITERS - len(self._writing), len(self._unwritten))):
                    tasks.create_task(self._write_all())

    def _heard_services(self, keys: frozenset[ServiceKey]) -> None:
        self._services |= keys
        self._news.set()

    def _heard_pools(self, names: frozenset[str]) -> None:
        self._pools_touched = True
        self._news.set()

    def _heard_namespaces(self, names: frozenset[str]) -> None:
        for name in names:
            namespace = self._world.namespaces.objects.get(name)
            self.book.set_namespace(name, namespace.metadata.labels if namespace else None)
        self._news.set()

    def _take_services(self) -> None:
        keys, self._services = self._services, set()
        for key in keys:
            kept = self._world.services.objects.get(key)
            service = kept.service if kept else None
            if service is not None and is_ours(service, self._settings.classes):
                self.book.put(compile_wish(service)[0])
                held = self.book.addresses_of(key)
                if held and any(
                    (each.ip_mode or "VIP") != _mode_of(service) for each in service.status.load_balancer.ingress
                ):
                    self._unwritten[key] = Grant(service=key, addresses=held, pool=annotation(service, FROM_POOL))
                continue
            self.book.remove(key)
            self._unwritten.pop(key, None)
            if service is not None and service.spec.type != "LoadBalancer" and annotation(service, FROM_POOL):
                self._unwritten[key] = Grant(service=key, addresses=(), pool="")

    async def _take_pools(self) -> None:
        """Take the pools there are if they are right; if not, say so and go on with the last good ones."""
        objects = tuple(self._world.pools.objects.values())
        pools, findings = compile_pools(objects)
        wrong = "; ".join(f"{finding.origin}: {finding.message}" for finding in findings)
        if not wrong:
            self.book.set_pools(pools or self._default_pools())
            self._shown.clear()
        if wrong != self.wrong:
            log(event="pools", valid=not wrong, pools=len(self.book.pools), error=wrong)
        for finding in findings:
            self._tell(Notice(finding.origin, "InvalidConfiguration", f"{finding.message}; {finding.remedy}"))
        self.wrong = wrong
        await self._show_configuration()

    def _default_pools(self) -> tuple[Pool, ...]:
        ranges = tuple(map(parse_range, self._settings.default_addresses))
        if not ranges:
            return ()
        return (Pool(name=DEFAULT_POOL, ranges=ranges, origin=Origin("", "", DEFAULT_POOL)),)

    def _say(self, remarks: Sequence[Remark]) -> None:
        """Tell the authors, and of trouble the log too."""
        for remark in remarks:
            key = remark.service
            if remark.warning:
                log(event=remark.reason, service=str(key), message=remark.message)
            about = Origin("Service", key.namespace, key.name)
            self._tell(Notice(about, remark.reason, remark.message, remark.warning))

    async def _write_all(self) -> None:
        """Write grants, each Service's latest, until none is left; one that cannot be written waits a moment."""
        while self._unwritten:
            key = next((each for each in self._unwritten if each not in self._writing), None)
            if key is None:
                return
            grant = self._unwritten.pop(key)
            self._writing.add(key)
            try:
                await self._write(grant)
                self.updates += 1
            except ApiError as error:
                self.failed_updates += 1
                if error.status != 404:
                    log(event="unwritten", service=str(key), error=str(error))
                    self._unwritten.setdefault(key, grant)
                    await asyncio.sleep(_AGAIN_SECONDS)
            finally:
                self._writing.discard(key)

    async def _write(self, grant: Grant) -> None:
        kept = self._world.services.objects.get(grant.service)
        mode = _mode_of(kept.service) if kept and kept.service else "VIP"
        ingress: list[Json] = [{"ip": str(address), "ipMode": mode} for address in grant.addresses]
        patch: Document = {
            "metadata": {"annotations": {PREFIX + FROM_POOL: grant.pool or None}},
            "status": {"loadBalancer": {"ingress": ingress or None}},
        }
        resource = resource_of(Service)
        key = grant.service
        await self._client.patch_document(resource, key.name, key.namespace, patch, subresource="status")

    async def _show_pools(self) -> None:
        """Write into each pool's status how full it is, whenever that changed."""
        while True:
            for usage in self.book.usage():
                counts = (
                    *(usage.in_use[family] for family in Family),
                    *(usage.sizes[family] - usage.in_use[family] for family in Family),
                )
                if usage.pool in self._world.pools.objects and self._shown.get(usage.pool) != counts:
                    self._shown[usage.pool] = counts
                    await self._show_pool(usage.pool, counts)
            await asyncio.sleep(_STATUS_SECONDS)

    async def _show_pool(self, name: str, counts: Sequence[int]) -> None:
        names = ("assignedIPv4", "assignedIPv6", "availableIPv4", "availableIPv6")
        status: Document = dict(zip(names, (min(each, (1 << 63) - 1) for each in counts), strict=True))
        try:
            await self._client.patch_document(
                resource_of(IPAddressPool), name, self._world.namespace, {"status": status}, subresource="status"
            )
        except ApiError as error:
            log(event="unwritten", pool=name, error=str(error))

    async def _show_configuration(self) -> None:
        """Say in MetalLB's ConfigurationState whether the pools are in use as they are written."""
        resource, namespace = resource_of(ConfigurationState), self._world.namespace
        condition: Document = {
            "type": "poolReconcilerValid",
            "status": "False" if self.wrong else "True",
            "reason": "ConfigError" if self.wrong else "SyncStateSuccess",
            "message": self.wrong,
            "lastTransitionTime": format_time(self._clock()),
        }
        status: Document = {"validConfig": not self.wrong, "lastError": self.wrong, "conditions": [condition]}
        state: Document = {"metadata": {"name": "controller"}, "spec": {"type": "Controller"}}
        try:
            try:
                await self._client.create_document(resource, state, namespace)
            except ApiError as error:
                if error.status != 409:
                    raise
            await self._client.patch_document(
                resource, "controller", namespace, {"status": status}, subresource="status"
            )
        except ApiError as error:
            log(event="unwritten", state="controller", error=str(error))


def _mode_of(service: Service) -> str:
    """Whether nodes may take a short cut to the pods: not where pods want to hear a header first (KEP-1860)."""
    return "VIP" if proxy_version(service) is None else "Proxy"
