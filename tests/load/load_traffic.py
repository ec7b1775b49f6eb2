"""A program of its own that makes traffic: new connections, and some that are held, until its standard input ends.

`python load_traffic.py '{"targets": ["10.96.0.10:80"], "request": "...", "answer": "HTTP/1.1 200", "rate": 100,
"workers": 4, "hold": 25}'`. With a `rate` so many connections a second are begun, however long others take; without one
each of the `workers` makes one after the other. Each sends the request and expects an answer that begins as it should.
Those it holds send a byte ten times a second and expect it back. When all of those are up, one line of JSON tells
their source ports and targets; at the end another tells what became of everything. With `see_off` that is not before
the held ones have ended, or ten seconds have passed.
"""

import asyncio
import itertools
import json
import socket
import sys
import time
from contextlib import suppress
from typing import Any

PATIENCE = 5.0


class Traffic:
    """What was made, what failed, and when each held connection ended, by its source port."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._request, self._answer = str(order["request"]).encode(), str(order["answer"]).encode()
        self._targets = itertools.cycle([str(each).rsplit(":", 1) for each in order["targets"]])
        self._rate, self._workers, self._hold = order.get("rate", 0), order.get("workers", 1), order.get("hold", 0)
        self._see_off = order.get("see_off", False)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = asyncio.Event()
        self.made, self.slowest = 0, 0.0
        self.failures: list[str] = []
        self.held: dict[int, str] = {}
        self.ended: dict[int, tuple[float, str]] = {}

    async def run(self) -> None:
        holding = [asyncio.create_task(self._keep()) for _ in range(self._hold)]
        while len(self.held) < self._hold:  # noqa: ASYNC110 - each says so by appearing there
            await asyncio.sleep(0.01)
        sys.stdout.write(json.dumps({"held": self.held}) + "\n")
        sys.stdout.flush()
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._read)
        await (self._in_time() if self._rate else self._in_turn())
        if self._see_off and holding:
            await asyncio.wait(holding, timeout=2 * PATIENCE)
        for task in holding:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        told = {"made": self.made, "slowest": self.slowest, "failures": self.failures[:20], "ended": self.ended}
        sys.stdout.write(json.dumps({**told, "failed": len(self.failures)}) + "\n")
        sys.stdout.flush()

    def _read(self) -> None:
        if not sys.stdin.buffer.raw.read(100):  # pyright: ignore[reportAttributeAccessIssue] - a pipe is buffered
            self._stopped.set()

    async def _in_time(self) -> None:
        begun = time.monotonic()
        for number in itertools.count():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), max(0.0, begun + number / self._rate - time.monotonic()))
            if self._stopped.is_set():
                break
            task = asyncio.create_task(self._one())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await asyncio.gather(*self._tasks)

    async def _in_turn(self) -> None:
        async def work() -> None:
            while not self._stopped.is_set():
                await self._one()

        await asyncio.gather(*(work() for _ in range(self._workers)))

    async def _one(self) -> None:
        address, port = next(self._targets)
        begun = time.monotonic()
        wall = time.time()
        try:
            async with asyncio.timeout(PATIENCE):
                loop = asyncio.get_running_loop()
                with socket.socket() as opened:
                    opened.setblocking(False)
                    await loop.sock_connect(opened, (address, int(port)))
                    await loop.sock_sendall(opened, self._request)
                    answer = await loop.sock_recv(opened, 4096)
                    if not answer.startswith(self._answer):
                        raise OSError(f"the answer is {answer[:40]!r}")
        except (OSError, TimeoutError) as error:
            self.failures.append(f"at {wall:.3f} to {address}:{port}: {error!r}")
        self.made += 1
        self.slowest = max(self.slowest, time.monotonic() - begun)

    async def _keep(self) -> None:
        address, port = next(self._targets)
        reader, writer = await asyncio.open_connection(address, int(port))
        number: int = writer.get_extra_info("sockname")[1]
        why = "closed"
        try:
            while True:
                writer.write(b"~")
                async with asyncio.timeout(PATIENCE):
                    if await reader.read(1) != b"~":
                        break
                self.held[number] = f"{address}:{port}"
                await asyncio.sleep(0.1)
        except (OSError, TimeoutError) as error:
            why = repr(error)
        self.ended[number] = time.time(), why
        writer.close()


if __name__ == "__main__":
    asyncio.run(Traffic(json.loads(sys.argv[1])).run())
