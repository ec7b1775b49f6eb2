"""Whether the proxy keeps up: what load balancers and liveness probes ask on port 10256.

Comes in: when something was queued and programmed, for each family, and what the Node object says. Goes out: the pages
/healthz and /livez. A machine: the time comes in with each call, in seconds since the epoch. Source:
k/pkg/proxy/healthcheck/proxy_health.go.
"""

from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from fairlead.agents.pages import JSON, NOT_FOUND, Page
from fairlead.kube.core import Node
from fairlead.net import Family

LATE_SECONDS = 60.0
"""An update that waits for longer makes the proxy unhealthy: twice kube-proxy's syncPeriod."""
TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"


class _FamilyHealth(Struct, frozen=True, rename="camel"):
    last_updated: datetime
    healthy: bool


class _Health(Struct, frozen=True, rename="camel", omit_defaults=True):
    last_updated: datetime
    current_time: datetime
    node_eligible: bool | msgspec.UnsetType
    healthy: bool
    status: dict[str, _FamilyHealth]


class ProxyHealth:
    """What is known of the health of the service tables."""

    def __init__(self) -> None:
        self._updated: dict[Family, float] = {}
        self._queued: dict[Family, float] = {}
        self._eligible = True

    def queued(self, family: Family, now: float) -> None:
        """Something waits to be programmed; what waits longest counts."""
        self._queued.setdefault(family, now)

    def updated(self, family: Family, now: float) -> None:
        """Everything queued is programmed."""
        self._queued.pop(family, None)
        self._updated[family] = now

    def node(self, node: Node | None) -> None:
        """Note what became of the own Node, None being deleted: new connections should go to others then."""
        self._eligible = (
            node is not None
            and node.metadata.deletion_timestamp is None
            and all(taint.key != TO_BE_DELETED for taint in node.spec.taints)
        )

    def healthy(self, now: float) -> bool:
        """Whether nothing is late. An agent that has just started is not."""
        return all(self._on_time(family, now) for family in Family)

    def page(self, path: str, now: float) -> Page:
        """The page /healthz or /livez: 503 while something is late, /healthz also while the node is going."""
        if path not in ("/healthz", "/livez"):
            return NOT_FOUND
        healthy = self.healthy(now)
        good = healthy and (self._eligible or path == "/livez")
        last = now if healthy else max(self._updated.values(), default=0.0)
        health = _Health(
            last_updated=_moment(last),
            current_time=_moment(now),
            node_eligible=self._eligible if path == "/healthz" else msgspec.UNSET,
            healthy=healthy,
            status={
                family.value: _FamilyHealth(
                    _moment(now if self._on_time(family, now) else when), self._on_time(family, now)
                )
                for family, when in sorted(self._updated.items(), key=lambda item: item[0].value)
            },
        )
        return Page(msgspec.json.encode(health), JSON, 200 if good else 503)

    def _status(self, family: Family, now: float) -> _FamilyHealth:
        on_time = self._on_time(family, now)
        return _FamilyHealth(_moment(now if on_time else self._updated[family]), on_time)

    def _on_time(self, family: Family, now: float) -> bool:
        queued = self._queued.get(family)
        return queued is None or now - queued < LATE_SECONDS


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
