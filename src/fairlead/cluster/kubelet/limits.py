"""The limits of containers that are programs: held by control groups where this machine lets us, told once where not.

Comes in: a container's limits. Goes out: a group to start it in, and at its end whether it ran out of memory. Nobody is
kept from running for want of a group.
"""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

from fairlead.drivers.cgroups import Group, Limits, make_group, sweep_groups
from fairlead.drivers.errors import FairleadError
from fairlead.kube.containers import Container
from fairlead.kube.quantities import parse_quantity

_REMOVALS = (0.05, 0.5, 5.0)  # seconds between attempts: processes leave a group a moment after they end
_SHORTEST_CPU = 10  # thousandths: the kernel takes no quota below a millisecond of a tenth of a second


def limits_of(container: Container) -> Limits:
    """Return what a container may use at most."""
    asked = container.resources.limits
    memory, cpu = (parse_quantity(asked.get(name, 0)) for name in ("memory", "cpu"))
    return Limits(int(memory), max(_SHORTEST_CPU, int(cpu * 1000)) if cpu else 0)


def group_prefix(state: Path) -> str:
    """How the names of a cluster's groups begin; `state` is its home."""
    return f"fairlead-{hashlib.sha256(str(state).encode()).hexdigest()[:10]}-"


class LimitGroups:
    """The groups of running containers, by the id of the run."""

    def __init__(
        self,
        state: Path,
        told: Callable[[str], None],
        make: Callable[[str, Limits], Group] = make_group,
    ) -> None:
        self._make = make
        self._prefix = group_prefix(state)
        self._told = told
        self._swept = self._refused = False
        self._groups: dict[str, Group] = {}

    def enter(self, key: str, container: Container) -> Group | None:
        """Return the group to start a run in, None where it has no limits or they cannot be held."""
        limits = limits_of(container)
        if not limits or self._refused:
            return None
        if not self._swept:
            self._swept = True
            sweep_groups(self._prefix)
        try:
            group = self._groups[key] = self._make(self._prefix + key.replace("/", "-"), limits)
        except FairleadError as error:
            self._refused = True
            self._told(f"limits=off reason={error.message!r} remedy={error.remedy!r}")
            return None
        return group

    def leave(self, key: str) -> bool:
        """The run has ended: remove its group, and return whether the kernel killed it for its memory."""
        group = self._groups.pop(key, None)
        if group is None:
            return False
        killed = group.out_of_memory()
        self._remove(group, _REMOVALS)
        return killed

    def _remove(self, group: Group, pauses: tuple[float, ...]) -> None:
        if not group.remove() and pauses:
            asyncio.get_running_loop().call_later(pauses[0], self._remove, group, pauses[1:])
