"""Who has which address of a load balancer: wishes and pools come in, grants and what to tell the authors go out.

A machine without a clock: `put`, `remove`, `set_pools` and `set_namespace` note what changed, `step` decides about what
is touched by it. Refuses to know the API. Rules:

- No address, protocol and port ever belongs to two Services.
- A Service keeps what it has as long as nothing it asks for forbids it. Its status is the only memory there is, so a
  book begun anew from the same objects decides nothing.
- A pool that loses an address in use takes it from nobody. What is lost is said.

Source: MetalLB's internal/allocator.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from fairlead.compile.policy_groups import passes
from fairlead.compile.pool_spaces import PoolSpace
from fairlead.compile.pools import spell_range
from fairlead.model.loadbalancers import Pool, PortUse, ServiceKey, Wish
from fairlead.net import Address, Family


class Grant(Struct, frozen=True, kw_only=True):
    """The addresses a Service is to have from now on, none where it must give up what it had."""

    service: ServiceKey
    addresses: tuple[Address, ...]
    pool: str


class Remark(Struct, frozen=True, kw_only=True):
    """Something to tell the author of a Service; `reason` is one CamelCase word, MetalLB's where it has one."""

    service: ServiceKey
    reason: str
    message: str
    warning: bool = True


class PoolUsage(Struct, frozen=True, kw_only=True):
    """How much of a pool is in use, by family, and by how many Services."""

    pool: str
    sizes: dict[Family, int]
    in_use: dict[Family, int]
    services: int


class _Entry(Struct):
    wish: Wish
    addresses: tuple[Address, ...] = ()
    pool: str = ""
    settled: bool = False
    said: tuple[str, str] = ("", "")


class AddressBook:
    """The state of all pools."""

    def __init__(self) -> None:
        self.pools: tuple[Pool, ...] = ()
        self.failures = 0
        """How often a Service asked in vain."""
        self._spaces: dict[tuple[str, Family], PoolSpace] = {}
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._entries: dict[ServiceKey, _Entry] = {}
        self._owners: dict[Address, dict[ServiceKey, Wish]] = {}
        self._shared: dict[tuple[str, str], dict[Address, None]] = {}
        self._waiting: dict[ServiceKey, str] = {}
        self._dirty: set[ServiceKey] = set()

    @property
    def pending(self) -> bool:
        """Whether a step would look at anything."""
        return bool(self._dirty)

    @property
    def waiting(self) -> Mapping[ServiceKey, str]:
        """The Services that have not got what they want, and why."""
        return self._waiting

    def addresses_of(self, service: ServiceKey) -> tuple[Address, ...]:
        """What a Service has."""
        entry = self._entries.get(service)
        return entry.addresses if entry else ()

    def pool_of(self, address: Address) -> Pool | None:
        """The pool that holds an address."""
        return next((pool for pool in self.pools if pool.holds(address)), None)

    def usage(self) -> tuple[PoolUsage, ...]:
        """How much of each pool is in use."""
        used: dict[str, dict[Family, int]] = {pool.name: dict.fromkeys(Family, 0) for pool in self.pools}
        served: dict[str, set[ServiceKey]] = {pool.name: set() for pool in self.pools}
        for address, owners in self._owners.items():
            pool = self.pool_of(address)
            if pool is not None:
                used[pool.name][address.family] += 1
                served[pool.name] |= owners.keys()
        return tuple(
            PoolUsage(
                pool=name,
                sizes={family: self._spaces[name, family].size for family in Family},
                in_use=used[name],
                services=len(served[name]),
            )
            for name in used
        )

    def put(self, wish: Wish) -> None:
        """Note what a Service wants now."""
        entry = self._entries.get(wish.service)
        if entry is None:
            self._entries[wish.service] = _Entry(wish)
        elif entry.wish == wish:
            return
        else:
            entry.wish = wish
        self._dirty.add(wish.service)

    def remove(self, service: ServiceKey) -> None:
        """Note that a Service is gone, or wants nothing any more: its addresses are free."""
        entry = self._entries.pop(service, None)
        self._waiting.pop(service, None)
        self._dirty.discard(service)
        if entry is not None and entry.addresses:
            self._release(service, entry)
            self._dirty |= self._waiting.keys()

    def set_pools(self, pools: Sequence[Pool]) -> None:
        """Take other pools; every Service is looked at again."""
        before = {pool.name: pool for pool in self.pools}
        self.pools = tuple(pools)
        spaces: dict[tuple[str, Family], PoolSpace] = {}
        for pool in self.pools:
            known = before.get(pool.name)
            same = known is not None and (known.ranges, known.avoid_buggy) == (pool.ranges, pool.avoid_buggy)
            for family in Family:
                spaces[pool.name, family] = self._spaces[pool.name, family] if same else self._space(pool, family)
        self._spaces = spaces
        self._dirty |= self._entries.keys()

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """Take a namespace's labels, None when it is gone; Services in it that wait are looked at again."""
        if labels is None:
            self._namespaces.pop(name, None)
        elif self._namespaces.get(name) != labels:
            self._namespaces[name] = labels
            self._dirty |= {key for key in self._waiting if key.namespace == name}

    def step(self) -> tuple[tuple[Grant, ...], tuple[Remark, ...]]:
        """Decide about everything touched: those that have an address first, then the oldest first."""
        grants: list[Grant] = []
        remarks: list[Remark] = []
        while self._dirty:
            dirty, self._dirty = self._dirty, set()
            entries = [(key, self._entries[key]) for key in dirty]
            entries.sort(key=lambda item: (not (item[1].addresses or item[1].wish.held), item[1].wish.created, item[0]))
            for key, entry in entries:
                if not entry.settled:
                    self._hold(key, entry)
            for key, entry in entries:
                self._settle(key, entry, grants, remarks)
        return tuple(grants), tuple(remarks)

    def _hold(self, key: ServiceKey, entry: _Entry) -> None:
        """Let a Service that is new here have what its status says, unless somebody else has it."""
        entry.settled = True
        wish = entry.wish
        mine = (each for each in wish.held if wish.held_from or self.pool_of(each) is not None)
        kept = tuple(each for each in mine if self._conflict(wish, each) is None)
        if kept:
            self._own(key, entry, kept)

    def _settle(self, key: ServiceKey, entry: _Entry, grants: list[Grant], remarks: list[Remark]) -> None:
        wish, before = entry.wish, entry.addresses
        self._release(key, entry, for_good=False)
        kept = tuple(each for each in before if each.family in wish.families and self._conflict(wish, each) is None)
        wanted = [each for each in kept if self._suits(wish, each)]
        missing = [family for family in wish.families if all(each.family is not family for each in wanted)]
        reason, found = "", tuple(wanted)
        if wish.wrong:
            reason, found = wish.wrong, kept
        elif missing or any(each not in wanted for each in wish.addresses):
            more, reason = self._find(wish, wanted, missing)
            found = self._in_order(wish, (*wanted, *more)) if more or wanted else kept
        if found:
            self._own(key, entry, found)
        entry.pool = self._spelled_pool(found) or (wish.held_from if found else "")
        gone = [each for each in before if each not in found]
        for each in gone:
            self._give_back(each)
        if gone:
            self._dirty |= self._waiting.keys() - {key}
        if reason:
            self.failures += key not in self._waiting
            self._waiting[key] = reason
        else:
            self._waiting.pop(key, None)
        if found != wish.held or (found and entry.pool != wish.held_from):
            grants.append(Grant(service=key, addresses=found, pool=entry.pool))
        self._remark(key, entry, reason, gone, remarks)

    def _remark(
        self, key: ServiceKey, entry: _Entry, reason: str, gone: Sequence[Address], remarks: list[Remark]
    ) -> None:
        """Say what is new; what was said last is not said again."""
        held, wish = entry.addresses, entry.wish
        lost = [each for each in wish.held if each not in held]
        outside = [each for each in held if self.pool_of(each) is None]
        if reason:
            word, text, warning = "AllocationFailed", reason, True
        elif outside:
            word, warning = "AddressNotInPool", True
            text = f"no pool has {_listed(outside)} any more; it stays with the Service until that is deleted"
        else:
            word, warning = "IPAllocated", False
            text = f"Assigned IP {_listed(held)} of the pool {entry.pool}"
        if lost or gone:
            text += f"; {_listed([*dict.fromkeys([*lost, *gone])])} is given up"
        if (word, text) != entry.said and (reason or outside or held != wish.held):
            remarks.append(Remark(service=key, reason=word, message=text, warning=warning))
        entry.said = (word, text)

    def _suits(self, wish: Wish, address: Address) -> bool:
        """Whether a Service that has an address still asks for it."""
        if address.family not in wish.families:
            return False
        named = [each for each in wish.addresses if each.family is address.family]
        if named and address not in named:
            return False
        pool = self.pool_of(address)
        return not wish.pool or pool is None or pool.name == wish.pool

    def _find(self, wish: Wish, have: Sequence[Address], missing: Sequence[Family]) -> tuple[tuple[Address, ...], str]:
        """Return addresses of the missing families, or none and why; where one family will do, what there is."""
        asked = [each for each in wish.addresses if each not in have]
        for each in asked:
            if (why := self._refusal(wish, each)) is not None:
                return (), why
        rest = [family for family in missing if all(each.family is not family for each in wish.addresses)]
        if not rest:
            return tuple(asked), ""
        home = next((pool for each in (*have, *asked) if (pool := self.pool_of(each)) is not None), None)
        pools, why = ((home,), "") if home is not None else self._candidates(wish)
        partial: tuple[Address, ...] = ()
        for pool in pools:
            got = tuple(each for family in rest if (each := self._take(wish, pool, family)) is not None)
            better = len(got) == len(rest) or (wish.flexible and not partial)
            for each in partial if better else got:
                self._give_back(each)
            partial = got if better else partial
            if len(got) == len(rest):
                return (*asked, *got), ""
        if partial or (wish.flexible and (have or asked)):
            return (*asked, *partial), ""
        return tuple(asked), why or _exhausted(pools, rest)

    def _candidates(self, wish: Wish) -> tuple[tuple[Pool, ...], str]:
        """The pools a Service may have addresses of, in the order they are asked, or why there are none."""
        if wish.pool:
            named = next((pool for pool in self.pools if pool.name == wish.pool), None)
            if named is None:
                return (), f"there is no pool {wish.pool}; the pools are: {_names(self.pools)}"
            if not self._admits(named, wish):
                return (), f"the pool {wish.pool} is for other Services (its serviceAllocation)"
            return (named,), ""
        if not self.pools:
            return (), "there is no pool of addresses: apply an IPAddressPool (metallb.io/v1beta1)"
        automatic = [pool for pool in self.pools if pool.auto_assign]
        if not automatic:
            return (), f"no pool is given automatically (autoAssign: false): name one of {_names(self.pools)}"
        fitting = [pool for pool in automatic if self._admits(pool, wish)]
        if not fitting:
            return (), f"the pools {_names(automatic)} are for other Services (their serviceAllocation)"
        last = 1 << 31
        fitting.sort(key=lambda pool: (not pool.dedicated, last if pool.priority is None else pool.priority, pool.name))
        return tuple(fitting), ""

    def _refusal(self, wish: Wish, address: Address) -> str | None:
        """Why a Service cannot have the address it asks for by name; None where it can."""
        pool = self.pool_of(address)
        if pool is None:
            return f"{address} is in no pool; the pools are: {_names(self.pools)}"
        if wish.pool and pool.name != wish.pool:
            return f"{address} is in the pool {pool.name}, but the Service asks for the pool {wish.pool}"
        if not self._admits(pool, wish):
            return f"{address} is in the pool {pool.name}, which is for other Services (its serviceAllocation)"
        if not self._spaces[pool.name, address.family].gives(address):
            return f"{address} ends in .0 or .255, and the pool {pool.name} avoids those (avoidBuggyIPs)"
        return self._conflict(wish, address)

    def _conflict(self, wish: Wish, address: Address) -> str | None:
        """Why a Service cannot have an address beside its present owners; None where it can."""
        for owner, other in self._owners.get(address, {}).items():
            if owner == wish.service:
                continue
            common = sorted(wish.ports & other.ports)
            if common:
                ports = ", ".join(map(_spell_port, common))
                return f"{address} belongs to {owner}, which has the same port: {ports}"
            if not wish.sharing or wish.sharing != other.sharing:
                key = other.sharing
                how = f"metallb.io/allow-shared-ip: {key}" if key else "the same metallb.io/allow-shared-ip at both"
                return f"{address} belongs to {owner}; to share it, set {how}"
            if wish.behind != other.behind:
                return (
                    f"{address} belongs to {owner}; to share it under externalTrafficPolicy Local, both Services must "
                    "select the same pods"
                )
        return None

    def _admits(self, pool: Pool, wish: Wish) -> bool:
        audience, namespace = pool.audience, wish.service.namespace
        if audience.namespaces or audience.namespace_selectors:
            labels = self._namespaces.get(namespace, {})
            near = namespace in audience.namespaces
            if not near and not any(passes(tests, labels) for tests in audience.namespace_selectors):
                return False
        labels = dict(wish.labels)
        return not audience.service_selectors or any(passes(tests, labels) for tests in audience.service_selectors)

    def _take(self, wish: Wish, pool: Pool, family: Family) -> Address | None:
        """One address of a pool: one that others share with the Service if there is one, else a free one."""
        if wish.sharing:
            for address in self._shared.get((wish.sharing, wish.behind), ()):
                if address.family is family and pool.holds(address) and self._conflict(wish, address) is None:
                    return address
        return self._spaces[pool.name, family].take()

    def _own(self, key: ServiceKey, entry: _Entry, addresses: tuple[Address, ...]) -> None:
        entry.addresses = addresses
        wish = entry.wish
        for address in addresses:
            self._owners.setdefault(address, {})[key] = wish
            if wish.sharing:
                self._shared.setdefault((wish.sharing, wish.behind), {})[address] = None

    def _release(self, key: ServiceKey, entry: _Entry, *, for_good: bool = True) -> None:
        for address in entry.addresses:
            owners = self._owners[address]
            wish = owners.pop(key)
            if not owners:
                del self._owners[address]
            if wish.sharing and not any(_alike(wish, other) for other in owners.values()):
                among = self._shared[wish.sharing, wish.behind]
                among.pop(address, None)
                if not among:
                    del self._shared[wish.sharing, wish.behind]
            if for_good:
                self._give_back(address)
        entry.addresses = ()

    def _give_back(self, address: Address) -> None:
        pool = self.pool_of(address)
        if pool is not None and address not in self._owners:
            self._spaces[pool.name, address.family].give_back(address)

    def _space(self, pool: Pool, family: Family) -> PoolSpace:
        ranges = [each for each in pool.ranges if each.first.family is family]
        return PoolSpace(ranges, avoid_buggy=pool.avoid_buggy, taken=self._owners.__contains__)

    def _spelled_pool(self, addresses: Iterable[Address]) -> str:
        return next((pool.name for each in addresses if (pool := self.pool_of(each)) is not None), "")

    def _in_order(self, wish: Wish, addresses: Iterable[Address]) -> tuple[Address, ...]:
        return tuple(sorted(addresses, key=lambda each: wish.families.index(each.family)))


def _alike(one: Wish, other: Wish) -> bool:
    return (one.sharing, one.behind) == (other.sharing, other.behind)


def _exhausted(pools: Sequence[Pool], families: Sequence[Family]) -> str:
    wanted = " and ".join(family.value for family in families)
    held = "; ".join(f"{pool.name} has {', '.join(map(spell_range, pool.ranges))}" for pool in pools)
    return f"no pool has a free {wanted} address: {held}"


def _names(pools: Iterable[Pool]) -> str:
    return ", ".join(pool.name for pool in pools) or "none"


def _listed(addresses: Iterable[Address]) -> str:
    return ", ".join(map(str, addresses))


def _spell_port(use: PortUse) -> str:
    return f"{use.port}/{use.protocol.name}"
