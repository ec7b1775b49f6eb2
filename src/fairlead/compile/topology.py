"""Which of the ready endpoints are near enough: topology hints, as the whole of a port's endpoints makes them count.

Comes in: the ready endpoints of one port, the node's name and zone. Goes out: those that this node is to use. Refuses
to know traffic policies, which come first. Source: k/pkg/proxy/topology.go, KEP-2433, KEP-4444, KEP-3015.
"""

from collections.abc import Mapping
from typing import TypeVar

from fairlead.compile.endpoints import EndpointFacts, HintedEndpoint

K = TypeVar("K")


def choose_near(ready: Mapping[K, EndpointFacts], node: str, zone: str) -> list[K]:
    """Return the endpoints meant for this node, else those meant for its zone, else all; in their order.

    Hints for nodes, or for zones, count only where every ready endpoint has some and one is meant for here. Otherwise
    somebody has not heard of a change yet, and traffic must not come together on few endpoints.
    """
    hinted = [(key, each.hints) for key, each in ready.items() if isinstance(each, HintedEndpoint)]
    if len(hinted) < len(ready):
        return list(ready)
    if all(hints.nodes for _, hints in hinted) and (here := [key for key, hints in hinted if node in hints.nodes]):
        return here
    if all(hints.zones for _, hints in hinted) and (near := [key for key, hints in hinted if zone in hints.zones]):
        return near
    return list(ready)
