"""The first process of the ingress controller's pod: it keeps the controller running and lets NGINX outlive it.

Comes in: what to run as the controller. Goes out: that, again after it dies, and one exit code. It does nothing else,
so that nothing else can end it. NGINX is started by the controller and comes to this process when that dies; the next
controller finds it by its pid file.
"""

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType

from fairlead.agents.lines import log
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.nginxd import MissingNginxError

_SUBREAPER = 36
_SHORT_LIFE, _PAUSE = 5.0, 1.0
_USAGE, _REFUSED = 2, 3
_FINAL = (_USAGE, _REFUSED)


def keep(run: Callable[[], None]) -> int:
    """Run `run` in a child, again whenever it dies, until this process is told to end; return the child's last code.

    SIGTERM, SIGINT and SIGQUIT are passed on. A child that ends with 2, a usage error, or with 3, for want of an NGINX,
    is not started again.
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
        if ending or code in _FINAL:
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
        for each in _causes(error):
            words = str(each) if isinstance(each, FairleadError) else f"{type(each).__name__}: {each}"
            log(event="controller-failed", error=words)
            code = _REFUSED if isinstance(each, MissingNginxError) else code
    finally:
        os._exit(code)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error itself, or those that a group of tasks came to."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - of any kind
            yield from _causes(each)  # pyright: ignore[reportUnknownArgumentType]
    else:
        yield error


def _wait_for(child: int) -> int:
    """Collect whoever ends until it is `child`, and return its exit code."""
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
