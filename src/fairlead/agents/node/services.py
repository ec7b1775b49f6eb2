"""The service proxy as a part of the agent: two tables, one a family, over one store of objects.

Comes in: Services, EndpointSlices, the own Node. Goes out: transactions, and what must follow them: who may answer at
each UDP frontend. Refuses to know the kernel.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from msgspec import Struct

from fairlead.agents.node.machine import NodeMachine, Round
from fairlead.agents.node.objects import Key, ServiceObjects, keep_node, keep_service, key_of, origin_of
from fairlead.agents.node.staleness import Answerers
from fairlead.agents.node.tables import Feed, Outcome, Table
from fairlead.kube.core import Node, Service
from fairlead.kube.discovery import EndpointSliceOutline
from fairlead.kube.outlines import PodOutline
from fairlead.model import Origin
from fairlead.net import Family, Prefix
from fairlead.nft.objects import TableFamily
from fairlead.nft.tables import TableContents
from fairlead.nft.transactions import Transaction
from fairlead.render.service_layout import TABLE
from fairlead.render.services import ServiceRows

NO_PROXY, NO_HEADLESS = "!service.kubernetes.io/service-proxy-name", "!service.kubernetes.io/headless"


class ServiceSettings(Struct, frozen=True, kw_only=True):
    """What a service table needs to know that no object says; without `pod_prefixes` the Node's podCIDRs are taken."""

    pod_prefixes: tuple[Prefix, ...] = ()
    service_prefixes: tuple[Prefix, ...] = ()
    masquerade_all: bool = False


class ServiceTable:
    """The service table of one family. `answered` is told, after each round, who may answer at UDP frontends."""

    def __init__(
        self,
        objects: ServiceObjects,
        family: Family,
        settings: ServiceSettings,
        answered: Callable[[Family, Answerers], None],
    ) -> None:
        self._objects = objects
        self._of_family = family
        self._settings = settings
        self._answered = answered
        self._awake = False
        self._recent: set[Key] = set()
        self._udp = Answerers()
        self._rows: ServiceRows | None = None
        self._local: tuple[Prefix, ...] = ()
        self.machine = NodeMachine(objects, family, masquerade_all=settings.masquerade_all)
        self.label = f"services-{family.value.lower()}"
        self.ip_family: Family | None = family
        self.family = TableFamily.of(family)
        self.name = TABLE

    @property
    def synced(self) -> bool:
        """Whether everything was listed once and the node speaks this family; from then on for good."""
        if not self._awake:
            self._awake = self._objects.synced and self._of_family in self._families()
        return self._awake

    @property
    def pending(self) -> bool:
        """Whether a service was touched since the last round."""
        return self.machine.pending

    @property
    def outdated(self) -> bool:
        """Whether the constant rules name other pod prefixes than the Node now does."""
        return self._rows is not None and self._local != self._pod_prefixes()

    def begin(self, listed: TableContents | None) -> Outcome:
        """The transaction from what the kernel lists to every frontend there is."""
        found = self._look()
        if self._rows is None or self.outdated:
            self._local = self._pod_prefixes()
            self._rows = ServiceRows(self._of_family, self._local, *self._settings.service_prefixes)
            bare, everything = self._rows.base(), self._rows.replace(self.machine.frontends())
            transaction = Transaction(self.family, TABLE, (*bare.commands, *everything.commands), separable=True)
        else:
            self._rows.replace(found.changes)
            transaction = None
        if listed is not None or transaction is None:
            transaction = self._rows.adopt(listed)
        return self._outcome(found, transaction)

    def round(self) -> Outcome:
        """The transaction for the services touched since the last round."""
        assert self._rows is not None
        found = self._look()
        return self._outcome(found, self._rows.replace(found.changes))

    def programmed(self) -> None:
        """Hand on who may answer at the UDP frontends that changed."""
        self._recent.clear()
        udp, self._udp = self._udp, Answerers()
        if udp:
            self._answered(self._of_family, udp)

    def suspects(self) -> AbstractSet[Origin]:
        """The services looked at since the kernel last agreed."""
        return {origin_of(key) for key in self._recent}

    def objects(self) -> AbstractSet[Origin]:
        """The services that have frontends or are withheld."""
        return {origin_of(key) for key in self.machine.services()}

    def withheld(self) -> AbstractSet[Origin]:
        """The services that have no frontends since they are withheld."""
        return {origin_of(key) for key in self.machine.withheld}

    def withhold(self, objects: AbstractSet[Origin]) -> None:
        """Give these services no frontends."""
        self.machine.withhold(set(map(key_of, objects)))

    def admit(self, objects: AbstractSet[Origin]) -> None:
        """Give these services their frontends again."""
        self.machine.admit(set(map(key_of, objects)))

    def _look(self) -> Round:
        found = self.machine.round()
        self._recent |= found.services
        self._udp.update(found.udp)
        return found

    def _outcome(self, found: Round, transaction: Transaction) -> Outcome:
        return Outcome(
            transaction=transaction,
            objects=len(found.services),
            changes=len(found.changes),
            total=len(self.machine.frontends()),
            findings=found.findings,
        )

    def _families(self) -> AbstractSet[Family]:
        """The Node decides; without it the service prefixes; without those it is IPv4."""
        told = {prefix.family for prefix in self._settings.pod_prefixes} | self._objects.families
        return told or {prefix.family for prefix in self._settings.service_prefixes} or {Family.IPV4}

    def _pod_prefixes(self) -> tuple[Prefix, ...]:
        prefixes = self._settings.pod_prefixes or self._objects.pod_prefixes
        return tuple(prefix for prefix in prefixes if prefix.family is self._of_family)


class ServicePart:
    """Services, as a part of the agent."""

    def __init__(
        self, objects: ServiceObjects, settings: ServiceSettings, answered: Callable[[Family, Answerers], None]
    ) -> None:
        self._objects = objects
        self._tables = tuple(ServiceTable(objects, family, settings, answered) for family in Family)

    def feeds(self) -> Sequence[Feed[Any, Any]]:
        """Services and slices but for those of other proxies and of headless services, the own Node, its pods."""
        objects = self._objects
        return (
            Feed(Service, keep_service, objects.take_services, labels=NO_PROXY),
            Feed(EndpointSliceOutline, objects.keep_slice, objects.take_slices, labels=NO_HEADLESS),
            Feed(
                PodOutline,
                objects.keep_pod,
                objects.take_pods,
                fields=f"spec.nodeName={objects.facts.name}",
                absent=objects.do_without_pods,
            ),
            Feed(Node, keep_node, objects.take_nodes, fields=f"metadata.name={objects.facts.name}"),
        )

    def tables(self) -> Sequence[Table]:
        """The tables of both families."""
        return self._tables
