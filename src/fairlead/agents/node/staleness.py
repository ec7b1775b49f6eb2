"""Which UDP flows the kernel must forget, since what answers them is gone.

A UDP sender that never pauses keeps its flow, and with it the endpoint chosen first, or a virtual IP that was not yet
translated. Comes in: who may answer at each frontend, and the flows. Goes out: the flows to end. Source:
k/pkg/proxy/conntrack/cleanup.go.
"""

from collections.abc import Iterable, Mapping

from fairlead.drivers.netlink.conntrack import TrackedFlow
from fairlead.model import Backend, FrontendKey
from fairlead.net import Protocol


def stale_flows(serving: Mapping[FrontendKey, frozenset[Backend]], flows: Iterable[TrackedFlow]) -> list[TrackedFlow]:
    """The flows sent to a frontend of `serving` and answered by none of its endpoints."""
    return [
        flow
        for flow in flows
        if (endpoints := serving.get(FrontendKey(flow.destination, Protocol.UDP, flow.destination_port)))
        and Backend(flow.answerer, flow.answerer_port) not in endpoints
    ]
