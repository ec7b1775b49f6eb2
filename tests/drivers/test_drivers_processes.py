"""What a person is told when Linux refuses a namespace: the reason, and what to do about it."""

import errno
from pathlib import Path

import pytest

from fairlead.drivers import processes


@pytest.mark.parametrize(
    ("knobs", "root", "code", "reason", "remedy"),
    [
        ({}, True, errno.EPERM, "container without the capability", "--privileged"),
        ({"apparmor_restrict_unprivileged_userns": "1"}, False, errno.EACCES, "AppArmor", "apparmor_restrict"),
        ({"unprivileged_userns_clone": "0"}, False, errno.EPERM, "keep ordinary users", "unprivileged_userns_clone=1"),
        ({"max_user_namespaces": "0"}, False, errno.ENOSPC, "no more user namespaces", "max_user_namespaces"),
        ({}, False, errno.EPERM, "refused a user namespace", "seccomp=unconfined"),
        ({}, True, errno.EIO, "refused a namespace", "dmesg"),
    ],
)
def test_a_refused_namespace_is_explained_by_the_knob_that_is_set(
    monkeypatch: pytest.MonkeyPatch, knobs: dict[str, str], root: bool, code: int, reason: str, remedy: str
) -> None:
    def knob(path: str) -> str:
        return knobs.get(Path(path).name, "")

    monkeypatch.setattr(processes, "_knob", knob)
    monkeypatch.setattr(processes, "in_chroot", lambda: False)
    told = processes.explain_refusal(OSError(code, "no"), root=root)
    assert reason in told.message
    assert remedy in told.remedy


def test_a_chroot_is_known_by_its_root_being_no_mount(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    info = tmp_path / "mountinfo"
    info.write_text("22 1 254:0 / / rw - ext4 /dev/vda rw\n23 22 0:5 / /proc rw - proc proc rw\n")
    assert not processes.in_chroot(str(info))
    info.write_text("23 22 0:5 / /proc rw - proc proc rw\n")
    assert processes.in_chroot(str(info))
    monkeypatch.setattr(processes, "in_chroot", lambda: True)
    assert "chroot" in processes.explain_refusal(OSError(errno.EPERM, "no"), root=False).message
