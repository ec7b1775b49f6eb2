"""A program of its own that is run at a place of a cluster and tells when things happened there.

`python -m fairlead.bench.witness rows FRONTEND BACKEND` says `ready`, and then the time at which the last row that
leads from one address to the other left the service table. `... ask ORDER`, an order of JSON, asks each target again
and again until its standard input ends, and has requests under way that end `seconds` after a line has come in; it says
`ready` once the pod `pod` has answered each of them, and at the end when each target last had that pod answer a new
connection and a long request, and what failed. Times are seconds since the epoch, of the one clock that all places
share. Refuses to know what the events mean.
"""

import asyncio
import json
import os
import sys
import time
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct

from fairlead.drivers.netlink.monitor import RulesetMonitor
from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.net import Address, parse_address
from fairlead.nft.objects import TableFamily
from fairlead.render.service_layout import TABLE

_PATIENCE = 5.0
_STEP, _BYTES = 0.1, 2000  # seconds between two bytes of a long request, and how many it has


class Target(Struct, frozen=True, kw_only=True):
    """What to dial, and the host to name."""

    address: str
    port: int
    host: str = "web"


class Order(Struct, frozen=True, kw_only=True):
    """What to ask; `rate` new connections a second and `long` long requests for each target."""

    pod: str
    targets: dict[str, Target]
    rate: float
    long: int
    seconds: float


class Told(Struct):
    """What became of one target: when the pod last answered, 0.0 for never."""

    last_new: float = 0.0
    last_long: float = 0.0
    failures: list[str] = msgspec.field(default_factory=list[str])


def watch_rows(frontend: Address, backend: Address) -> None:
    """Say when the last row that leads from one address to the other goes."""
    family = TableFamily.of(frontend.family)
    with NftSocket() as nft, RulesetMonitor(nft.port) as monitor:

        def leads() -> bool:
            found = nft.list_table(family, TABLE)
            rows = found.sets["backends"].rows if found is not None else None
            pairs = [(key, value) for key, value in (rows or {}).items() if isinstance(value, bytes)]
            return any(key.startswith(frontend.packed) and value.startswith(backend.packed) for key, value in pairs)

        async def wait() -> float:
            news = asyncio.Event()
            asyncio.get_running_loop().add_reader(monitor, news.set)
            while True:
                await news.wait()
                news.clear()
                monitor.read()
                if not leads():
                    return time.time()  # not when it was told: that may have been of an earlier change

        _say("ready" if leads() else "nothing leads there")
        _say(repr(asyncio.run(wait())))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def ask(order: Order) -> dict[str, Told]:
    """Ask until the standard input ends."""
    stopped, ending = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def read() -> None:
        if os.read(sys.stdin.fileno(), 100):
            loop.call_later(order.seconds, ending.set)
        else:
            loop.remove_reader(sys.stdin.fileno())
            stopped.set()

    loop.add_reader(sys.stdin.fileno(), read)
    told = {name: Told() for name in order.targets}
    asking = [
        loop.create_task(work)
        for name, target in order.targets.items()
        for work in (
            _ask_again(order, target, told[name], stopped),
            *(_ask_long(order, target, told[name], ending) for _ in range(order.long)),
        )
    ]
    while not all(each.last_new for each in told.values()):  # noqa: ASYNC110 - nobody else waits for it
        await asyncio.sleep(_STEP)
    _say("ready")
    await asyncio.gather(*asking)
    return told


async def _ask_again(order: Order, target: Target, told: Told, stopped: asyncio.Event) -> None:
    running: set[asyncio.Task[None]] = set()
    while not stopped.is_set():
        task = asyncio.create_task(_ask_once(order, target, told))
        running.add(task)
        task.add_done_callback(running.discard)
        with suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), 1 / order.rate)
    await asyncio.gather(*running)


async def _ask_once(order: Order, target: Target, told: Told) -> None:
    begun = time.time()
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection(target.address, target.port)
            writer.write(_head("GET", target))
            answer = await _answer(reader)
            writer.close()
    except (OSError, TimeoutError, EOFError, ValueError) as error:
        told.failures.append(f"{begun:.3f}: {error!r}")
        return
    if answer["pod"] == order.pod:
        told.last_new = max(told.last_new, begun)


async def _ask_long(order: Order, target: Target, told: Told, ending: asyncio.Event) -> None:
    left = _BYTES
    try:
        reader, writer = await asyncio.open_connection(target.address, target.port)
        writer.write(_head("POST", target, left))
        while left > 1 and not ending.is_set():
            writer.write(b"~")
            left -= 1
            with suppress(TimeoutError):
                await asyncio.wait_for(ending.wait(), _STEP)
        writer.write(b"~" * left)
        async with asyncio.timeout(_PATIENCE):
            answer = await _answer(reader)
        writer.close()
    except (OSError, TimeoutError, EOFError, ValueError) as error:
        told.failures.append(f"long: {error!r}")
        return
    if answer["pod"] == order.pod:
        told.last_long = max(told.last_long, time.time())


def _head(method: str, target: Target, length: int = 0) -> bytes:
    size = f"Content-Length: {length}\r\n" if length else ""
    return f"{method} / HTTP/1.1\r\nHost: {target.host}\r\nConnection: close\r\n{size}\r\n".encode()


async def _answer(reader: asyncio.StreamReader) -> dict[str, Any]:
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.read()
    if not head.startswith(b"HTTP/1.1 200 "):
        raise ValueError(head.partition(b"\r\n")[0].decode())
    return json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])


def main(what: str, *arguments: str) -> None:
    """Watch rows, or ask."""
    if what == "rows":
        watch_rows(*map(parse_address, arguments))
    else:
        told = asyncio.run(ask(msgspec.json.decode(arguments[0], type=Order)))
        _say(msgspec.json.encode(told).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
