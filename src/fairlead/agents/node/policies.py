"""Network policies as a part of the agent: a table of their own for each family, over one machine.

Comes in: NetworkPolicies, ClusterNetworkPolicies, pods of all nodes, namespaces. Goes out: transactions. Refuses to
know the kernel. The table is made with the first policy that selects a pod here, and stays from then on; trouble with
it never touches the service table.
"""

import asyncio
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from fairlead.agents.node.policy_objects import (
    CLUSTER_POLICIES,
    PolicyObjects,
    keep_cluster_policy,
    keep_namespace,
    keep_network_policy,
    keep_pod,
)
from fairlead.agents.node.tables import Feed, Outcome, Table
from fairlead.kube.core import Namespace
from fairlead.kube.networking import NetworkPolicy
from fairlead.kube.outlines import PodOutline
from fairlead.kube.policy import ClusterNetworkPolicy
from fairlead.model import Finding, Origin
from fairlead.model.policies import PolicyPod
from fairlead.model.policy_profiles import PolicyChanges
from fairlead.net import Address, Family
from fairlead.nft.tables import TableContents
from fairlead.nft.transactions import Command, Transaction
from fairlead.render.policy_chains import TABLE, PolicySettings
from fairlead.render.policy_rows import PolicyRows


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
        self.unprogrammed: set[Address] = set()
        """The addresses whose latest subject the kernel may not hold yet."""
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
        self.unprogrammed.update(changes.subjects)

    def begin(self, listed: TableContents | None) -> Outcome:
        """The transaction from what the kernel lists to everything wanted; none where there is nothing yet."""
        changes = self._advance()
        if listed is None and not self._rows.subjects:
            self._made = False
            return self._outcome(changes, self._nothing())
        self._made = True
        return self._outcome(changes, self._rows.adopt(listed))

    def round(self) -> Outcome:
        """The transaction for what changed since the last round."""
        if not self._made:
            changes = self._advance()
            if not self._rows.subjects:
                return self._outcome(changes, self._nothing())
            self._made = True
            return self._outcome(changes, self._rows.build())
        self._look()
        waiting, self._waiting = self._waiting, []
        commands: list[Command] = []
        commits: list[int] = []
        for transaction in map(self._rows.replace, waiting):
            commits += (len(commands) + place for place in transaction.commits)
            commands += transaction.commands
            commits.append(len(commands))
        transaction = Transaction(self.family, self.name, tuple(commands), commits=tuple(commits))
        return self._outcome(sum(len(changes.subjects) for changes in waiting), transaction)

    def programmed(self) -> None:
        """Note that the kernel holds everything, and let those go on who wait for it."""
        self._recent.clear()
        self.unprogrammed.clear()
        self._settled()

    def policies_of(self, prefix: str) -> tuple[Origin, ...]:
        """The policies of the profile whose denials are logged under a prefix."""
        return self._rows.policies_of(prefix)

    def suspects(self) -> AbstractSet[Origin]:
        """The policies that changed since the kernel last agreed."""
        return self._recent & self._objects.policies()

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

    def _advance(self) -> int:
        """Bring the rows to now, and return how many subjects changed."""
        self._look()
        waiting, self._waiting = self._waiting, []
        for changes in waiting:
            self._rows.replace(changes)
        return sum(len(changes.subjects) for changes in waiting)

    def _nothing(self) -> Transaction:
        return Transaction(self.family, self.name)

    def _outcome(self, changes: int, transaction: Transaction) -> Outcome:
        objects, findings = self._objects, tuple[Finding, ...]()
        if objects.findings:
            findings = tuple(finding for each in objects.findings.values() for finding in each)
            objects.findings.clear()
        return Outcome(
            transaction=transaction,
            objects=len(self._recent),
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
        return not any(address in table.unprogrammed for table in self._tables for address in addresses)

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
