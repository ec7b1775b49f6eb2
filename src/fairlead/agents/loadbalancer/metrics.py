"""What the load-balancer agent counts, as Prometheus reads it, under MetalLB's names where it has them.

Comes in: the allocation and the external provider as they are when somebody asks. Goes out: one page.
"""

from collections.abc import Iterable, Iterator

from fairlead.agents.loadbalancer.allocation import Allocation
from fairlead.agents.loadbalancer.external import External
from fairlead.agents.pages import NOT_FOUND, Page
from fairlead.net import Family

_Sample = tuple[str, int]
"""The labels in braces, or nothing, and the value."""


class Metrics:
    """The page /metrics; what does not run here has no samples."""

    def __init__(self, allocation: Allocation | None, external: External | None) -> None:
        self._allocation = allocation
        self._external = external

    async def page(self, path: str) -> Page:
        """Answer /metrics, and /healthz while this runs."""
        match path:
            case "/healthz":
                return Page(b"ok")
            case "/metrics":
                return Page("".join(self._lines()).encode(), "text/plain; version=0.0.4; charset=utf-8")
            case _:
                return NOT_FOUND

    def _lines(self) -> Iterator[str]:
        if self._allocation is not None:
            yield from _allocated(self._allocation)
        if self._external is not None:
            served = [("", len(self._external.frontends.served()))]
            yield from _metric("fairlead_external_services", "gauge", "Services that this host serves.", served)
            frontends = [("", len(self._external.frontends.frontends()))]
            yield from _metric("fairlead_external_frontends", "gauge", "Addresses and ports of them.", frontends)


def _allocated(allocation: Allocation) -> Iterator[str]:
    usage = allocation.book.usage()
    for prefix, families in (("", tuple(Family)), ("ipv4_", (Family.IPV4,)), ("ipv6_", (Family.IPV6,))):
        total = [(_pool(each.pool), sum(each.sizes[family] for family in families)) for each in usage]
        in_use = [(_pool(each.pool), sum(each.in_use[family] for family in families)) for each in usage]
        yield from _metric(f"metallb_allocator_{prefix}addresses_total", "gauge", "Usable addresses.", total)
        yield from _metric(f"metallb_allocator_{prefix}addresses_in_use_total", "gauge", "Addresses in use.", in_use)
    services = [(_pool(each.pool), each.services) for each in usage]
    yield from _metric("metallb_allocator_services_allocated_total", "gauge", "Services with an address.", services)
    waiting = [("", len(allocation.book.waiting))]
    yield from _metric("fairlead_allocator_services_waiting", "gauge", "Services without what they ask.", waiting)
    failures = [("", allocation.book.failures)]
    yield from _metric("fairlead_allocator_failures_total", "counter", "Requests that no pool could meet.", failures)
    valid, known = not allocation.wrong, bool(allocation.book.pools)
    loaded, stale = [("", int(valid or known))], [("", int(not valid))]
    yield from _metric("metallb_k8s_client_config_loaded_bool", "gauge", "Whether pools are in use.", loaded)
    yield from _metric("metallb_k8s_client_config_stale_bool", "gauge", "Whether they are not the written ones.", stale)
    updates, errors = [("", allocation.updates)], [("", allocation.failed_updates)]
    yield from _metric("metallb_k8s_client_updates_total", "counter", "Statuses written.", updates)
    yield from _metric("metallb_k8s_client_update_errors_total", "counter", "Statuses not written.", errors)


def _pool(name: str) -> str:
    return f'{{pool="{name}"}}'


def _metric(name: str, kind: str, text: str, samples: Iterable[_Sample]) -> Iterator[str]:
    yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
    for labels, value in samples:
        yield f"{name}{labels} {value}\n"
