"""Answers for one address on one interface of the network namespace it runs in, and says who else has it.

usage: announcing_link.py INTERFACE ADDRESS; prints `conflict HARDWARE` for each time somebody else has the address.
"""

import asyncio
import sys
import time

from fairlead.agents.loadbalancer.l2 import Links
from fairlead.model.announcements import LinkAnnouncement
from fairlead.model.loadbalancers import ServiceKey
from fairlead.net import parse_address


def conflict(_: LinkAnnouncement, hardware: bytes) -> None:
    """Say who has it."""
    sys.stdout.write(f"conflict {hardware.hex(':')}\n")
    sys.stdout.flush()


async def main() -> None:
    """Answer for ever."""
    address = parse_address(sys.argv[2])
    announcement = LinkAnnouncement(
        service=ServiceKey("default", "web"), address=address, candidates=(("node-1", 0),), interfaces=frozenset()
    )
    links = Links(time.monotonic, conflict)
    links.open([sys.argv[1]])
    links.set_announcements([announcement], listening=False)
    links.set_mine([address])
    while True:
        links.tick()
        await asyncio.sleep(0.1)


asyncio.run(main())
