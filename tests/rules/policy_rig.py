"""The node of the rule tests with network policies besides: pods and namespaces as an API server would send them.

Comes in: documents. Goes out: what packets come to. Two pods of the node, web-1 and web-2, are in namespaces shop and
other; two pods elsewhere, far-1 and far-2, too.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from rule_hosts import HOSTS, Answer
from rule_rig import Document, Rig

from fairlead.agents.node.policies import PolicyPart
from fairlead.agents.node.policy_objects import PolicyObjects
from fairlead.drivers.kubeapi import Applied, Deleted, Replaced
from fairlead.kube.core import Namespace
from fairlead.kube.networking import NetworkPolicy
from fairlead.kube.outlines import PodOutline
from fairlead.kube.policy import ClusterNetworkPolicy
from fairlead.nft.objects import TableFamily
from fairlead.nft.transactions import AddTable, DeleteTable, Transaction
from fairlead.render.policy_chains import TABLE, PolicySettings

_KINDS = {
    "Pod": PodOutline,
    "NetworkPolicy": NetworkPolicy,
    "ClusterNetworkPolicy": ClusterNetworkPolicy,
    "Namespace": Namespace,
}
_MOMENT = 0.06
"""How long nobody may answer for it to count as silence: an answer takes a hundredth of that."""
NAMESPACE_OF = {"web-1": "shop", "far-1": "shop", "web-2": "other", "far-2": "other"}


class PolicyRig(Rig):
    """One node and its neighbours under policies."""

    settings = PolicySettings()

    def _start(self) -> None:
        super()._start()
        self.policy_objects = PolicyObjects("node-1")
        self.part = PolicyPart(self.policy_objects, self.settings, int(time.monotonic() * 1000))
        kinds = {cls: kind for kind, cls in _KINDS.items()}
        self._policy_feeds = {kinds[feed.cls]: feed for feed in self.part.feeds() if feed.cls in kinds}
        self._tables = (*self._tables, *self.part.tables())

    def enforce(
        self, *documents: Document, settings: PolicySettings | None = None, without: Sequence[str] = ()
    ) -> None:
        """Start from nothing, with the four pods, two namespaces and these objects in place of those of their name.

        `without` are kinds that the API server does not know.
        """
        self.settings = settings or PolicySettings()
        for family in (TableFamily.IP, TableFamily.IP6):
            self.nft.apply(Transaction(family, TABLE, (AddTable(), DeleteTable())))
        self.restart(*(each for each in documents if each["kind"] not in _KINDS))
        self._list(documents, without)

    def enforce_again(self, *documents: Document) -> None:
        """Be another agent that is started beside the rows of this one, and hears of the same world."""
        self._start()
        self._list(documents)

    def _list(self, documents: Sequence[Document], without: Sequence[str] = ()) -> None:
        own = [*map(a_namespace, ("shop", "other")), *map(a_pod, NAMESPACE_OF)]
        named = {(each["kind"], each["metadata"]["name"]): each for each in (*own, *documents)}
        for kind in _KINDS:
            of_kind = [each for each in named.values() if each["kind"] == kind]
            feed = self._policy_feeds[kind]
            if kind in without:
                assert feed.absent is not None
                feed.absent()
                continue
            feed.take(Replaced(tuple(feed.keep(msgspec.convert(each, feed.cls)) for each in of_kind)))
        self._attend()

    def hear(self, *documents: Document, lose: Sequence[Document] = ()) -> None:
        """Hear of policies, pods and namespaces that are new, changed or gone, all in one round."""
        for told, named in ((Applied, documents), (Deleted, lose)):
            for each in named:
                feed = self._policy_feeds[each["kind"]]
                feed.take(told(feed.keep(msgspec.convert(each, feed.cls))))
        self._attend()

    def lose(self, *documents: Document) -> None:
        """Hear of policies, pods and namespaces that are gone, all in one round."""
        self.hear(lose=documents)

    def reaches(self, place: str, target: str, port: int = 8080, protocol: str = "TCP", family: int = 0) -> bool:
        """Whether a host, by its name, or an address answers another one's first packet."""
        address = HOSTS[target][family] if target in HOSTS else target
        conversation = self.hosts.dial(place, address, port, protocol)
        try:
            return conversation.hear(_MOMENT).outcome == "answered"
        finally:
            conversation.close()

    def answer(self, place: str, target: str, port: int, protocol: str = "UDP") -> Answer:
        """What becomes of a first packet."""
        conversation = self.hosts.dial(place, HOSTS[target][0], port, protocol)
        try:
            return conversation.hear(_MOMENT)
        finally:
            conversation.close()


def a_pod(name: str, labels: Mapping[str, str] | None = None, **fields: Any) -> Document:
    """A pod at one of the hosts, labelled with its name; `phase`, `ports` and `host_network` by keyword."""
    node = "node-1" if name.startswith("web") else "node-2"
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": fields.get("namespace", NAMESPACE_OF[name]),
            "labels": {"pod": name, **(labels or {})},
        },
        "spec": {
            "nodeName": node,
            "hostNetwork": fields.get("host_network", False),
            "containers": [{"ports": fields.get("ports", [])}],
        },
        "status": {"phase": fields.get("phase", "Running"), "podIPs": [{"ip": each} for each in HOSTS[name]]},
    }


def a_namespace(name: str, **labels: str) -> Document:
    """A namespace with labels."""
    return {"kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def a_policy(name: str = "policy", namespace: str = "shop", pods: Document | None = None, **spec: Any) -> Document:
    """A NetworkPolicy for all pods of its namespace, or those with the labels given."""
    selector = {"matchLabels": pods} if pods else {}
    return {
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": selector, **spec},
    }


def labelled(**labels: str) -> Document:
    """A selector."""
    return {"matchLabels": labels}
