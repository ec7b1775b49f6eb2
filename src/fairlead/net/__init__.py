"""Addresses, prefixes, ports, protocols and flows: values only, the vocabulary of every other package."""

from fairlead.net.addresses import Address, Family, Prefix, parse_address, parse_lenient_prefix, parse_prefix
from fairlead.net.flows import Flow
from fairlead.net.protocols import Port, Protocol, parse_protocol

__all__ = [
    "Address",
    "Family",
    "Flow",
    "Port",
    "Prefix",
    "Protocol",
    "parse_address",
    "parse_lenient_prefix",
    "parse_prefix",
    "parse_protocol",
]
