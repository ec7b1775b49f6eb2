"""What the service table costs by itself: rendering, encoding and loading rows, and changing one of them.

Each size runs in a process of its own in a fresh network namespace, and beside it `nft -f` loads the same rows into
another namespace.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from os import geteuid

import msgspec

from fairlead.bench.measurement import Measurement, at_most
from fairlead.drivers.collection import settle_memory
from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.model import Backend, Frontend, FrontendKey, Masquerade, Origin, Refusal
from fairlead.net import Address, Family, Port, Protocol, parse_prefix
from fairlead.nft.encode import encode_transaction
from fairlead.nft.text import write_transaction
from fairlead.render.services import ServiceRows

_UNSHARE = ["unshare", "--net"] if geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
_CHANGES = 2_000
_BASELINE_CHANGES = 20
_FIRST_SERVICE, _FIRST_POD, _PODS = 0x0A60_0000, 0x0A80_0000, 200_000
_MICROSECONDS = 1e6


def program_rows(services: int, endpoints: int) -> list[Measurement]:
    """Measure a cold start of `services` frontends with `endpoints` backends each, and then single changes."""
    command = [*_UNSHARE, sys.executable, "-m", "fairlead.bench.rows", str(services), str(endpoints)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout, type=list[Measurement])


class TimedSocket(NftSocket):
    """A socket that adds up the time spent in the kernel's part of a batch."""

    kernel_seconds = 0.0

    def _transmit(self, data: bytes) -> None:
        before = time.perf_counter()
        super()._transmit(data)
        self.kernel_seconds += time.perf_counter() - before


def _frontends(services: int, endpoints: int) -> dict[FrontendKey, Frontend]:
    origin = Origin("Service", "bench", "many")
    return {
        each.key: each
        for each in (
            Frontend(
                key=FrontendKey(_address(_FIRST_SERVICE + number), Protocol.TCP, Port(80)),
                backends=tuple(sorted(_backends(number * endpoints, endpoints))),
                when_empty=Refusal.REJECT,
                masquerade=Masquerade.UNLESS_LOCAL_POD,
                origin=origin,
            )
            for number in range(services)
        )
    }


def _backends(first: int, count: int) -> Iterator[Backend]:
    return (Backend(_address(_FIRST_POD + (first + step) % _PODS), Port(8080)) for step in range(count))


def _address(number: int) -> Address:
    return Address(number.to_bytes(4, "big"))


def _measure(services: int, endpoints: int) -> list[Measurement]:
    title = f"rows {services:,} x {endpoints}"
    frontends = _frontends(services, endpoints)
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = _service_rows()
    with TimedSocket() as nft:
        nft.apply(rows.base())
        nft.kernel_seconds = 0.0
        began = time.perf_counter()
        transaction = msgspec.structs.replace(rows.replace(frontends), separable=True)  # as at the agent's first start
        rendered = time.perf_counter()
        for _ in encode_transaction(transaction):
            pass
        encoded = time.perf_counter()
        nft.apply(transaction)
        applied = time.perf_counter()
        kernel = nft.kernel_seconds
        del transaction
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        total = rendered - began + applied - encoded
        baseline = _nft_loads(frontends)
        count = services * endpoints
        return [
            at_most(f"{title}: programmed", total, "s", 60.0 if count > 500_000 else 2.0, baseline),
            Measurement(f"{title}: of this, rendering in Python", rendered - began, "s"),
            at_most(f"{title}: of this, encoding in Python", encoded - rendered, "s", count / 1e6),
            Measurement(f"{title}: of this, the kernel", kernel, "s"),
            at_most(f"{title}: memory added at the peak", (peak - start) / 1024, "MB", 2500.0),
            *_measure_changes(title, frontends, rows, nft),
        ]


def _service_rows() -> ServiceRows:
    return ServiceRows(Family.IPV4, (parse_prefix("10.128.0.0/24"),), parse_prefix("10.96.0.0/12"))


def _measure_changes(
    title: str, frontends: dict[FrontendKey, Frontend], rows: ServiceRows, nft: TimedSocket
) -> Iterator[Measurement]:
    """Exchange one backend of one frontend after the other: one row each, acknowledged by the kernel.

    The time on the processor, Python's and the kernel's together, is what the change itself takes. The time that
    passes is longer where another process had the processor meanwhile, so the share of such changes stands beside it.
    """
    seconds: list[float] = []
    kernel: list[float] = []
    processor: list[float] = []
    interrupted = 0
    settle_memory()  # as the agent does once it has programmed everything
    for change in _changes(frontends, 0, _CHANGES):
        nft.kernel_seconds = 0.0
        switches = resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
        began, began_here = time.perf_counter(), time.thread_time()
        nft.apply(rows.replace(change))
        processor.append((time.thread_time() - began_here) * _MICROSECONDS)
        seconds.append((time.perf_counter() - began) * _MICROSECONDS)
        kernel.append(nft.kernel_seconds * _MICROSECONDS)
        interrupted += resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw > switches
    baseline = _nft_changes(rows, _changes(frontends, _CHANGES, _BASELINE_CHANGES))
    yield at_most(f"{title}: one row replaced, p50", _percentile(seconds, 0.5), "us", 100.0, baseline)
    yield at_most(f"{title}: one row replaced, p99", _percentile(seconds, 0.99), "us", 2000.0, baseline)
    yield Measurement(f"{title}: of this, on the processor, p99", _percentile(processor, 0.99), "us")
    yield Measurement(f"{title}: changes another process cut into", interrupted / _CHANGES * 100, "%")
    yield Measurement(f"{title}: of this, the kernel, p50", _percentile(kernel, 0.5), "us")


def _changes(
    frontends: dict[FrontendKey, Frontend], first: int, count: int
) -> Iterator[dict[FrontendKey, Frontend | None]]:
    keys = list(frontends)
    for turn in range(first, first + count):
        old = frontends[keys[turn * 7919 % len(keys)]]
        backends = (*old.backends[:-1], Backend(_address(_FIRST_POD + _PODS + turn), Port(8080)))
        yield {old.key: msgspec.structs.replace(old, backends=backends)}


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _nft_loads(frontends: dict[FrontendKey, Frontend]) -> float:
    """Return the seconds `nft -f` takes for the same rows, in a namespace of its own."""
    rows = _service_rows()
    text = write_transaction(rows.base(), rows.sets) + write_transaction(rows.replace(frontends), rows.sets)
    with tempfile.NamedTemporaryFile("w", suffix=".nft") as script:
        script.write(text)
        script.flush()
        began = time.perf_counter()
        subprocess.run(["unshare", "--net", "nft", "-f", script.name], check=True)
        return time.perf_counter() - began


def _nft_changes(rows: ServiceRows, changes: Iterator[dict[FrontendKey, Frontend | None]]) -> float:
    """Return the median microseconds of one `nft -f` per change, in this namespace's full table."""
    seconds: list[float] = []
    for change in changes:
        text = write_transaction(rows.replace(change), rows.sets)
        began = time.perf_counter()
        subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)
        seconds.append((time.perf_counter() - began) * _MICROSECONDS)
    return _percentile(seconds, 0.5)


def main(arguments: list[str]) -> None:
    """Measure in this process and print the figures as JSON: what `program_rows` runs in its namespace."""
    services, endpoints = (int(argument) for argument in arguments)
    sys.stdout.write(msgspec.json.encode(_measure(services, endpoints)).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
