"""Transport protocols by their IANA number, and ports."""

from enum import IntEnum
from typing import NewType

Port = NewType("Port", int)
"""A transport port, 1 to 65535."""


class Protocol(IntEnum):
    """The protocols a Service port can name; the value is the number in the IP header."""

    TCP = 6
    UDP = 17
    SCTP = 132


def parse_protocol(text: str) -> Protocol:
    """Return the protocol Kubernetes spells `text`. Raises ValueError for anything but TCP, UDP and SCTP."""
    try:
        return Protocol[text]
    except KeyError:
        raise ValueError(f"unknown protocol {text!r}: use TCP, UDP or SCTP") from None
