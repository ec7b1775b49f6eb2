"""UDP flows that lead nowhere any more, ended once the rows are right.

Comes in: who may answer at each frontend. Goes out: deletions in the kernel's connection tracking. A kernel without it
is complained about once; the traffic goes on.
"""

from fairlead.agents.node.lines import log
from fairlead.agents.node.metrics import Counts
from fairlead.agents.node.staleness import Answerers, stale_flows
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.netlink.conntrack import ConntrackSocket
from fairlead.net import Family


class FlowCleaning:
    """The agent's hand in connection tracking."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._conntrack: ConntrackSocket | None = None
        self._complaints: set[str] = set()

    def forget(self, family: Family, answerers: Answerers) -> None:
        """End UDP flows that lead to endpoints which are gone; rows come first, so that new flows are right."""
        try:
            self._conntrack = self._conntrack or ConntrackSocket()
            stale = stale_flows(answerers, self._conntrack.udp_flows(family))
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
