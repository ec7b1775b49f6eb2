"""UDP flows that lead nowhere any more, ended once the rows are right.

Comes in: who may answer at each frontend. Goes out: deletions in the kernel's connection tracking. A kernel without it
is complained about once; the traffic goes on.
"""

from collections.abc import Iterable
from time import perf_counter

from fairlead.agents.lines import log
from fairlead.agents.node.metrics import Counts
from fairlead.agents.node.staleness import Answerers, stale_flows
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.netlink.conntrack import ConntrackSocket, TrackedFlow
from fairlead.net import Family

FEW = 8
"""Frontends up to which the kernel is asked for the flows of each: it walks its whole table every time."""


class FlowCleaning:
    """The agent's hand in connection tracking."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._conntrack: ConntrackSocket | None = None
        self._complaints: set[str] = set()

    def forget(self, family: Family, answerers: Answerers) -> None:
        """End UDP flows that lead to endpoints which are gone; rows come first, so that new flows are right."""
        started = perf_counter()
        try:
            self._conntrack = self._conntrack or ConntrackSocket()
            stale = stale_flows(answerers, self._flows(self._conntrack, family, answerers))
            if stale:
                forgotten = self._conntrack.forget(stale, family)
                self._counts.family(family).flows_deleted += forgotten
                log(event="forgot", flows=forgotten, family=family.value)
        except FairleadError as error:
            if self._conntrack is not None:
                self._conntrack.close()
                self._conntrack = None
            if str(error) not in self._complaints:
                self._complaints.add(str(error))
                log(event="conntrack", error=str(error))
        finally:
            self._counts.family(family).reconciling.observe(perf_counter() - started)

    def _flows(self, conntrack: ConntrackSocket, family: Family, answerers: Answerers) -> Iterable[TrackedFlow]:
        """The flows that may be stale: asked for one by one where few frontends changed, else all of UDP."""
        if answerers.node_ports or len(answerers.frontends) > FEW:
            return conntrack.udp_flows(family)
        keys = answerers.frontends
        return [flow for key in keys for flow in conntrack.udp_flows(family, (key.address, key.port))]
