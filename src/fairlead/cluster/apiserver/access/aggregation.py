"""ClusterRoles made of others: the rules of one with an aggregationRule are those of the roles its selectors find.

In: the store. Out: changed ClusterRoles, staged in it together with the change that caused them, so that nobody sees
the one without the other. Source: k8s.io/kubernetes/pkg/controller/clusterroleaggregation.
"""

import msgspec

from fairlead.cluster.apiserver.access.roles import CLUSTER_ROLES
from fairlead.cluster.apiserver.store import Store, Stored
from fairlead.kube.documents import Document, Json, items_at
from fairlead.kube.meta import LabelSelector
from fairlead.kube.selectors import selector_matcher


class Aggregation:
    """Keeps aggregated ClusterRoles true."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stale = True
        store.follow(CLUSTER_ROLES, self._changed)

    def _changed(self, new: Stored | None, old: Stored | None) -> None:
        self._stale = True

    def run(self) -> None:
        """Stage what has to change; again until nothing does, since aggregated roles may be aggregated."""
        while self._stale:
            self._stale = False
            roles = [(stored, stored.document()) for stored in self._store.items(CLUSTER_ROLES)]
            for stored, document in roles:
                selectors = items_at(document, "aggregationRule", "clusterRoleSelectors")
                if not selectors:
                    continue
                rules = _gathered(stored, selectors, roles)
                if rules != items_at(document, "rules"):
                    document["rules"] = rules
                    self._store.put(CLUSTER_ROLES, stored.key, document)
                    break


def _gathered(own: Stored, selectors: list[Json], roles: list[tuple[Stored, Document]]) -> list[Json]:
    found: list[Json] = []
    for stored, document in roles:
        if stored.key == own.key or not any(_selects(selector, stored) for selector in selectors):
            continue
        found += [rule for rule in items_at(document, "rules") if rule not in found]
    return found


def _selects(selector: Json, stored: Stored) -> bool:
    return selector_matcher(msgspec.convert(selector, LabelSelector))(stored.labels)
