"""Which UDP flows the kernel must forget, since what answers them is gone.

A UDP sender that never pauses keeps its flow, and with it the endpoint chosen first, or a virtual IP that was not yet
translated. Comes in: who may answer at each frontend, and the flows. Goes out: the flows to end. Source:
k/pkg/proxy/conntrack/cleanup.go.
"""

from collections.abc import Iterable

from msgspec import Struct, field

from fairlead.drivers.netlink.conntrack import TrackedFlow
from fairlead.model import Backend, FrontendKey
from fairlead.net import Port, Protocol


class Answerers(Struct):
    """Who may answer old UDP flows: by frontend, and by node port, whatever address of the node was dialled.

    What has no endpoint that could answer is left out, so that its flows are left alone.
    """

    frontends: dict[FrontendKey, frozenset[Backend]] = field(default_factory=dict[FrontendKey, frozenset[Backend]])
    node_ports: dict[Port, frozenset[Backend]] = field(default_factory=dict[Port, frozenset[Backend]])

    def __bool__(self) -> bool:
        return bool(self.frontends)

    def update(self, newer: "Answerers") -> None:
        """Take over what is newer."""
        self.frontends |= newer.frontends
        self.node_ports |= newer.node_ports

    def of(self, flow: TrackedFlow) -> frozenset[Backend] | None:
        """Who may answer a flow, None where nobody was asked about it."""
        key = FrontendKey(flow.destination, Protocol.UDP, flow.destination_port)
        return self.frontends.get(key) or self.node_ports.get(flow.destination_port)


def stale_flows(answerers: Answerers, flows: Iterable[TrackedFlow]) -> list[TrackedFlow]:
    """The flows sent to a frontend and answered by none of its endpoints."""
    return [
        flow
        for flow in flows
        if (endpoints := answerers.of(flow)) and Backend(flow.answerer, flow.answerer_port) not in endpoints
    ]
