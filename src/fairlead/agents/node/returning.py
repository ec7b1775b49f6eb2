"""The way back through the host of an external load balancer, as a node has it: a table, a routing rule, a route.

Comes in: such hosts. Goes out: what the kernel needs, in the current network namespace, mended when somebody touches
it. The addresses a host has on another link than the node are none that a route can lead through.
"""

import asyncio
import errno

from msgspec import Struct

from fairlead.agents.lines import log
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.netlink.links import LinkError, LinkSocket, add_route, add_rule
from fairlead.drivers.netlink.nftables import NftError, NftSocket
from fairlead.net import Address, Family, Prefix, parse_address
from fairlead.nft.diff import build_table, diff_tables
from fairlead.nft.transactions import Transaction
from fairlead.render.return_path import RETURN_MARK, TABLE, return_table

_KEEP_SECONDS = 3.0
ROUTES = 7472
"""The routing table for what goes back."""
_EVERYWHERE = {Family.IPV4: Prefix(Address(bytes(4)), 0), Family.IPV6: Prefix(Address(bytes(16)), 0)}


class ReturnHost(Struct, frozen=True):
    """A load-balancer host: an address that the node reaches over one link, and its hardware address there."""

    address: Address
    hardware: bytes


def parse_return_host(text: str) -> ReturnHost:
    """Return the host that `ADDRESS=HARDWARE` spells, as 192.0.2.9=52:54:00:12:34:56. Raises ValueError."""
    address, equals, hardware = text.partition("=")
    packed = bytes.fromhex(hardware.replace(":", "")) if equals else b""
    if len(packed) != 6:
        raise ValueError(f"{text!r} is no address with its hardware address: write 192.0.2.9=52:54:00:12:34:56")
    return ReturnHost(parse_address(address), packed)


class ReturnPath:
    """Keeps the way back; one host of each family, the first, is routed through."""

    def __init__(self, hosts: tuple[ReturnHost, ...], nft: NftSocket) -> None:
        self._hosts = hosts
        self._nft = nft
        self._told = ""

    @property
    def table(self) -> str:
        """The kernel table's name."""
        return TABLE

    def apply(self) -> None:
        """Have everything in place; what the kernel refuses is said, and the node goes on without."""
        try:
            for family in self._families():
                self._route(family)
                wanted = return_table(family, [each.hardware for each in self._hosts if each.address.family is family])
                listed = self._nft.list_table(wanted.family, TABLE)
                commands = build_table((), wanted) if listed is None else diff_tables((), listed, wanted)
                if commands:
                    self._nft.apply(Transaction(wanted.family, TABLE, commands))
                    log(event="programmed", table=TABLE, family=family.value)
            self._told = ""
        except (NftError, LinkError) as error:
            self._complain(error)

    async def keep(self) -> None:
        """See to the routes for ever: the kernel takes them away with the link they lead over."""
        while self._hosts:
            await asyncio.sleep(_KEEP_SECONDS)
            try:
                for family in self._families():
                    self._route(family)
                self._told = ""
            except LinkError as error:
                self._complain(error)

    def _families(self) -> tuple[Family, ...]:
        return tuple(dict.fromkeys(each.address.family for each in self._hosts))

    def _complain(self, error: FairleadError) -> None:
        if str(error) != self._told:
            self._told = str(error)
            log(event="refused", table=TABLE, error=str(error))

    def _route(self, family: Family) -> None:
        through = next(each.address for each in self._hosts if each.address.family is family)
        links = LinkSocket()
        try:
            links.apply([add_route(_EVERYWHERE[family], via=through, table=ROUTES)])
            try:
                links.apply([add_rule(family, mark=RETURN_MARK, table=ROUTES)])
            except LinkError as error:
                if error.code != errno.EEXIST:
                    raise
        finally:
            links.close()
