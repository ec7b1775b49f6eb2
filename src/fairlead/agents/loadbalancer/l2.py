"""Answering for addresses on links: which addresses are this node's comes in, frames go in and out.

An address that nobody announced before is first asked for, so that one already on the network is left alone and said
to be so. Source: RFC 5227 (ARP), RFC 4862 (duplicate address detection).
"""

import asyncio
from collections.abc import Callable, Iterable

from fairlead.agents.lines import log
from fairlead.drivers.arp import Claim, NeighbourSocket, Question, announcement, answer, probe
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.interfaces import has_carrier
from fairlead.model.announcements import LinkAnnouncement
from fairlead.net import Address

_PROBING_SECONDS, _LEFT_ALONE_SECONDS = 0.3, 2.0
_BURST_SECONDS, _BURST_PAUSE, _PAUSE = 5.0, 0.5, 10.0

Conflict = Callable[[LinkAnnouncement, bytes], None]
"""Is told that somebody else, at this hardware address, has an address."""


class Links:
    """The links of a node, and the addresses it answers for there."""

    def __init__(self, now: Callable[[], float], conflict: Conflict, held_up_after: float = 0.3) -> None:
        """Questions found after more seconds than `held_up_after` without a tick are old, and not answered."""
        self._now = now
        self._held_up_after = held_up_after
        self._ticked = now()
        self._conflict = conflict
        self._sockets: dict[str, NeighbourSocket] = {}
        self._all: dict[Address, LinkAnnouncement] = {}
        self._mine: dict[Address, LinkAnnouncement] = {}
        self._since: dict[Address, float] = {}
        self._gained: dict[Address, float] = {}
        self._due: dict[Address, float] = {}
        self._taken: dict[Address, float] = {}
        self.speakers: set[bytes] = set()
        """Hardware addresses of other speakers: what they claim is no conflict."""
        self._complained: set[str] = set()

    @property
    def hardware(self) -> tuple[bytes, ...]:
        """The hardware addresses this node answers with."""
        return tuple(each.hardware for each in self._sockets.values())

    def interfaces_of(self, each: LinkAnnouncement) -> tuple[str, ...]:
        """The interfaces on which an address is answered for."""
        return tuple(sorted(name for name in self._sockets if not each.interfaces or name in each.interfaces))

    def open(self, names: Iterable[str]) -> None:
        """Listen on these interfaces, and on no others."""
        loop = asyncio.get_running_loop()
        names = frozenset(names)
        for name in self._sockets.keys() - names:
            gone = self._sockets.pop(name)
            for number in gone.filenos():
                loop.remove_reader(number)
            gone.close()
        for name in sorted(names - self._sockets.keys()):
            try:
                opened = NeighbourSocket(name)
            except FairleadError as error:
                if name not in self._complained:
                    log(event="interface", name=name, error=str(error))
                self._complained.add(name)
                continue
            self._complained.discard(name)
            self._sockets[name] = opened
            for number in opened.filenos():
                loop.add_reader(number, self._read, opened)
            self.announce_again()

    def are_connected(self) -> bool:
        """Whether anybody can be reached: at least one link has a carrier, or there is none to look at."""
        return not self._sockets or any(has_carrier(name) for name in self._sockets)

    def set_announcements(self, announcements: Iterable[LinkAnnouncement], *, listening: bool) -> None:
        """Take what there is to announce, by anybody; `listening` is whether this speaker takes no part yet."""
        now = self._now()
        self._all = {each.address: each for each in announcements}
        for address in self._since.keys() - self._all.keys():
            del self._since[address]
            self._taken.pop(address, None)
        for address in self._all:
            self._since.setdefault(address, now)
        if listening:
            self._probe(self._all, now)

    def set_mine(self, addresses: Iterable[Address]) -> None:
        """Answer for these addresses, and for no others."""
        now = self._now()
        mine = {address: self._all[address] for address in addresses}
        for address in mine.keys() - self._mine.keys():
            self._gained[address] = self._due[address] = now
        for address in self._mine.keys() - mine.keys():
            self._gained.pop(address, None)
            self._due.pop(address, None)
        self._mine = mine
        self.tick()

    def announce_again(self) -> None:
        """Tell the neighbours of all addresses once more: somebody may have heard otherwise."""
        now = self._now()
        for address in self._mine:
            self._gained[address] = self._due[address] = now

    def tick(self) -> None:
        """Send the announcements and probes that are due."""
        now = self._ticked = self._now()
        self._probe(self._mine, now)
        for address, due in self._due.items():
            if due > now or not self._may_answer(address, now):
                continue
            for name in self.interfaces_of(self._mine[address]):
                self._sockets[name].send(announcement(address, self._sockets[name].hardware))
            burst = now - self._gained[address] < _BURST_SECONDS
            self._due[address] = now + (_BURST_PAUSE if burst else _PAUSE)

    def announced(self) -> dict[Address, LinkAnnouncement]:
        """What this node answers for now."""
        now = self._now()
        return {address: each for address, each in self._mine.items() if self._may_answer(address, now)}

    def close(self) -> None:
        """Answer no more."""
        self.open(())

    def _may_answer(self, address: Address, now: float) -> bool:
        return now - self._since[address] >= _PROBING_SECONDS and address not in self._taken

    def _probe(self, addresses: Iterable[Address], now: float) -> None:
        for address in addresses:
            if now - self._taken.get(address, now) > _LEFT_ALONE_SECONDS:
                del self._taken[address]
                self._since[address] = now
            if now - self._since[address] < _PROBING_SECONDS:
                for name in self.interfaces_of(self._all[address]):
                    self._sockets[name].send(probe(address, self._sockets[name].hardware))

    def _read(self, opened: NeighbourSocket) -> None:
        now = self._now()
        heard = opened.receive()
        if now - self._ticked > self._held_up_after:
            return  # another node may answer by now; whoever still wants to know asks again
        for each in heard:
            match each:
                case Question(target, _, _):
                    mine = self._mine.get(target)
                    if mine and self._may_answer(target, now) and opened.interface in self.interfaces_of(mine):
                        opened.send(answer(each, opened.hardware))
                case Claim(address, hardware):
                    concerned = self._all.get(address)
                    if concerned is not None and hardware not in self.speakers:
                        self._contradict(concerned, hardware, now)

    def _contradict(self, announcement: LinkAnnouncement, hardware: bytes, now: float) -> None:
        address = announcement.address
        if now - self._since[address] < _PROBING_SECONDS:
            self._taken[address] = now
        elif address in self._mine:
            self._due[address] = now  # whoever began later has to give way (RFC 5227 2.4 c)
        else:
            return
        self._conflict(announcement, hardware)
