"""Limits of containers: read as they are meant, held by the kernel, and done without where there is no permission."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fairlead.cluster.kubelet.limits import LimitGroups, limits_of
from fairlead.drivers.cgroups import Group, Limits, make_group
from fairlead.drivers.errors import FairleadError
from fairlead.kube.containers import Container


def container(**asked: str) -> Container:
    document: dict[str, Any] = {"name": "main", "resources": {"limits": asked}}
    return msgspec.convert(document, Container)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ({}, Limits()),
        ({"memory": "64Mi"}, Limits(memory=64 * 2**20)),
        ({"cpu": "1500m"}, Limits(cpu=1500)),
        ({"cpu": "1m"}, Limits(cpu=10)),
        ({"cpu": "2", "memory": "1G"}, Limits(memory=10**9, cpu=2000)),
    ],
)
def test_limits_are_bytes_and_thousandths(asked: dict[str, str], meant: Limits) -> None:
    assert limits_of(container(**asked)) == meant


def test_without_permission_everything_runs_and_it_is_told_once(tmp_path: Path) -> None:
    def refuse(name: str, asked: Limits) -> Group:
        raise FairleadError("limits are not held: Permission denied", "run as root")

    told: list[str] = []
    groups = LimitGroups(tmp_path, told.append, refuse)
    for number in range(3):
        assert groups.enter(f"u/main/{number}", container(memory="64Mi")) is None
        assert not groups.leave(f"u/main/{number}")
    assert told == ["limits=off reason='limits are not held: Permission denied' remedy='run as root'"]


@pytest.mark.kernel
def test_a_process_in_a_group_is_killed_for_its_memory_and_the_group_goes_with_it() -> None:
    try:
        group = make_group(f"fairlead-test-{os.getpid()}", Limits(memory=32 * 2**20, cpu=500))
    except FairleadError as error:
        pytest.skip(str(error))
    entrances = group.entrances()
    child = os.fork()
    if child == 0:
        for each in entrances:
            os.write(each, b"0")
        kept = b"x" * (128 << 20)
        os._exit(len(kept) and 0)
    for each in entrances:
        os.close(each)
    _, status = os.waitpid(child, 0)
    killed = group.out_of_memory()
    assert group.remove()
    assert os.waitstatus_to_exitcode(status) == -9
    assert killed
    assert not any(folder.exists() for folder in group.folders.values())
