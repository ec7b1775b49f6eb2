"""What the agent counts, and the page that says it under kube-proxy's names.

Comes in: work done, changes heard, pages answered. Goes out: Prometheus' text format. Counting costs a few integers;
the library that writes the format is imported when somebody asks. Names and buckets: k/pkg/proxy/metrics/metrics.go.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from fairlead.net import Family

if TYPE_CHECKING:
    from prometheus_client.core import Metric

SYNC_BUCKETS = tuple(0.001 * 2**step for step in range(15))
PROGRAMMING_BUCKETS = (
    0.25,
    0.5,
    *map(float, range(1, 60)),
    *map(float, range(60, 120, 5)),
    *map(float, range(120, 301, 30)),
)


class Histogram:
    """How many values fell into each bucket; the last takes what no other does."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Upper bounds with how many values are not above them, as Prometheus wants them."""
        total = 0
        found: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, total))
        return found


class FamilyCounts:
    """What is counted for the service table of one family; times are seconds since the epoch."""

    def __init__(self) -> None:
        self.syncs, self.full, self.partial = (Histogram(SYNC_BUCKETS) for _ in range(3))
        self.programming = Histogram(PROGRAMMING_BUCKETS)
        self.last_sync = 0.0
        self.last_queued = 0.0
        self.failures = 0
        self.no_local_endpoints = {"internal": 0, "external": 0}
        self.flows_deleted = 0
        self.reconciling = Histogram(SYNC_BUCKETS)


class Counts:
    """Everything the agent counts."""

    def __init__(self) -> None:
        self.families: dict[Family, FamilyCounts] = {}
        self.tables: dict[str, Histogram] = {}
        """Every table by its label, services' and others', with the seconds its rounds took."""
        self.repairs: dict[str, int] = {}
        self.left_out: dict[str, int] = {}
        self.denied: dict[tuple[str, str], int] = {}
        """Denied packets that were logged, by policy and direction."""
        self.service_changes = 0
        self.service_changes_pending = 0
        self.endpoint_changes = 0
        self.endpoint_changes_pending = 0
        self.pages: dict[tuple[str, int], int] = {}

    def family(self, family: Family) -> FamilyCounts:
        """The counts of a family."""
        return self.families.setdefault(family, FamilyCounts())

    def synced(self, label: str, seconds: float) -> None:
        """Count a round of a table."""
        self.tables.setdefault(label, Histogram(SYNC_BUCKETS)).observe(seconds)

    def answered(self, page: str, status: int) -> None:
        """Count an answered `healthz` or `livez`."""
        self.pages[page, status] = self.pages.get((page, status), 0) + 1


def import_exposition() -> None:
    """Import what writes the format: half a second of work the first time, to be done beside the loop."""
    import_module("prometheus_client")


def exposition(counts: Counts) -> tuple[bytes, str]:
    """The page, and its content type."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from prometheus_client.gc_collector import GCCollector
    from prometheus_client.process_collector import ProcessCollector

    registry = CollectorRegistry()
    registry.register(_Collector(counts))
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Collector:
    """Turns counts into metrics, when they are asked for."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def collect(self) -> "Iterator[Metric]":
        """Every metric with its values."""
        counts = self._counts
        families = {family.value: each for family, each in counts.families.items()}
        sync = "kubeproxy_sync_proxy_rules"
        yield _histograms(f"{sync}_duration_seconds", "A round of a table", {f: c.syncs for f, c in families.items()})
        yield _histograms(
            "kubeproxy_sync_full_proxy_rules_duration_seconds",
            "A round that compared the whole table",
            {f: c.full for f, c in families.items()},
        )
        yield _histograms(
            "kubeproxy_sync_partial_proxy_rules_duration_seconds",
            "A round that sent only what changed",
            {f: c.partial for f, c in families.items()},
        )
        yield _histograms(
            "kubeproxy_network_programming_duration_seconds",
            "From a change of endpoints in the cluster to the kernel",
            {f: c.programming for f, c in families.items()},
        )
        yield _gauges(f"{sync}_last_timestamp_seconds", "When rows were last right", _each(families, "last_sync"))
        yield _gauges(
            f"{sync}_last_queued_timestamp_seconds", "When a change was last heard of", _each(families, "last_queued")
        )
        yield _counters(
            f"{sync}_nftables_sync_failures", "Transactions the kernel refused", _each(families, "failures")
        )
        yield _histograms(
            "kubeproxy_conntrack_reconciler_sync_duration_seconds",
            "A search for UDP flows to end",
            {f: c.reconciling for f, c in families.items()},
        )
        yield _counters(
            "kubeproxy_conntrack_reconciler_deleted_entries", "UDP flows ended", _each(families, "flows_deleted")
        )
        yield _no_local_endpoints(families)
        yield _gauge(f"{sync}_service_changes_pending", "Services to look at", counts.service_changes_pending)
        yield _counter(f"{sync}_service_changes", "Changes of Services", counts.service_changes)
        yield _gauge(f"{sync}_endpoint_changes_pending", "Slices to look at", counts.endpoint_changes_pending)
        yield _counter(f"{sync}_endpoint_changes", "Changes of EndpointSlices", counts.endpoint_changes)
        yield from _answers(counts)
        yield _histograms("fairlead_table_sync_duration_seconds", "A round of a table", counts.tables, "table")
        yield _counters("fairlead_table_repairs", "Tables mended after somebody's writing", counts.repairs, "table")
        yield _gauges("fairlead_table_left_out", "Objects that the kernel refuses", counts.left_out, "table")
        yield _denials(counts)


def _each(families: Mapping[str, FamilyCounts], attribute: str) -> dict[str, float]:
    return {family: getattr(counts, attribute) for family, counts in families.items()}


def _histograms(name: str, about: str, values: Mapping[str, Histogram], label: str = "ip_family") -> "Metric":
    from prometheus_client.core import HistogramMetricFamily

    metric = HistogramMetricFamily(name, about, labels=[label])
    for value, histogram in values.items():
        metric.add_metric([value], histogram.cumulative(), histogram.sum)
    return metric


def _gauges(name: str, about: str, values: Mapping[str, float], label: str = "ip_family") -> "Metric":
    from prometheus_client.core import GaugeMetricFamily

    metric = GaugeMetricFamily(name, about, labels=[label])
    for value, number in values.items():
        metric.add_metric([value], number)
    return metric


def _counters(name: str, about: str, values: Mapping[str, float], label: str = "ip_family") -> "Metric":
    from prometheus_client.core import CounterMetricFamily

    metric = CounterMetricFamily(name, about, labels=[label])
    for value, number in values.items():
        metric.add_metric([value], number)
    return metric


def _gauge(name: str, about: str, value: float) -> "Metric":
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(name, about, value=value)


def _counter(name: str, about: str, value: float) -> "Metric":
    from prometheus_client.core import CounterMetricFamily

    return CounterMetricFamily(name, about, value=value)


def _no_local_endpoints(families: Mapping[str, FamilyCounts]) -> "Metric":
    from prometheus_client.core import GaugeMetricFamily

    name = "kubeproxy_sync_proxy_rules_no_local_endpoints_total"  # a gauge upstream, whatever its name says
    metric = GaugeMetricFamily(
        name, "Services whose policy is Local, without local endpoints", labels=["ip_family", "traffic_policy"]
    )
    for family, counts in families.items():
        for policy, number in counts.no_local_endpoints.items():
            metric.add_metric([family, policy], number)
    return metric


def _denials(counts: Counts) -> "Metric":
    from prometheus_client.core import CounterMetricFamily

    text = "Packets that policies denied, as far as they were logged"
    metric = CounterMetricFamily("fairlead_policy_denied_packets", text, labels=["policy", "direction"])
    for (policy, direction), number in counts.denied.items():
        metric.add_metric([policy, direction], number)
    return metric


def _answers(counts: Counts) -> "Iterator[Metric]":
    from prometheus_client.core import CounterMetricFamily

    for page in ("healthz", "livez"):
        metric = CounterMetricFamily(f"kubeproxy_proxy_{page}", f"Answers of /{page} by status", labels=["code"])
        for (which, status), number in counts.pages.items():
            if which == page:
                metric.add_metric([str(status)], number)
        yield metric
