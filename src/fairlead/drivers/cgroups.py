"""Control groups of containers: limits come in, groups that hold them go out, of version 2 or 1 as this machine has it.

One flat group a container beside this process's own; the kernel keeps an empty group after its last process, so who
makes one removes it, or `sweep_groups` later. Refuses to know what runs in them. Sources: cgroups(7), and the kernel's
Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from fairlead.drivers.errors import FairleadError

PERIOD = 100_000
"""Microseconds over which CPU is shared out, as the kubelet's own default."""

_ROOT = Path("/sys/fs/cgroup")


class Limits(Struct, frozen=True):
    """The most a container may use: bytes of memory, and CPU in thousandths of a core; 0 is without a limit."""

    memory: int = 0
    cpu: int = 0

    def __bool__(self) -> bool:
        return bool(self.memory or self.cpu)


class Group(Struct, frozen=True):
    """One container's group: a folder in each hierarchy there is, by controller."""

    folders: Mapping[str, Path]

    def entrances(self) -> list[int]:
        """Open what a process enters by, when it writes 0 to each; the caller closes them."""
        return [os.open(folder / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) for folder in _different(self.folders)]

    def out_of_memory(self) -> bool:
        """Whether the kernel has killed a process of the group for the memory it took."""
        folder = self.folders.get("memory")
        if folder is None:
            return False
        for name in ("memory.events", "memory.oom_control"):
            with suppress(OSError):
                words = dict(line.split() for line in (folder / name).read_text().splitlines())
                return words.get("oom_kill", "0") != "0"
        return False

    def remove(self) -> bool:
        """Remove the group; False while processes are still leaving it."""
        try:
            for folder in _different(self.folders):
                folder.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


def make_group(name: str, limits: Limits) -> Group:
    """Make a group with these limits. Raises FairleadError where this process may not, or the machine cannot."""
    wanted = [each for each, limit in (("memory", limits.memory), ("cpu", limits.cpu)) if limit]
    made: dict[str, Path] = {}
    try:
        for controller in wanted:
            folder = _parent(controller) / name
            folder.mkdir(exist_ok=True)
            made[controller] = folder
            for file, text in _settings(controller, folder, limits):
                (folder / file).write_text(text)
    except OSError as error:
        Group(made).remove()
        raise FairleadError(
            f"limits are not held: {error.strerror}: {error.filename}",
            "run as root, or where a control group with the controllers cpu and memory is yours",
        ) from error
    return Group(made)


def sweep_groups(prefix: str) -> None:
    """Remove the empty groups whose name begins so: what a killed process left behind."""
    for controller in ("memory", "cpu"):
        with suppress(OSError):
            for folder in _parent(controller).glob(f"{prefix}*"):
                with suppress(OSError):
                    folder.rmdir()


def _settings(controller: str, folder: Path, limits: Limits) -> Iterable[tuple[str, str]]:
    unified = (folder / "cgroup.controllers").exists()
    if controller == "cpu":
        quota = limits.cpu * PERIOD // 1000
        if unified:
            return (("cpu.max", f"{quota} {PERIOD}"),)
        return (("cpu.cfs_period_us", str(PERIOD)), ("cpu.cfs_quota_us", str(quota)))
    if unified:
        swap = (("memory.swap.max", "0"),) if (folder / "memory.swap.max").exists() else ()
        return (("memory.max", str(limits.memory)), *swap)
    swap = "memory.memsw.limit_in_bytes"
    both = ((swap, str(limits.memory)),) if (folder / swap).exists() else ()
    return (("memory.limit_in_bytes", str(limits.memory)), *both)


def _parent(controller: str) -> Path:
    """Where groups of a controller are made: in this process's own group, or at the root of version 2.

    Version 2 lets no group have both processes and groups with controllers, but for the root. Raises OSError.
    """
    own = {name: path for names, path in _own_groups() for name in names.split(",")}
    if controller in own:
        return _ROOT / controller / own[controller].lstrip("/")
    controllers = (_ROOT / "cgroup.subtree_control").read_text().split()
    if controller not in controllers:
        (_ROOT / "cgroup.subtree_control").write_text(f"+{controller}")
    return _ROOT


def _own_groups() -> list[tuple[str, str]]:
    lines = (line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines())
    return [(names, path) for _, names, path in lines]


def _different(folders: Mapping[str, Path]) -> list[Path]:
    return list(dict.fromkeys(folders.values()))
