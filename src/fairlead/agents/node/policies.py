"""Network policies as a part of the agent: a table of their own for each family, over one machine.

Comes in: NetworkPolicies, ClusterNetworkPolicies, pods of all nodes, namespaces. Goes out: transactions. Refuses to
know the kernel. The table is made with the first policy that selects a pod here, and stays from then on; trouble with
it never touches the service table.
"""

import asyncio
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from fairlead.agents.node.denials import Ends, Judged
from fairlead.agents.node.policy_changes import join_changes
from fairlead.agents.node.policy_objects import (
    CLUSTER_POLICIES,
    PolicyObjects,
    keep_cluster_policy,
    keep_namespace,
    keep_network_policy,
    keep_pod,
)
from fairlead.agents.node.tables import Feed, Outcome, Table
from fairlead.compile.policy_groups import Key
from fairlead.kube.core import Namespace
from fairlead.kube.networking import NetworkPolicy
from fairlead.kube.outlines import PodOutline
from fairlead.kube.policy import ClusterNetworkPolicy
from fairlead.model import Finding, Origin
from fairlead.model.policies import PolicyPod
from fairlead.model.policy_profiles import PolicyChanges
from fairlead.net import Address, Family
from fairlead.nft.tables import TableContents
from fairlead.nft.transactions import Transaction
from fairlead.render.policy_chains import TABLE, PolicySettings, name_of
from fairlead.render.policy_rows import PolicyRows
from fairlead.render.policy_stages import Stages, one_stage


class PolicyTable:
    """The policy table of one family. `look` runs the machine, whose changes reach the tables of both."""

    def __init__(
        self, objects: PolicyObjects, rows: PolicyRows, look: Callable[[], None], settled: Callable[[], None]
    ) -> None:
        self._objects = objects
        self._look = look
        self._settled = settled
        self._waiting: list[PolicyChanges] = []
        self._rows = rows
        self._made = False
        self._recent: set[Origin] = set()
        self._suspects: set[Origin] = set()
        self._handed: set[Address] = set()
        self._sent: set[Address] = set()
        self.label = f"policies-{rows.family.value.lower()}"
        self.ip_family: Family | None = None
        self.family = rows.table_family
        self.name = TABLE

    @property
    def synced(self) -> bool:
        """Whether everything was listed once."""
        return self._objects.synced

    @property
    def pending(self) -> bool:
        """Whether anything changed since the last round."""
        return bool(self._waiting) or self._objects.pending

    @property
    def outdated(self) -> bool:
        """Never: the constant rules depend on nothing that changes."""
        return False

    def hand(self, changes: PolicyChanges, policies: AbstractSet[Origin]) -> None:
        """Take changes for the next round, and the policies that may be behind them."""
        self._waiting.append(changes)
        self._recent |= policies
        self._handed.update(changes.subjects)

    def holds(self, address: Address) -> bool:
        """Whether the kernel holds the latest subject of an address."""
        return address not in self._handed and address not in self._sent

    def begin(self, listed: TableContents | None) -> Outcome:
        """What leads from what the kernel lists to everything wanted; nothing where there is nothing yet."""
        subjects, _ = self._advance()
        self._made = listed is not None or bool(self._rows.subjects)
        stages = self._rows.adopt(listed) if self._made else one_stage(Transaction(self.family, self.name))
        return self._outcome(subjects, stages)

    def round(self) -> Outcome:
        """What changed since the last round."""
        if not self._made:
            return self.begin(None)
        subjects, stages = self._advance()
        return self._outcome(subjects, stages)

    def programmed(self) -> None:
        """Note that the kernel holds everything returned so far, and let those go on who wait for it."""
        self._suspects.clear()
        self._sent.clear()
        self._settled()

    def policies_of(self, prefix: str) -> tuple[Origin, ...]:
        """The policies of the profile whose denials are logged under a prefix."""
        return self._rows.policies_of(prefix)

    def judges(self, prefix: str, address: Address) -> bool:
        """Whether the profile whose denials are logged under a prefix judges an address."""
        subject = self._rows.subjects.get(address)
        profiles = (subject.ingress, subject.egress) if subject is not None else ()
        return any(each is not None and name_of(each) == prefix for each in profiles)

    def suspects(self) -> AbstractSet[Origin]:
        """The policies that changed since the kernel last agreed."""
        return (self._suspects | self._recent) & self._objects.policies()

    def objects(self) -> AbstractSet[Origin]:
        """Every policy."""
        return self._objects.policies()

    def withheld(self) -> AbstractSet[Origin]:
        """The policies that allow nothing for now."""
        return self._objects.withheld()

    def withhold(self, objects: AbstractSet[Origin]) -> None:
        """Let these policies isolate, and allow nothing."""
        self._objects.withhold(objects)

    def admit(self, objects: AbstractSet[Origin]) -> None:
        """Let these policies say again what they say."""
        self._objects.admit(objects)

    def _advance(self) -> tuple[int, Stages]:
        """Bring the rows to now, and return how many subjects changed, and what carries that out."""
        self._look()
        waiting, self._waiting = self._waiting, []
        self._suspects |= self._recent
        self._sent |= self._handed
        self._recent, self._handed = set(), set()
        changes = join_changes(waiting)
        return len(changes.subjects), self._rows.replace(changes)

    def _outcome(self, changes: int, stages: Stages) -> Outcome:
        objects, findings = self._objects, tuple[Finding, ...]()
        if objects.findings:
            findings = tuple(finding for each in objects.findings.values() for finding in each)
            objects.findings.clear()
        return Outcome(
            before=stages.before,
            transaction=stages.rows,
            after=stages.after,
            objects=len(self._suspects),
            changes=changes,
            total=len(self._rows.subjects),
            findings=findings,
        )


class PolicyPart:
    """Network policies, as a part of the agent."""

    def __init__(self, objects: PolicyObjects, settings: PolicySettings, generation: int) -> None:
        self._objects = objects
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        rows = (PolicyRows(family, settings, generation) for family in Family)
        self._tables = tuple(PolicyTable(objects, each, self._look, self._settled) for each in rows)

    def feeds(self) -> Sequence[Feed[Any, Any]]:
        """Policies, and the pods and namespaces of the whole cluster."""
        objects = self._objects
        return (
            Feed(NetworkPolicy, keep_network_policy, objects.take_network_policies),
            Feed(
                ClusterNetworkPolicy,
                keep_cluster_policy,
                objects.take_cluster_policies,
                absent=lambda: objects.absent(CLUSTER_POLICIES),
            ),
            Feed(Namespace, keep_namespace, objects.take_namespaces),
            Feed(PodOutline, keep_pod, objects.take_pods),
        )

    def tables(self) -> Sequence[Table]:
        """The tables of both families."""
        return self._tables

    def policies_of(self, prefix: str) -> tuple[Origin, ...]:
        """The policies of the profile whose denials are logged under a prefix."""
        return next((found for table in self._tables if (found := table.policies_of(prefix))), ())

    def judged(self, prefix: str, ends: Ends) -> Judged | None:
        """Which end of a denied packet the profile of a prefix judged, None for a profile or a pod that is gone."""
        both = (ends.source, ends.destination) if prefix.startswith("egress") else (ends.destination, ends.source)
        for address in both:
            if any(table.judges(prefix, address) for table in self._tables):
                return Judged(address, self.pods_at(address))
        return None

    def pods_at(self, address: Address) -> Sequence[Key]:
        """The pods that have an address, as far as policies see them."""
        return sorted(self._objects.machine.holders(address))

    async def admit(self, pod: PolicyPod, news: Callable[[], None]) -> None:
        """Return once the kernel holds what there is to for a pod that is about to start; `news` starts a round."""
        self._objects.expect(pod)
        if self._holds(pod.addresses):
            return
        held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((lambda: self._holds(pod.addresses), held))
        news()
        await held

    def _holds(self, addresses: Sequence[Address]) -> bool:
        if not self._objects.synced or self._objects.pending:
            return False
        return all(table.holds(address) for table in self._tables for address in addresses)

    def _settled(self) -> None:
        """Wake those whose pods are programmed."""
        for holds, held in tuple(self._waiting):
            if held.done() or holds():
                self._waiting.remove((holds, held))
                if not held.done():
                    held.set_result(None)

    def _look(self) -> None:
        """Run the machine, for both tables."""
        changes = self._objects.machine.round()
        if changes:
            for table in self._tables:
                table.hand(changes, self._objects.changed)
        self._objects.changed.clear()
