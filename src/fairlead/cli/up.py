"""`fairlead up`: boot a cluster, apply manifests, wait until all is ready, say what is reachable and how."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from fairlead.cli.homes import DEFAULT_NAME, NameOption, home_named
from fairlead.cli.output import EXIT_NO, EXIT_REFUSED, EXIT_USAGE, Output, Progress, answer_json, complain
from fairlead.cluster.home import ClusterHome, ClusterRecord
from fairlead.cluster.launch import Autoscaling, ImageRule, LaunchPlan, launch, open_api_listener
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.importing import swift_imports
from fairlead.drivers.netns import kernel_has_ipv6
from fairlead.net import Family

_MOST_NODES = 100


class IpFamilies(Enum):
    """Which families of addresses a cluster has."""

    DUAL = "dual"
    IPV4 = "ipv4"


def _image_rules(texts: list[str]) -> tuple[ImageRule, ...]:
    rules: list[ImageRule] = []
    for text in texts:
        pattern, separator, program = text.partition("=")
        if not separator or not pattern or not program.startswith("/"):
            raise typer.BadParameter(
                f"{text!r}: write PATTERN=PROGRAM with an absolute path, as 'nginx*=/usr/sbin/nginx'",
                param_hint="--image",
            )
        rules.append(ImageRule(pattern, program))
    return tuple(rules)


def _sources(paths: list[str]) -> list[tuple[str, str]]:
    from fairlead.cluster.manifests import manifest_files

    sources: list[tuple[str, str]] = []
    for text in paths:
        if text == "-":
            sources.append(("standard input", sys.stdin.read()))
            continue
        try:
            sources += [(str(file), file.read_text()) for file in manifest_files([Path(text)])]
        except FileNotFoundError as error:
            raise typer.BadParameter(f"{error} does not exist", param_hint="PATH") from None
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"{text} cannot be read: {error}", param_hint="PATH") from None
    return sources


def up(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="[PATH...]", help="Manifest files or folders; - is standard input.")
    ] = None,
    nodes: Annotated[int, typer.Option("--nodes", min=1, max=_MOST_NODES, help="How many nodes.")] = 3,
    name: NameOption = DEFAULT_NAME,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once ready; the cluster goes on.")] = False,
    image: Annotated[
        list[str] | None,
        typer.Option("--image", metavar="PATTERN=PROGRAM", help="Run PROGRAM for images that match PATTERN."),
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait until everything is ready.")] = 60.0,
    api_port: Annotated[
        int | None, typer.Option("--api-port", min=1, max=65535, help="Port of the API server on 127.0.0.1.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget objects an earlier run left behind.")] = False,
    ip_family: Annotated[
        IpFamilies, typer.Option("--ip-family", help="Addresses of both families, or of IPv4 alone.")
    ] = IpFamilies.DUAL,
    hpa_sync_period: Annotated[
        float, typer.Option("--hpa-sync-period", min=0.1, help="Seconds between looks of an autoscaler at its metrics.")
    ] = 15.0,
    hpa_downscale_stabilization: Annotated[
        float, typer.Option("--hpa-downscale-stabilization", min=0, help="Seconds an autoscaler waits to scale down.")
    ] = 300.0,
    output: Annotated[Output, typer.Option("-o", "--output", help="The summary as text or JSON.")] = Output.TEXT,
) -> None:
    """Boot a cluster, apply manifests, wait until ready and print what is reachable and how. Ctrl-C ends it."""
    started = time.monotonic()
    home = home_named(name)
    rules = _image_rules(image or [])
    progress = Progress()
    from fairlead.cluster.manifests import read_manifests
    from fairlead.kube.yamlcodec import ManifestError

    try:
        manifests = read_manifests(_sources(paths or []))
    except ManifestError as error:
        complain(str(error), "nothing was started; mend the file and try again")
        raise typer.Exit(EXIT_USAGE) from None

    progress.step(f"booting {nodes} node{'s' if nodes > 1 else ''}")
    record = _boot(
        home,
        nodes=nodes,
        rules=rules,
        api_port=api_port,
        detach=detach,
        fresh=fresh,
        families=_families(ip_family),
        autoscaling=Autoscaling(sync_period=hpa_sync_period, downscale_stabilization=hpa_downscale_stabilization),
    )
    from fairlead.cli.rollout import bring_up, summary_text

    try:
        rollout = asyncio.run(bring_up(home, record, manifests, timeout=timeout, tell=progress.step, started=started))
    except KeyboardInterrupt:
        progress.done()
        _end(home)
        home.remove()
        raise
    except FairleadError:
        progress.done()
        if not detach:
            _end(home)
        raise
    progress.done()

    def answer() -> None:
        if output is Output.JSON:
            answer_json(rollout)
        else:
            print(summary_text(rollout), flush=True)

    ok = not rollout.refused and not rollout.missing
    if detach:
        answer()
        raise typer.Exit(0 if ok else EXIT_NO)
    code = _stay(home, record, answer)
    raise typer.Exit(code if code else (0 if ok else EXIT_NO))


def _boot(
    home: ClusterHome,
    *,
    nodes: int,
    rules: tuple[ImageRule, ...],
    api_port: int | None,
    detach: bool,
    fresh: bool,
    families: tuple[Family, ...],
    autoscaling: Autoscaling,
) -> ClusterRecord:
    with swift_imports():
        from fairlead.cluster.supervisor import supervise

    home.prepare()
    lock = home.lock()
    if fresh:
        for left in (home.database, *home.path.glob("data.sqlite-*")):
            left.unlink(missing_ok=True)
    remembered = home.path / "api-port"
    listener = open_api_listener(api_port, _remembered_port(remembered))
    port: int = listener.getsockname()[1]
    remembered.write_text(str(port))
    plan = LaunchPlan(
        home=home,
        nodes=nodes,
        images=rules,
        families=families,
        api_port=port,
        detach=detach,
        autoscaling=autoscaling,
    )
    record = launch(plan, listener, lock, supervise)
    listener.close()
    return record


def _families(wanted: IpFamilies) -> tuple[Family, ...]:
    """The families a cluster is given: IPv6 only where the kernel has it, which is said where it was wanted."""
    if wanted is IpFamilies.IPV4:
        return (Family.IPV4,)
    if kernel_has_ipv6():
        return (Family.IPV4, Family.IPV6)
    complain("this kernel has IPv6 switched off: the cluster has IPv4 alone", "boot without ipv6.disable=1 for both")
    return (Family.IPV4,)


def _remembered_port(file: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int(file.read_text())
    return None


def _stay(home: ClusterHome, record: ClusterRecord, answer: Callable[[], None]) -> int:
    """Answer, then wait in the foreground until a signal or the cluster's own end; return the exit code.

    Signals are met from before the answer on: whoever reads it may send one at once.
    """
    ending = False

    def end(*_: object) -> None:
        nonlocal ending
        ending = True
        with suppress(ProcessLookupError):
            os.kill(record.keeper, signal.SIGTERM)

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)
    answer()
    with suppress(ChildProcessError):
        os.waitpid(record.keeper, 0)
    if ending:
        home.remove()
        return 0
    complain("the cluster ended by itself", f"see {home.logs / 'supervisor.log'}")
    return EXIT_REFUSED


def _end(home: ClusterHome) -> None:
    from fairlead.cluster.stop import end_cluster

    end_cluster(home)
