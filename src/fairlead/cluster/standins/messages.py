"""What a kubelet and the stand-ins process say to each other: one message a packet, tagged JSON.

A Start carries the descriptor of the pod's network namespace with it. Containers live as long as the connection
they were started over: a kubelet that is gone leaves none behind.
"""

import msgspec
from msgspec import Struct

from fairlead.cluster.standins.answers import Identity
from fairlead.cluster.standins.controls import UNASKED, Controls


class PortSpec(Struct, frozen=True):
    """A port to listen on; `protocol` is TCP, UDP or SCTP."""

    port: int
    protocol: str = "TCP"
    name: str = ""

    @property
    def tls(self) -> bool:
        """Whether TLS is spoken: on TCP ports named https, or https- and something."""
        return self.protocol == "TCP" and (self.name == "https" or self.name.startswith("https-"))


class Start(Struct, frozen=True, kw_only=True, tag=True):
    """Open the ports of container `id` and serve. `app` names a built-in program; empty for a stand-in."""

    id: str
    identity: Identity
    ports: tuple[PortSpec, ...]
    log: str
    """Path of the log file."""
    app: str = ""
    controls: Controls = UNASKED


class Tune(Struct, frozen=True, tag=True):
    """Behave so from now on, container `id`."""

    id: str
    controls: Controls


class Count(Struct, frozen=True, tag=True):
    """Say what every container has served so far."""


class Stop(Struct, frozen=True, tag=True):
    """End container `id`: accept nothing more, finish what is open within `grace` seconds."""

    id: str
    grace: float


class Started(Struct, frozen=True, tag=True):
    """Container `id` listens on all its ports."""

    id: str


class Ended(Struct, frozen=True, tag=True):
    """Container `id` is gone; `error` says why it could not start or what broke it."""

    id: str
    exit_code: int
    error: str = ""


class Served(Struct, frozen=True, array_like=True):
    """What one container has served since its start: requests, failed ones among them, CPU seconds as declared."""

    id: str
    requests: int
    errors: int
    cpu: float


class Counted(Struct, frozen=True, tag=True):
    """The answer to Count, in several pieces where there are many containers; `last` marks the last one."""

    served: tuple[Served, ...]
    last: bool


Order = Start | Stop | Tune | Count
Report = Started | Ended | Counted

MOST = 256 * 1024
"""Bytes of the longest message."""

encode = msgspec.json.encode
_orders = msgspec.json.Decoder[Order](Order)
_reports = msgspec.json.Decoder[Report](Report)


def decode_order(data: bytes) -> Order:
    """What the kubelet said. Raises msgspec.DecodeError."""
    return _orders.decode(data)


def decode_report(data: bytes) -> Report:
    """What the stand-ins process said. Raises msgspec.DecodeError."""
    return _reports.decode(data)
