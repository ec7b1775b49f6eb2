"""`./bench [NAME...] [-o json]`: runs benchmarks and prints each figure beside its baseline and its target."""

import argparse
import sys
from collections.abc import Callable

import msgspec

from fairlead.bench.measurement import Measurement


def _program() -> list[Measurement]:
    from fairlead.bench.change import program
    from fairlead.bench.rows import program_rows

    return [*program_rows(10_000, 10), *program_rows(100_000, 10), *program()]


def _change() -> list[Measurement]:
    from fairlead.bench.change import change

    return change()


def _boot() -> list[Measurement]:
    from fairlead.bench.embedded import boot

    return boot()


def _memory() -> list[Measurement]:
    from fairlead.bench.embedded import memory

    return memory()


def _pods() -> list[Measurement]:
    from fairlead.bench.embedded import pods

    return pods()


def _connect() -> list[Measurement]:
    from fairlead.bench.connect import connect

    return connect()


def _latency() -> list[Measurement]:
    from fairlead.bench.latency import latency

    return latency()


def _api() -> list[Measurement]:
    from fairlead.bench.api import api

    return api()


def _serving() -> list[Measurement]:
    from fairlead.bench.serving import serving

    return serving()


def _network() -> list[Measurement]:
    from fairlead.bench.network import network

    return network()


def _follow() -> list[Measurement]:
    from fairlead.bench.follow import follow

    return follow()


def _policies() -> list[Measurement]:
    from fairlead.bench.policies import policies

    return policies()


def _policed() -> list[Measurement]:
    from fairlead.bench.policed import policed

    return policed()


def _reach() -> list[Measurement]:
    from fairlead.bench.reaching import reach

    return reach()


def _balance() -> list[Measurement]:
    from fairlead.bench.balance import balance

    return balance()


def _draining() -> list[Measurement]:
    from fairlead.bench.draining import draining

    return draining()


def _failover() -> list[Measurement]:
    from fairlead.bench.failover import failover

    return failover()


def _takeover() -> list[Measurement]:
    from fairlead.bench.takeover import takeover

    return takeover()


def _ingress() -> list[Measurement]:
    from fairlead.bench.ingress import ingress

    return ingress()


def _routing() -> list[Measurement]:
    from fairlead.bench.routing import routing

    return routing()


def _controller() -> list[Measurement]:
    from fairlead.bench.controller import controller

    return controller()


BENCHMARKS: dict[str, Callable[[], list[Measurement]]] = {
    "boot": _boot,
    "memory": _memory,
    "pods": _pods,
    "program": _program,
    "change": _change,
    "connect": _connect,
    "latency": _latency,
    "follow": _follow,
    "network": _network,
    "api": _api,
    "serving": _serving,
    "policies": _policies,
    "policed": _policed,
    "reach": _reach,
    "balance": _balance,
    "draining": _draining,
    "failover": _failover,
    "takeover": _takeover,
    "ingress": _ingress,
    "routing": _routing,
    "controller": _controller,
}


def _line(m: Measurement) -> str:
    verdict = {True: "met", False: "missed", None: ""}[m.met]
    ratio = "" if m.ratio is None else f"{m.ratio:.3g}"
    baseline = "" if m.baseline is None else f"{m.baseline:.4g}"
    target = "" if m.target is None else f"{m.target:g}"
    return f"{m.name:<52} {m.value:>10.4g} {m.unit:<8} {baseline:>10} {ratio:>8} {target:>8} {verdict}"


def main() -> int:
    """Run the benchmarks named on the command line, or all; exit 2 for a name there is not."""
    parser = argparse.ArgumentParser(prog="./bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default all")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options = parser.parse_args()
    for name in options.names:
        if name not in BENCHMARKS:
            parser.error(f"{name!r} is no benchmark; choose of {', '.join(BENCHMARKS)}")
    measured: list[Measurement] = []
    head = f"{'name':<52} {'value':>10} {'unit':<8} {'baseline':>10} {'ratio':>8} {'target':>8}"
    if options.output == "text":
        sys.stdout.write(head + "\n")
    for name in options.names or BENCHMARKS:
        sys.stderr.write(f"running {name}\n")
        results = BENCHMARKS[name]()
        measured += results
        if options.output == "text":
            sys.stdout.write("".join(_line(result) + "\n" for result in results))
            sys.stdout.flush()
    if options.output == "json":
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(measured), indent=2).decode() + "\n")
    return 0


sys.exit(main())
