"""What the host of the external load balancer should let clients dial, key by key.

Comes in: which Services, nodes or health changed. Goes out, once a round: frontends that are new, different or gone,
and which UDP flows may go on. Refuses to know rows and the kernel.
"""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet

from msgspec import Struct

from fairlead.agents.loadbalancer.following import World
from fairlead.compile.external import (
    Health,
    Outside,
    Target,
    answering,
    compile_external,
    compile_target,
    proxy_version,
    unknown,
)
from fairlead.compile.loadbalancers import allocation_of, held_addresses
from fairlead.compile.pools import compile_pools
from fairlead.kube.core import Service
from fairlead.model import Finding, Frontend, FrontendKey
from fairlead.model.loadbalancers import Pool, Provider, ServiceKey
from fairlead.net import Address, Family, Protocol

Changes = dict[FrontendKey, Frontend | None]


class Round(Struct, frozen=True):
    """What one round asks for, of both families."""

    changes: Changes
    findings: tuple[Finding, ...]
    answering: dict[FrontendKey, frozenset[Address]]
    """Of UDP frontends, which nodes may go on with old flows."""


class ExternalFrontends:
    """The frontends of every Service that the external provider serves; `default` serves those that name none."""

    def __init__(
        self,
        world: World,
        outside: Outside,
        healthy: Health,
        default: Provider | None,
        lately: Health = unknown,
    ) -> None:
        self._world = world
        self._outside = outside
        self._healthy = healthy
        self._lately = lately
        self._default = default
        self._compiled: dict[ServiceKey, tuple[Frontend, ...]] = {}
        self._owners: dict[FrontendKey, ServiceKey] = {}
        self._frontends: dict[FrontendKey, Frontend] = {}
        self.relayed: dict[FrontendKey, int] = {}
        """The frontends that are no rows, since their pods want the PROXY protocol, each with the version."""
        self._denied: dict[FrontendKey, set[ServiceKey]] = {}
        self._pools: tuple[Pool, ...] = ()
        self._dirty: set[ServiceKey] = set()

    def touch(self, keys: Iterable[ServiceKey]) -> None:
        """Look at these Services again."""
        self._dirty |= set(keys)

    def touch_all(self) -> None:
        """Look at every Service again: nodes, health, pools or advertisements changed."""
        self._dirty |= self._world.services.objects.keys() | self._compiled.keys()

    def frontends(self) -> dict[FrontendKey, Frontend]:
        """All there should be now."""
        return self._frontends

    def addresses(self) -> frozenset[Address]:
        """All addresses that clients may dial."""
        return frozenset(key.address for key in self._frontends)

    def served(self) -> AbstractSet[ServiceKey]:
        """The Services that have frontends."""
        return self._compiled.keys()

    def round(self) -> Round:
        """Compile what changed since the last round and return the difference."""
        pools, findings = compile_pools(self._world.pools.objects.values())
        if not findings:
            self._pools = pools
        targets = tuple(compile_target(node) for _, node in sorted(self._world.nodes.objects.items()))
        touched: set[FrontendKey] = set()
        found: list[Finding] = []
        going_on: dict[FrontendKey, frozenset[Address]] = {}
        for key in self._drain():
            kept = self._world.services.objects.get(key)
            service = kept.service if kept else None
            frontends, told = self._compile(service, targets) if service else ((), ())
            found += told
            placed = self._place(key, frontends)
            version = proxy_version(service) if service else None
            for each in frontends:
                tcp = each.key.protocol is Protocol.TCP and self._owners.get(each.key) == key
                if tcp and self.relayed.get(each.key) != version:
                    placed.add(each.key)
                    _set_or_drop(self.relayed, each.key, version)
            touched |= placed
            if service is not None:
                going_on |= self._going_on(service, frontends, targets)
        for gone in touched - self._frontends.keys():
            self.relayed.pop(gone, None)
        changes: Changes = {each: self._frontends.get(each) for each in touched}
        return Round(changes, tuple(found), {each: nodes for each, nodes in going_on.items() if each in touched})

    def _drain(self) -> Iterator[ServiceKey]:
        """Every Service to look at, those too that come up while others are looked at."""
        while self._dirty:
            dirty, self._dirty = self._dirty, set()
            yield from sorted(dirty)

    def _compile(
        self, service: Service, targets: tuple[Target, ...]
    ) -> tuple[tuple[Frontend, ...], tuple[Finding, ...]]:
        world = self._world
        l2, bgp = world.l2.objects.values(), world.bgp.objects.values()
        allocation = allocation_of(service, self._pools, l2, bgp, self._default)
        if allocation is None or Provider.EXTERNAL not in allocation.providers:
            return (), ()
        frontends: list[Frontend] = []
        found: dict[Finding, None] = {}
        for family in dict.fromkeys(address.family for address in held_addresses(service)):
            compiled, findings = compile_external(service, targets, self._healthy, self._outside, family, self._lately)
            frontends += compiled
            found |= dict.fromkeys(findings)
        return tuple(frontends), tuple(found)

    def _place(self, key: ServiceKey, frontends: tuple[Frontend, ...]) -> set[FrontendKey]:
        """Put a Service's frontends in place of those it had, and return the keys that differ.

        Of two that claim one key, which happens only where somebody else writes statuses, the first keeps it; the
        other is looked at again once it is free.
        """
        touched: set[FrontendKey] = set()
        wanted = {each.key: each for each in frontends if self._owners.get(each.key, key) == key}
        for each in frontends:
            if each.key not in wanted:
                self._denied.setdefault(each.key, set()).add(key)
        for old in self._compiled.pop(key, ()):
            if old.key not in wanted and self._owners.get(old.key) == key:
                del self._owners[old.key], self._frontends[old.key]
                touched.add(old.key)
                self._dirty |= self._denied.pop(old.key, set())
        for each in wanted.values():
            if self._frontends.get(each.key) != each:
                self._owners[each.key], self._frontends[each.key] = key, each
                touched.add(each.key)
        if wanted:
            self._compiled[key] = tuple(wanted.values())
        return touched

    def _going_on(
        self, service: Service, frontends: tuple[Frontend, ...], targets: tuple[Target, ...]
    ) -> dict[FrontendKey, frozenset[Address]]:
        udp = [each.key for each in frontends if each.key.protocol is Protocol.UDP]
        nodes = {family: answering(service, targets, self._healthy, family) for family in Family} if udp else {}
        return {each: nodes[each.address.family] for each in udp}


def _set_or_drop(versions: dict[FrontendKey, int], key: FrontendKey, version: int | None) -> None:
    if version is None:
        versions.pop(key, None)
    else:
        versions[key] = version
