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
    """A client address keeps its backend until `timeout` seconds after its last new connection."""

    timeout: int


class Frontend(Struct, frozen=True, kw_only=True):
    """One key and the backends its new connections are spread over, evenly and at random.

    `backends` is sorted and without doubles. An empty `backends` is an answer: the renderer rejects or drops by
    `when_empty`.
    """

    key: FrontendKey
    backends: tuple[Backend, ...]
    when_empty: Refusal
    masquerade: Masquerade
    affinity: Affinity | None = None
    origin: Origin
