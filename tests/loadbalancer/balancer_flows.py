"""A program of its own at the client: UDP flows that never pause, and how long each of them was without an answer.

`python balancer_flows.py ADDRESS PORT FLOWS` sends on each flow, from one source port each, twenty datagrams a second
until its standard input ends, and then prints as JSON the longest silence of each flow in seconds, by its source port.
"""

import asyncio
import json
import socket
import sys
import time

PAUSE = 0.05


class Flow(asyncio.DatagramProtocol):
    """One flow."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.silence = 0.0
        self.answers = 0

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        now = time.monotonic()
        self.silence = max(self.silence, now - self.last)
        self.last = now
        self.answers += 1

    def error_received(self, exc: Exception) -> None:
        """Go on: a node that goes away may say so."""


async def main(address: str, port: int, count: int) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), lambda: stopped.set() if not sys.stdin.buffer.raw.read(100) else None)  # pyright: ignore
    flows = [
        await loop.create_datagram_endpoint(Flow, remote_addr=(address, port), family=socket.AF_INET)
        for _ in range(count)
    ]
    told = False
    while not stopped.is_set():
        for transport, _ in flows:
            transport.sendto(b"who")
        await asyncio.sleep(PAUSE)
        if not told and all(flow.answers for _, flow in flows):
            told = True
            sys.stdout.write("answered\n")
            sys.stdout.flush()
    now = time.monotonic()
    found = {each.get_extra_info("sockname")[1]: max(flow.silence, now - flow.last) for each, flow in flows}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
