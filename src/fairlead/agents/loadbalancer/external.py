"""The provider `external`: this host stands outside the cluster and spreads connections over its nodes.

Comes in: what `following` hears, and health. Goes out: the same rows as a node's service table has, whose backends are
node ports; the addresses, which this host takes for its own; and the end of UDP flows that lead to nodes that are gone.
Rows and addresses stay when it ends, so that traffic goes on while it is started again.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter

from msgspec import Struct

from fairlead.agents.lines import log
from fairlead.agents.loadbalancer.following import World
from fairlead.agents.loadbalancer.frontends import ExternalFrontends, Round
from fairlead.agents.loadbalancer.probing import Probe, ProbeSettings, Probing
from fairlead.agents.loadbalancer.relaying import Relayed, Relays
from fairlead.compile.external import Outside, compile_target
from fairlead.drivers.collection import collection_paused
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.netlink.addresses import local_addresses
from fairlead.drivers.netlink.conntrack import ConntrackSocket
from fairlead.drivers.netlink.links import LinkError, LinkSocket, add_local, remove_local
from fairlead.drivers.netlink.monitor import RulesetMonitor
from fairlead.drivers.netlink.nftables import NftError, NftSocket
from fairlead.model import Finding
from fairlead.model.loadbalancers import Provider, ServiceKey
from fairlead.net import Address, Family, Prefix
from fairlead.nft.objects import TableFamily
from fairlead.nft.transactions import Transaction
from fairlead.render.service_layout import TABLE
from fairlead.render.services import ServiceRows

_AGAIN_SECONDS = 1.0


class ExternalSettings(Struct, frozen=True, kw_only=True):
    """What the host cannot find out by itself; `answers_return` as in `compile.external.Outside`."""

    answers_return: bool = False
    default: Provider | None = None
    probes: ProbeSettings = ProbeSettings()


class External:
    """The load-balancer host."""

    def __init__(
        self, world: World, settings: ExternalSettings, nft: NftSocket, found: Callable[[tuple[Finding, ...]], None]
    ) -> None:
        self._world = world
        self._nft = nft
        self._found = found
        self._news = asyncio.Event()
        self._probing = Probing(settings.probes, self._nodes_changed)
        self._relays = Relays()
        own = tuple(address for address in local_addresses() if not _is_loopback(address))
        outside = Outside(addresses=own, answers_return=settings.answers_return)
        self.frontends = ExternalFrontends(
            world, outside, self._probing.healthy, settings.default, self._probing.lately
        )
        self._rows: dict[Family, ServiceRows] = {}
        self._doubt = True
        self._links = LinkSocket()
        self._taken: frozenset[Address] = frozenset()
        self._conntrack: ConntrackSocket | None = None
        self._deaf: set[str] = set()
        for followed in (world.pools, world.l2, world.bgp):
            followed.listen(self._everything_changed)
        world.services.listen(self._services_changed)
        world.nodes.listen(self._everything_changed)

    async def run(self) -> None:
        """Program for ever."""
        await self._world.wait_for_sync()
        self._taken = frozenset(self._links.local_addresses())  # those of an earlier life, too
        self._listen()
        self._nodes_changed()
        relaying = asyncio.create_task(self._relays.run())
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                await asyncio.sleep(0)  # let the watches hand over what already lies in their buffers
                self._probing.want(self._wanted_probes())
                with collection_paused():
                    done = self._attend()
                if not done:
                    await asyncio.sleep(_AGAIN_SECONDS)
                    self._news.set()
        finally:
            self._probing.close()
            self._relays.close()
            relaying.cancel()
            self._links.close()

    def _services_changed(self, keys: frozenset[ServiceKey]) -> None:
        self.frontends.touch(keys)
        self._news.set()

    def _nodes_changed(self) -> None:
        self.frontends.touch_all()
        self._news.set()

    def _everything_changed(self, names: frozenset[str]) -> None:
        self._nodes_changed()

    def _wanted_probes(self) -> dict[Probe, Address]:
        """Each node as a whole, and each node for each Service with policy Local."""
        ports = {0}
        for kept in self._world.services.objects.values():
            spec = kept.service.spec if kept.service else None
            if spec is not None and spec.external_traffic_policy == "Local" and spec.health_check_node_port:
                ports.add(spec.health_check_node_port)
        targets = map(compile_target, self._world.nodes.objects.values())
        first = {target.name: target.addresses[0] for target in targets if target.addresses}
        return {Probe(name, port): address for name, address in first.items() for port in ports}

    def _attend(self) -> bool:
        """Do one round; False where the kernel refused and it is to be tried again."""
        started = perf_counter()
        found = self.frontends.round()
        try:
            for family in Family:
                self._program(family, found)
            self._doubt = False
            self._take_addresses()
            frontends = self.frontends.frontends()
            self._relays.want({k: Relayed(frontends[k], version) for k, version in self.frontends.relayed.items()})
        except (NftError, LinkError) as error:
            self._doubt = True
            log(event="refused", table="external", error=str(error))
            return False
        finally:
            self._found(found.findings)
        if found.changes:
            total, spent = len(self.frontends.frontends()), perf_counter() - started
            log(event="programmed", table="external", changes=len(found.changes), total=total, ms=f"{spent * 1e3:.2f}")
            self._forget_flows(found)
        return True

    def _program(self, family: Family, found: Round) -> None:
        rows = self._rows.get(family)
        relayed = self.frontends.relayed
        changes = {key: None if key in relayed else each for key, each in found.changes.items()}
        of_family = {key: each for key, each in changes.items() if key.address.family is family}
        if rows is not None and not self._doubt:
            if of_family:
                self._nft.apply(rows.replace(of_family))
            return
        listed = self._nft.list_table(TableFamily.of(family), TABLE)
        if rows is None:
            rows = self._rows[family] = ServiceRows(family, ())
            bare = rows.base()
            kept = {k: each for k, each in self.frontends.frontends().items() if k not in relayed}
            everything = {k: each for k, each in kept.items() if k.address.family is family}
            full = rows.replace(everything)
            transaction = Transaction(bare.family, TABLE, (*bare.commands, *full.commands), separable=True)
        else:
            rows.replace(of_family)
            transaction = None
        if listed is not None or transaction is None:
            transaction = rows.adopt(listed)
        if transaction:
            self._nft.apply(transaction)

    def _take_addresses(self) -> None:
        """Take what clients dial for this host's own: it then answers ARP, pings, and ports that nobody serves."""
        wanted = self.frontends.addresses()
        if wanted != self._taken:
            self._links.apply([add_local(_single(each)) for each in sorted(wanted - self._taken)])
            self._links.apply([remove_local(_single(each)) for each in sorted(self._taken - wanted)])
            self._taken = wanted

    def _forget_flows(self, found: Round) -> None:
        """End UDP flows that lead to nodes that are gone, or to this host from before there was anybody."""
        try:
            for key, nodes in found.answering.items():
                if not nodes:
                    continue
                self._conntrack = self._conntrack or ConntrackSocket()
                flows = self._conntrack.udp_flows(key.address.family, (key.address, key.port))
                stale = [flow for flow in flows if flow.answerer not in nodes]
                if stale:
                    gone = self._conntrack.forget(stale, key.address.family)
                    log(event="forgot", flows=gone, address=str(key.address), port=key.port)
        except FairleadError as error:
            self._complain("conntrack", error)

    def _listen(self) -> None:
        """Hear of what others do to the tables."""
        try:
            monitor = RulesetMonitor(self._nft.port)
        except FairleadError as error:
            self._complain("deaf", error)
            return
        asyncio.get_running_loop().add_reader(monitor, self._heard, monitor)

    def _heard(self, monitor: RulesetMonitor) -> None:
        touched = monitor.read()
        if touched.lost or any(name == TABLE for _, name in touched.tables):
            self._doubt = True
            log(event="touched", table="external", by=",".join(sorted(touched.writers)) or "unknown")
            self._news.set()

    def _complain(self, event: str, error: FairleadError) -> None:
        if event not in self._deaf:
            self._deaf.add(event)
            log(event=event, error=str(error))


def _single(address: Address) -> Prefix:
    return Prefix(address, 8 * address.family.size)


def _is_loopback(address: Address) -> bool:
    return address.packed[:1] == b"\x7f" if address.family is Family.IPV4 else address.packed == bytes(15) + b"\x01"
