"""Generated clusters in the other family: the same objects, every IPv4 address turned into an IPv6 one.

Each number between the dots becomes a group of 16 bits at the end of fd00::/64, so that prefixes hold what they held.
"""

import re
from ipaddress import ip_address
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from fairlead.model import FrontendKey
from fairlead.net import Address, parse_address, parse_prefix
from fairlead.sim.world import Network, World

T = TypeVar("T")
_FOUR = re.compile(r"(\d+)\.(\d+)\.(\d+)\.(\d+)(?:/(\d+))?")


def six_text(text: str) -> str:
    """Return a text with each IPv4 address and prefix in it turned into IPv6."""
    return _FOUR.sub(_turn, text)


def _turn(found: re.Match[str]) -> str:
    *numbers, length = found.groups()
    address = str(ip_address("fd00::" + ":".join(f"{int(each):x}" for each in numbers)))
    if length is None:
        return address
    whole, rest = divmod(int(length), 8)
    bits = 64 + 16 * whole + (8 + rest if rest else 0)
    return f"{address}/{bits}" if int(length) else "::/0"


def six_address(address: Address) -> Address:
    """Return the IPv6 address an IPv4 one is turned into."""
    return parse_address(six_text(str(address)))


def six_key(key: FrontendKey) -> FrontendKey:
    """Return a key with its address turned."""
    return replace(key, address=six_address(key.address))


def six_object(value: T) -> T:
    """Return an object of the API with all addresses in it turned."""
    text = msgspec.json.encode(value).decode().replace('"IPv4"', '"IPv6"')
    return msgspec.json.decode(six_text(text), type=type(value))


def six_world(world: World) -> World:
    """Return the same world in the other family."""
    slices = [six_object(piece) for pieces in world.slices.values() for piece in pieces]
    turned = World.of(
        [six_object(each) for each in world.nodes.values()],
        [six_object(each) for each in world.pods.values()],
        [six_object(each) for each in world.services.values()],
        slices,
    )
    return replace(turned, network=Network(service_prefixes=(parse_prefix(six_text("10.96.0.0/16")),)))
