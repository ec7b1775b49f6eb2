"""Process 1 of a cluster: builds the network, forks the components, starts again the ones that die, reaps all others.

Comes in: a launch plan and the API listening socket. Goes out: nothing; it runs until told to end. Refuses to know
what a component does. It forks instead of executing, so that modules and their memory are shared, and it therefore
has no event loop and no thread of its own.
"""

import asyncio
import asyncio.sslproto
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NoReturn

from msgspec import Struct

from fairlead.cluster.components import Component, components_of
from fairlead.cluster.launch import LaunchPlan, Report
from fairlead.drivers.processes import make_mounts_private, mount_proc, name_process

_FIRST_DELAY, _LAST_DELAY = 0.05, 5.0  # seconds before a component that died is started again
_STABLE_AFTER = 30.0  # seconds of running after which the delay starts over
_TLS_BUFFER = 16 * 1024  # a TLS record; asyncio would set aside 256 KiB for each of some hundred connections
_SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1}


class _Running(Struct):
    component: Component
    pid: int = 0
    started: float = 0.0
    delay: float = _FIRST_DELAY
    due: float = 0.0


def supervise(plan: LaunchPlan, listener: socket.socket, report: Report) -> NoReturn:
    """Run the cluster of `plan` until SIGTERM, as process 1 of its PID namespace. Raises FairleadError early on."""
    name_process("supervisor")
    make_mounts_private()
    mount_proc()
    asyncio.sslproto.SSLProtocol.max_size = _TLS_BUFFER
    components = components_of(plan, listener)
    gc.freeze()  # children share these pages as long as nobody writes to them; a collection would write to all
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    running = [_Running(component=component) for component in components]
    for entry in running:
        if _is_wanted(entry):
            _start(entry)
    report(ready=1)
    while True:
        now = time.monotonic()
        waiting = [entry.due for entry in running if not entry.pid and _is_wanted(entry)]
        timeout = max(0.0, min(waiting) - now) if waiting else 3600.0
        received = signal.sigtimedwait(_SIGNALS, timeout)
        if received is not None and received.si_signo in (signal.SIGTERM, signal.SIGINT):
            _end(running)
        _reap(running)
        now = time.monotonic()
        for entry in running:
            if not entry.pid and entry.due <= now and _is_wanted(entry):
                _start(entry)


def _is_wanted(entry: _Running) -> bool:
    return entry.component.wanted is None or entry.component.wanted.exists()


def _start(entry: _Running) -> None:
    sys.stderr.flush()
    entry.started = time.monotonic()
    entry.pid = os.fork()
    if entry.pid == 0:
        _become(entry.component.name, entry.component.log, entry.component.run)


def _become(name: str, log: str, run: Callable[[], Coroutine[Any, Any, None]]) -> NoReturn:
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        name_process(name)
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.close(target)
        asyncio.run(run())
        code = 0
    except BaseException:  # nothing may fall back into the supervisor's loop
        import traceback

        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stderr.flush()
        os._exit(code)


def _reap(running: list[_Running]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        for entry in running:
            if entry.pid == pid:
                now = time.monotonic()
                if now - entry.started > _STABLE_AFTER:
                    entry.delay = _FIRST_DELAY
                entry.pid, entry.due = 0, now + entry.delay
                entry.delay = min(entry.delay * 2, _LAST_DELAY)
                code = os.waitstatus_to_exitcode(status)
                sys.stderr.write(f"component={entry.component.name} ended={code} again_in={entry.due - now:.2f}s\n")
                sys.stderr.flush()


def _end(running: list[_Running]) -> NoReturn:
    """Let the API server finish what it has acknowledged, then leave; the kernel ends everything else."""
    for entry in running:
        if entry.pid and entry.component.ends_in_order:
            with suppress(ProcessLookupError):
                os.kill(entry.pid, signal.SIGTERM)
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline and any(entry.pid and entry.component.ends_in_order for entry in running):
        signal.sigtimedwait({signal.SIGCHLD}, 0.1)
        _reap(running)
    os._exit(0)
