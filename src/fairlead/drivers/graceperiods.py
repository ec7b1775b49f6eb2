"""Grace periods of the kernel: what passes until no packet is under way any more that was when it began.

Comes in: the wish. Goes out: membarrier(2) with MEMBARRIER_CMD_GLOBAL, which the kernel answers after an RCU grace
period (`kernel/sched/membarrier.c`); packets pass netfilter's hooks inside RCU's read sections (`nf_hook` in
`include/linux/netfilter.h`). It takes some 10 ms. Where the kernel refuses it, a long time takes its place.
"""

import asyncio
import ctypes
import os
import time
from collections.abc import Callable
from typing import Protocol

_NUMBERS = {"x86_64": 324, "aarch64": 283, "riscv64": 283, "ppc64le": 365, "s390x": 356}
"""The system call's number (`arch/*/entry/syscalls/*.tbl`); the newer architectures share one table."""
_GLOBAL = 1
LONG_SECONDS = 0.2
"""What takes the place of a grace period where the kernel knows none; a packet's way takes microseconds."""
_libc = ctypes.CDLL(None, use_errno=True)


class GracePeriods(Protocol):
    """Who knows when a grace period has passed."""

    def begin(self) -> int:
        """Begin one now, and return its number."""
        ...

    def passed(self, number: int) -> bool:
        """Whether it has passed."""
        ...

    def wait(self) -> None:
        """Return when one has passed that begins now."""
        ...


def wait_for_grace_period() -> None:
    """Return when every packet that is under way now has come to its end."""
    number = _NUMBERS.get(os.uname().machine)
    if number is None or _libc.syscall(ctypes.c_long(number), ctypes.c_int(_GLOBAL), ctypes.c_uint(0)) != 0:
        time.sleep(LONG_SECONDS)


class AwaitedGracePeriods:
    """Grace periods for callers who have nothing else to do: each has passed when `begin` returns."""

    def begin(self) -> int:
        """Wait for one."""
        self.wait()
        return 0

    def passed(self, number: int) -> bool:
        """Always."""
        return number == 0

    def wait(self) -> None:
        """Wait for one."""
        wait_for_grace_period()


class GracePeriodsBeside:
    """Grace periods that pass in a thread while the event loop goes on; `news` is called there after each."""

    def __init__(self, news: Callable[[], None]) -> None:
        self._news = news
        self._begun = self._passed = 0
        self._waiting: asyncio.Task[None] | None = None

    def begin(self) -> int:
        """Begin one."""
        self._begun += 1
        if self._waiting is None or self._waiting.done():
            self._waiting = asyncio.get_running_loop().create_task(self._wait())
        return self._begun

    def passed(self, number: int) -> bool:
        """Whether it has passed."""
        return number <= self._passed

    def wait(self) -> None:
        """Wait for one, and let the loop wait too."""
        wait_for_grace_period()

    async def _wait(self) -> None:
        while self._passed < self._begun:
            begun = self._begun  # what is begun while this one passes needs another one
            await asyncio.to_thread(wait_for_grace_period)
            self._passed = begun
            self._news()
