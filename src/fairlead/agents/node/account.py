"""What the agent says of itself: log lines, Events, health and metrics, from one place.

Comes in: what became of tables, and changes heard. Goes out: lines, notices for authors, and pages. Decides nothing
about traffic.
"""

import asyncio
import time
from collections.abc import Callable, Iterable

from fairlead.agents.events import Notice, notice_of, parse_time
from fairlead.agents.lines import log
from fairlead.agents.node.health import ProxyHealth
from fairlead.agents.node.metrics import Counts, exposition, import_exposition
from fairlead.agents.node.objects import ServiceObjects
from fairlead.agents.node.tables import Table
from fairlead.agents.node.upkeep import Upkeep, Work
from fairlead.agents.pages import JSON, NOT_FOUND, Page
from fairlead.drivers.netlink.nftables import NftError
from fairlead.model import Finding
from fairlead.net import Family

_TELL_AGAIN_SECONDS, _REMEMBERED = 600.0, 4096


class Account:
    """Hears everything, and answers who asks. `tell` takes what is to become an Event."""

    def __init__(
        self, objects: ServiceObjects, tell: Callable[[Notice], None], config: bytes, clock: Callable[[], float]
    ) -> None:
        self.counts = Counts()
        self.health = ProxyHealth()
        self._objects = objects
        self._tell = tell
        self._config = config
        self._clock = clock
        self._started = clock()
        self._told: dict[Finding, float] = {}

    def heard(self, tables: Iterable[Table]) -> None:
        """Note that there was news; tables that wait for a round wait from now on."""
        now = self._clock()
        for table in tables:
            if table.ip_family is not None and table.pending and table.synced:
                self.health.queued(table.ip_family, now)
                self.counts.family(table.ip_family).last_queued = now

    def programmed(self, table: Table, work: Work) -> None:
        """Say and count what was done; a comparison that found nothing is only counted."""
        outcome, seconds = work.outcome, work.python + work.kernel
        if outcome.transaction:
            log(
                event="programmed",
                table=table.label,
                **({"reason": work.reason} if work.reason else {}),
                objects=outcome.objects,
                changes=outcome.changes,
                total=outcome.total,
                python_ms=f"{work.python * 1000:.2f}",
                kernel_ms=f"{work.kernel * 1000:.2f}",
            )
        self.counts.synced(table.label, seconds)
        if work.reason == "touched" and outcome.transaction:
            self.counts.repairs[table.label] = self.counts.repairs.get(table.label, 0) + 1
        if table.ip_family is not None:
            self._count(table.ip_family, seconds, whole=bool(work.reason))

    def settled(self, upkeeps: Iterable[Upkeep]) -> None:
        """Note that all tables were attended to; what is still pending waits for another try."""
        for upkeep in upkeeps:
            if upkeep.left_out or upkeep.table.label in self.counts.left_out:
                self.counts.left_out[upkeep.table.label] = len(upkeep.left_out)
        if not any(upkeep.table.pending for upkeep in upkeeps):
            self._objects.heard.settle()

    def refused(self, table: Table, error: NftError) -> None:
        """Count a refusal."""
        if table.ip_family is not None:
            self.counts.family(table.ip_family).failures += 1

    def found(self, findings: tuple[Finding, ...]) -> None:
        """Tell each finding, in the log and as an Event, and again when it is found again after a while."""
        now = time.monotonic()
        for finding in findings:
            if now - self._told.get(finding, -_TELL_AGAIN_SECONDS) < _TELL_AGAIN_SECONDS:
                continue
            self._told[finding] = now
            if len(self._told) > _REMEMBERED:
                del self._told[next(iter(self._told))]
            origin, severity = str(finding.origin), finding.severity.value
            log(event="finding", severity=severity, object=origin, message=finding.message, remedy=finding.remedy)
            self._tell(notice_of(finding, self._objects.facts.name))

    async def health_page(self, path: str) -> Page:
        """What port 10256 answers."""
        if self._objects.node is not None or self._objects.node_deleted:
            self.health.node(self._objects.node)
        page = self.health.page(path, self._clock())
        if page is not NOT_FOUND:
            self.counts.answered(path.strip("/"), page.status)
        return page

    async def metrics_page(self, path: str) -> Page:
        """What port 10249 answers (k/cmd/kube-proxy/app/server.go, serveMetrics)."""
        match path:
            case "/healthz":
                return Page(b"ok")
            case "/proxyMode":
                return Page(b"nftables")
            case "/configz":
                return Page(self._config, JSON)
            case "/metrics":
                self._refresh()
                await asyncio.to_thread(import_exposition)
                return Page(*exposition(self.counts))
            case _:
                return NOT_FOUND

    def _count(self, family: Family, seconds: float, *, whole: bool) -> None:
        now, counts = self._clock(), self.counts.family(family)
        counts.syncs.observe(seconds)
        (counts.full if whole else counts.partial).observe(seconds)
        counts.last_sync = now
        for of_family, text in self._objects.heard.happened:
            happened = parse_time(text)
            if of_family is family and happened >= self._started:  # what happened before is no delay of this agent
                counts.programming.observe(max(0.0, now - happened))
        self.health.updated(family, now)

    def _refresh(self) -> None:
        """Look up what is not counted as it happens."""
        heard, counts = self._objects.heard, self.counts
        counts.service_changes, counts.service_changes_pending = heard.services, heard.services_pending
        counts.endpoint_changes, counts.endpoint_changes_pending = heard.slices, heard.slices_pending
        for family, each in counts.families.items():
            each.no_local_endpoints = self._objects.without_local(family)
