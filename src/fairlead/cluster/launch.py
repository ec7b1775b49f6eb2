"""Starts a cluster's processes: comes in as a plan, goes out as a record of what runs, or a refusal.

Two processes stand between the caller and the cluster. The *keeper* stays in the host's PID namespace, makes the new
namespaces and waits; the *supervisor* is process 1 of the new PID namespace. Each end takes the rest along: the death
signal of prctl(2) downward, the PID namespace for everything below the supervisor. Refuses to know what the
supervisor runs.
"""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from msgspec import Struct

from fairlead.cluster.home import ClusterHome, ClusterRecord
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.processes import (
    Namespaces,
    die_with_parent,
    explain_refusal,
    map_own_ids,
    name_process,
    unshare,
)
from fairlead.net import Family

_Words = dict[str, str | int]
Report = Callable[..., None]
"""Called with key words, which the launcher's caller reads as one JSON line."""


class ImageRule(Struct, frozen=True):
    """Containers whose image matches `pattern` (shell wildcards) run the program at `program`."""

    pattern: str
    program: str


class Autoscaling(Struct, frozen=True, kw_only=True):
    """How often autoscalers look, and for how long they remember before they scale down, in seconds; the defaults are
    those of kube-controller-manager.
    """

    sync_period: float = 15.0
    downscale_stabilization: float = 300.0


class LaunchPlan(Struct, frozen=True, kw_only=True):
    """What to start: decided by the command line, read by the supervisor."""

    home: ClusterHome
    nodes: int
    images: tuple[ImageRule, ...] = ()
    families: tuple[Family, ...] = (Family.IPV4, Family.IPV6)
    """Of addresses, the first one that of the cluster's own Services."""
    api_port: int
    detach: bool
    autoscaling: Autoscaling = Autoscaling()


Supervise = Callable[[LaunchPlan, socket.socket, Report], NoReturn]


def open_api_listener(wanted: int | None, remembered: int | None) -> socket.socket:
    """Listen on host loopback for the API server: on `wanted`, or else on the port of the last run, 6443 or a free one.

    Raises FairleadError when `wanted` is taken.
    """
    candidates = [wanted] if wanted is not None else [*([remembered] if remembered else []), 6443, 0]
    for port in candidates:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(512)
        except OSError as error:
            listener.close()
            if wanted is not None:
                raise FairleadError(
                    f"port {wanted} on 127.0.0.1 cannot be used for the API server: {error.strerror}",
                    "choose another with --api-port, or leave it out to have a free one chosen",
                ) from error
            continue
        listener.setblocking(False)
        return listener
    raise FairleadError("no port on 127.0.0.1 is free for the API server")


def launch(plan: LaunchPlan, listener: socket.socket, lock: int, supervise: Supervise) -> ClusterRecord:
    """Start keeper and supervisor and return once the supervisor says the cluster's processes run.

    `lock` is the home's lock, which the new processes hold from here on. Raises FairleadError with what refused.
    """
    plan.home.record_path.unlink(missing_ok=True)
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    keeper = os.fork()
    if keeper == 0:
        os.close(reader)
        _run_guarded(lambda: _keep(plan, listener, writer, supervise), _reporter(writer))
    try:
        os.close(writer)
        os.close(lock)
        supervisor = _await_ready(reader, plan)
    except BaseException:  # Ctrl-C as well as a refusal: nothing of a cluster that did not come up may stay
        with suppress(ProcessLookupError):
            os.kill(keeper, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(keeper, 0)
        raise
    record = ClusterRecord(
        name=plan.home.name,
        keeper=keeper,
        supervisor=supervisor,
        api_port=plan.api_port,
        nodes=plan.nodes,
        started=time.time(),
    )
    plan.home.write_record(record)
    return record


def _await_ready(reader: int, plan: LaunchPlan) -> int:
    """Read reports until the cluster's processes run; return the supervisor's process id."""
    supervisor = 0
    with os.fdopen(reader) as lines:
        for line in lines:
            report: _Words = json.loads(line)
            if "error" in report:
                raise FairleadError(str(report["error"]), str(report.get("remedy", "")))
            supervisor = int(report.get("supervisor", supervisor))
            if "ready" in report:
                return supervisor
    raise FairleadError("the cluster ended while it started", f"see {plan.home.logs / 'supervisor.log'}")


def _reporter(writer: int) -> Report:
    def report(**words: str | int) -> None:
        with suppress(BrokenPipeError):
            os.write(writer, json.dumps(words).encode() + b"\n")

    return report


def _run_guarded(run: Callable[[], None], report: Report) -> NoReturn:
    """Run a forked child to its end: a refusal is reported, a bug leaves its trace in the log, nothing returns."""
    code = 3
    try:
        run()
        code = 0
    except FairleadError as error:
        report(error=error.message, remedy=error.remedy)
    except BaseException as error:  # the child must not fall back into its parent's code
        import traceback

        traceback.print_exc()
        report(error=f"{type(error).__name__}: {error}", remedy="this is a defect of fairlead; the log has the trace")
    finally:
        sys.stderr.flush()
        os._exit(code)


def _keep(plan: LaunchPlan, listener: socket.socket, writer: int, supervise: Supervise) -> None:
    name_process(f"fairlead-{plan.home.name}")
    report = _reporter(writer)
    if plan.detach:
        os.setsid()
    else:
        die_with_parent()
        os.setpgid(0, 0)  # Ctrl-C is for the command in the foreground, which then ends the cluster in order
    _redirect(plan.home.logs / "supervisor.log")
    root = os.geteuid() == 0
    uid, gid = os.geteuid(), os.getegid()
    kinds = Namespaces.NET | Namespaces.MOUNT | Namespaces.PID | Namespaces.UTS | Namespaces.IPC
    try:
        if root:
            unshare(kinds)
        else:
            unshare(kinds | Namespaces.USER)
            map_own_ids(uid, gid)
    except OSError as error:
        raise explain_refusal(error, root=root) from error
    if not plan.detach:
        die_with_parent()  # a change of credentials clears it
    supervisor = os.fork()
    if supervisor == 0:
        die_with_parent()
        _run_guarded(lambda: supervise(plan, listener, report), report)
    listener.close()
    report(supervisor=supervisor)
    os.close(writer)

    def pass_on(number: int, _: object) -> None:
        os.kill(supervisor, number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, status = os.waitpid(supervisor, 0)
    plan.home.record_path.unlink(missing_ok=True)
    os._exit(os.waitstatus_to_exitcode(status) & 0x7F)


def _redirect(log: Path) -> None:
    """Send standard output and error to `log`, and read from nothing."""
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
    os.close(nothing)
