"""Frontends and their backends: what clients dial, and where their connections go."""

from enum import Enum

from msgspec import Struct

from fairlead.model.origins import Origin
from fairlead.net import Address, Port, Protocol


class FrontendKey(Struct, frozen=True, order=True, gc=False):
    """What a client dials: one address, protocol and port. A key belongs to at most one frontend."""

    address: Address
    protocol: Protocol
    port: Port


class Backend(Struct, frozen=True, order=True, gc=False):
    """Where a frontend's new connections may go: one pod address and port."""

    address: Address
    port: Port


class Refusal(Enum):
    """What a new connection to a frontend without backends gets."""

    REJECT = "reject"
    DROP = "drop"


class Masquerade(Enum):
    """Whose new connections leave with the node's address as their source."""

    NEVER = "never"
    UNLESS_LOCAL_POD = "unless-local-pod"
    ALWAYS = "always"


class Affinity(Struct, frozen=True):
    """A client address keeps its backend until `timeout` seconds after its last new connection.

    It does so at all frontends with the same `port`, the name of one port of one Service, as long as they have the
    backend: one that has not gives the client another, to keep from then on.
    """

    timeout: int
    port: str


class AddressRange(Struct, frozen=True, order=True, gc=False):
    """Addresses of one family from `first` to `last`, both included."""

    first: Address
    last: Address

    def __contains__(self, address: Address) -> bool:
        return len(address.packed) == len(self.first.packed) and self.first <= address <= self.last


class Frontend(Struct, frozen=True, kw_only=True):
    """One key and the backends its new connections are spread over, evenly and at random.

    `backends` is sorted and without doubles. An empty `backends` is an answer: the renderer rejects or drops by
    `when_empty`.

    Where `inside` is not empty, `backends`, `when_empty` and `masquerade` are for clients outside the node alone.
    Connections of the node's own pods and of the node itself are spread over `inside`; only the node's own are
    masqueraded (k/pkg/proxy/nftables/proxier.go, external traffic policy Local). An empty `backends` then drops.

    Where `sources` is not None, new connections from elsewhere are dropped, whoever they come from. The ranges are in
    order, and neither overlap nor touch.
    """

    key: FrontendKey
    backends: tuple[Backend, ...]
    when_empty: Refusal
    masquerade: Masquerade
    inside: tuple[Backend, ...] = ()
    affinity: Affinity | None = None
    sources: tuple[AddressRange, ...] | None = None
    origin: Origin
