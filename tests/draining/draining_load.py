"""A program of its own that asks many targets at once until its standard input ends, and tells what became of it all.

`python draining_load.py '{"targets": {"ClusterIP": {"address": "10.96.0.9", "port": 80}}, "rate": 200, "kept": 8,
"long": 50}'`. So many new connections a second are made, of one request each, the targets in turn; so many are kept
alive, each asking ten times a second; and so many are long: a request whose body takes seconds to send, or, where a
target says `"echo": true`, bytes that are sent and come back for as long. A long one that ends in order is followed by
another. When everything has begun a line `ready` is printed, at the end one of JSON.
"""

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from typing import Any

PATIENCE = 5.0
PAUSE = 0.1
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Target:
    """What is asked, and what became of that."""

    def __init__(self, name: str, order: dict[str, Any]) -> None:
        self.name = name
        self.address, self.port = order["address"], order["port"]
        self.host = order.get("host", "web")
        self.echo = order.get("echo", False)
        self.told = Counter[str]()
        self.pods = Counter[str]()
        self.failures: list[str] = []
        self.slowest = 0.0

    async def open(self) -> Streams:
        """A new connection."""
        return await asyncio.open_connection(self.address, self.port)

    def head(self, method: str, connection: str, length: int = 0) -> bytes:
        """The head of a request."""
        size = f"Content-Length: {length}\r\n" if length else ""
        return f"{method} / HTTP/1.1\r\nHost: {self.host}\r\nConnection: {connection}\r\n{size}\r\n".encode()

    async def answer(self, reader: asyncio.StreamReader) -> bool:
        """Take an answer, and return whether the server closes the connection after it."""
        first = await reader.readline()
        if not first:
            raise EOFError
        lines = (first + await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while (size := int(await reader.readline(), 16)) > 0:
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        status = lines[0].split()[1]
        if status != "200":
            raise OSError(f"{lines[0]} {body[:200]!r}")
        self.pods[json.loads(body)["pod"]] += 1
        return headers.get("connection") == "close"

    def fail(self, what: str, begun: float, error: BaseException) -> None:
        """Note a failure with its time."""
        self.told["failed"] += 1
        told = str(error) or "no bytes"
        self.failures.append(f"{what} of {begun:.3f} at {time.time():.3f}: {type(error).__name__}: {told}")


class Load:
    """Everything that is asked."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._targets = [Target(name, each) for name, each in order["targets"].items()]
        self._rate, self._kept, self._long = order["rate"], order["kept"], order["long"]
        self._seconds = order.get("seconds", 4.0)
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Ask until told to stop, and tell."""
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), self._stop)
        turns = itertools.cycle(self._targets)
        kept = [loop.create_task(self._keep(next(turns))) for _ in range(self._kept)]
        long = [loop.create_task(self._last(next(turns), number)) for number in range(self._long)]
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        running: set[asyncio.Task[None]] = set()
        begun = time.monotonic()
        for number in itertools.count():
            await asyncio.sleep(max(0.0, begun + number / self._rate - time.monotonic()))
            if self._stopped.is_set():
                break
            task = loop.create_task(self._one(next(turns)))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running, *kept, *long)
        told = {
            each.name: {
                **each.told, "failed": each.told["failed"], "slowest": each.slowest,
                "pods": each.pods, "failures": each.failures[:20],
            }
            for each in self._targets
        }  # fmt: skip
        sys.stdout.write(json.dumps(told) + "\n")

    def _stop(self) -> None:
        if not sys.stdin.buffer.raw.read(100):  # pyright: ignore[reportAttributeAccessIssue] - a pipe is buffered
            self._stopped.set()
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())

    async def _one(self, target: Target) -> None:
        begun, started = time.time(), time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await target.open()
                writer.write(target.head("GET", "close"))
                await target.answer(reader)
            writer.close()
            target.told["new"] += 1
        except (OSError, TimeoutError, EOFError) as error:
            target.fail("new", begun, error)
        target.slowest = max(target.slowest, time.monotonic() - started)

    async def _keep(self, target: Target) -> None:
        """Ask on one connection; where the server closes it between two requests, ask again on another (RFC 9112)."""
        opened: Streams | None = None
        while not self._stopped.is_set():
            begun, fresh = time.time(), opened is None
            try:
                async with asyncio.timeout(PATIENCE):
                    opened = opened or await target.open()
                    opened[1].write(target.head("GET", "keep-alive"))
                    if await target.answer(opened[0]):
                        opened[1].close()
                        opened = None
                        target.told["renewed"] += 1
                target.told["kept"] += 1
            except (OSError, TimeoutError, EOFError) as error:
                if fresh or isinstance(error, asyncio.IncompleteReadError | TimeoutError):
                    target.fail("kept", begun, error)
                else:
                    target.told["closed between"] += 1
                opened = None
            await asyncio.sleep(PAUSE)
        if opened is not None:
            opened[1].close()

    async def _last(self, target: Target, number: int) -> None:
        await asyncio.sleep(number / self._long)
        while not self._stopped.is_set():
            begun = time.time()
            try:
                reader, writer = await target.open()
                await (self._echo(reader, writer) if target.echo else self._trickle(target, reader, writer))
                writer.close()
                target.told["long"] += 1
            except (OSError, TimeoutError, EOFError) as error:
                target.fail("long", begun, error)
                await asyncio.sleep(PAUSE)

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(int(self._seconds / PAUSE)):
            writer.write(b"~")
            async with asyncio.timeout(PATIENCE):
                await reader.readexactly(1)
            await asyncio.sleep(PAUSE)

    async def _trickle(self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        count = int(self._seconds / PAUSE)
        writer.write(target.head("POST", "close", count))
        for _ in range(count):
            writer.write(b"~")
            await writer.drain()
            await asyncio.sleep(PAUSE)
        async with asyncio.timeout(PATIENCE):
            await target.answer(reader)


if __name__ == "__main__":
    asyncio.run(Load(json.loads(sys.argv[1])).run())
