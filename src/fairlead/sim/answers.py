"""What a trace answers: values only, the same for the text a person reads and for JSON."""

from enum import Enum

from msgspec import Struct

from fairlead.model import Origin
from fairlead.sim.ingress import RequestVerdict


class Disposition(Enum):
    """What becomes of a connection in the end. No other answer exists."""

    DELIVERED = "delivered"
    REJECTED = "rejected"
    DROPPED = "dropped"
    NO_ROUTE = "no route"
    NO_LISTENER = "no listener"
    NO_ENDPOINT = "no endpoint"
    UNRESOLVED = "unresolved"


class RuleStep(Struct, frozen=True):
    """One rule that applied: its chain and text, the row that matched, the verdict, and the field that decided.

    `table` is the name of the kernel table the chain is in.
    """

    hook: str
    chain: str
    rule: str
    rows: tuple[str, ...]
    verdict: str
    origin: Origin | None = None
    table: str = ""


class Hop(Struct, frozen=True):
    """One place on the way: the packet as it comes there, the rules that applied, and where it goes on."""

    place: str
    packet: str
    steps: tuple[RuleStep, ...]
    onward: str


class End(Struct, frozen=True):
    """One end the connection may come to; `seen_as` is the client's address as the receiver sees it."""

    disposition: Disposition
    place: str
    address: str
    reason: str
    origin: Origin | None = None
    seen_as: str = ""
    hops: tuple[Hop, ...] = ()


class Sent(Struct, frozen=True):
    """What the kernel did with the real packet: an outcome, and whether that is what the trace said."""

    outcome: str
    agrees: bool


class Trace(Struct, frozen=True):
    """The answer: every end with its way there; several where a backend is drawn at random, each as likely."""

    source: str
    target: str
    packet: str
    disposition: Disposition
    ends: tuple[End, ...]
    remarks: tuple[str, ...] = ()
    sent: Sent | None = None
    request: RequestVerdict | None = None
    """For a URL of an Ingress: what NGINX does with it."""
    onward: "tuple[Trace, ...]" = ()
    """From NGINX's pod to the endpoints that it may ask."""
