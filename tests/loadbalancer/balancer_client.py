"""A program of its own at the client: dials an address again and again, and tells who answered.

`python balancer_client.py tcp|udp ADDRESS PORT COUNT SECONDS` waits so long for an answer, and prints one line of JSON:
how often each pod answered, through which clients' addresses it saw us, and how many dials failed. Each dial is a
connection, or a flow, of its own.
"""

import asyncio
import json
import socket
import sys
from collections import Counter
from contextlib import suppress

AT_ONCE = 32
RESET = b"\x01\x00\x00\x00\x00\x00\x00\x00"
REQUEST = b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"


async def dial(kind: str, address: str, port: int, patience: float) -> dict[str, str]:
    """Ask once, and return what the pod says of itself and of us."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as opened:
        opened.setblocking(False)
        if kind == "tcp":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        async with asyncio.timeout(patience):
            await loop.sock_connect(opened, (address, port))
            await loop.sock_sendall(opened, b"who" if kind == "udp" else REQUEST)
            answer = b""
            while chunk := await loop.sock_recv(opened, 65536):
                answer += chunk
                if kind == "udp" or (b"\r\n\r\n{" in answer and answer.rstrip().endswith(b"}")):
                    break
    return json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1])


async def main(kind: str, address: str, port: int, count: int, patience: float) -> None:
    pods, nodes, seen = Counter[str](), Counter[str](), Counter[str]()
    failures: list[str] = []
    left = iter(range(count))

    async def work() -> None:
        for _ in left:
            try:
                found = await dial(kind, address, port, patience)
            except (OSError, TimeoutError, ValueError) as error:
                failures.append(repr(error))
                continue
            pods[found["pod"]] += 1
            nodes[found["node"]] += 1
            seen[found["client_address"]] += 1

    with suppress(asyncio.CancelledError):
        await asyncio.gather(*(work() for _ in range(min(AT_ONCE, count))))
    told = {"pods": pods, "nodes": nodes, "seen": seen, "failed": len(failures), "failures": failures[:5]}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])))
