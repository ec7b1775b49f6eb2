"""What a process asks of Linux for itself: new namespaces, mounts, a death signal, a name.

Comes in: flags, paths and ids. Goes out: system calls, nothing else. Refuses to know what the namespaces are for.
Source: unshare(2), user_namespaces(7), pid_namespaces(7), prctl(2), mount(2).
"""

import ctypes
import errno
import os
import signal
from enum import IntFlag
from pathlib import Path

from fairlead.drivers.errors import FairleadError

_libc = ctypes.CDLL(None, use_errno=True)

_CHROOT = (
    "this is a chroot, in which Linux makes no namespaces",
    "run fairlead on the machine itself, or in a container whose root was set by pivot_root",
)
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 0x2, 0x4, 0x8


class Namespaces(IntFlag):
    """The kinds of namespace unshare(2) can make."""

    MOUNT = 0x0002_0000
    UTS = 0x0400_0000
    IPC = 0x0800_0000
    USER = 0x1000_0000
    PID = 0x2000_0000
    NET = 0x4000_0000


def _checked(result: int, doing: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{doing}: {os.strerror(code)}")


def unshare(kinds: Namespaces) -> None:
    """Move this process into new namespaces of `kinds`; PID counts for its next children. Raises OSError."""
    _checked(_libc.unshare(ctypes.c_int(int(kinds))), "unshare")


def map_own_ids(uid: int, gid: int) -> None:
    """Make `uid` and `gid` of the parent user namespace 0 in the one this process has just made."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def die_with_parent(sig: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send `sig` to this process when the thread that forked it ends."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, int(sig), 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def name_process(name: str) -> None:
    """Set the name `ps` and `top` show, cut to the kernel's 15 bytes."""
    _checked(_libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0), "prctl(PR_SET_NAME)")


def make_mounts_private() -> None:
    """Cut mount propagation in this mount namespace, so that nothing mounted here shows outside.

    Raises FairleadError in a chroot, where / is no mount that could be private.
    """
    if in_chroot():
        raise FairleadError(*_CHROOT)
    _checked(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "make mounts private")


def mount_proc() -> None:
    """Mount a /proc that shows the PID namespace of the caller."""
    _checked(_libc.mount(b"proc", b"/proc", b"proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None), "mount /proc")


def in_chroot(mount_info: str = "/proc/self/mountinfo") -> bool:
    """Whether / is no mount point, as after chroot(2), where no user namespace can be made (user_namespaces(7))."""
    try:
        lines = Path(mount_info).read_text().splitlines()
    except OSError:
        return False
    return not any(line.split()[4] == "/" for line in lines)


def _knob(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def explain_refusal(error: OSError, *, root: bool) -> FairleadError:
    """Turn a refused namespace into what the reader can do about it, from the knobs this kernel shows."""
    if error.errno not in (errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EINVAL, errno.ENOSYS):
        return FairleadError(f"Linux refused a namespace: {error}", "see dmesg for the reason")
    if in_chroot():
        return FairleadError(*_CHROOT)
    if root:
        return FairleadError(
            "root here may not make namespaces: this looks like a container without the capability",
            "start the container with --privileged (or CAP_SYS_ADMIN and CAP_NET_ADMIN and no seccomp filter), "
            "or run fairlead on the machine itself",
        )
    if _knob("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return FairleadError(
            "AppArmor on this machine keeps ordinary users from user namespaces",
            "run fairlead as root, or as root once: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        )
    if _knob("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return FairleadError(
            "this kernel is set to keep ordinary users from user namespaces",
            "run fairlead as root, or as root once: sysctl -w kernel.unprivileged_userns_clone=1",
        )
    if _knob("/proc/sys/user/max_user_namespaces") == "0" or error.errno == errno.ENOSPC:
        return FairleadError(
            "no more user namespaces are allowed on this machine",
            "run fairlead as root, or as root once: sysctl -w user.max_user_namespaces=10000",
        )
    return FairleadError(
        f"Linux refused a user namespace: {error}",
        "run fairlead as root; in a container, allow unshare(2) (seccomp=unconfined) or use --privileged",
    )
