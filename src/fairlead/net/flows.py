"""A flow: the five values that name one conversation."""

from msgspec import Struct

from fairlead.net.addresses import Address
from fairlead.net.protocols import Port, Protocol


class Flow(Struct, frozen=True, order=True):
    """Who speaks to whom: source, destination and protocol of a packet before any translation."""

    source: Address
    source_port: Port
    destination: Address
    destination_port: Port
    protocol: Protocol

    def __str__(self) -> str:
        return (
            f"{self.protocol.name.lower()} {self.source}:{self.source_port} -> "
            f"{self.destination}:{self.destination_port}"
        )
