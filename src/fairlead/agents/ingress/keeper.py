"""The first process of the ingress controller's pod: it keeps the controller running and lets NGINX outlive it.

Comes in: what to run as the controller. Goes out: that, again after it dies, and one exit code. It does nothing else,
so that nothing else can end it. NGINX is started by the controller and comes to this process when that dies; the next
controller finds it by its pid file.
"""

import ctypes
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from fairlead.agents.lines import log

_SUBREAPER = 36
_SHORT_LIFE, _PAUSE = 5.0, 1.0


def keep(run: Callable[[], None]) -> int:
    """Run `run` in a child, again whenever it dies, until this process is told to end; return the child's last code.

    SIGTERM, SIGINT and SIGQUIT are passed on. A child that ends with 2, a usage error, is not started again.
    """
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)  # orphans come here where this is not process 1
    child, ending = 0, False

    def pass_on(number: int, _: FrameType | None) -> None:
        nonlocal ending
        ending = True
        with suppress(ProcessLookupError):
            if child:
                os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, pass_on)
    while True:
        born = time.monotonic()
        child = _start(run)
        if ending:
            os.kill(child, signal.SIGTERM)
        code = _wait_for(child)
        if ending or code == 2:
            return code
        log(event="controller-died", code=code)
        if time.monotonic() < born + _SHORT_LIFE:
            time.sleep(_PAUSE)


def _start(run: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        run()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:  # a child must never run on as its parent
        log(event="controller-failed", error=f"{type(error).__name__}: {error}")
    finally:
        os._exit(code)


def _wait_for(child: int) -> int:
    """Collect whoever ends until it is `child`, and return its exit code."""
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
