"""What holds for every test: it leaves this process in the namespaces it found it in.

The folders of a run can be entered by every user: NGINX's workers, and the clusters of ordinary users, read there.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


def _namespaces() -> tuple[str, ...]:
    return tuple(str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("net", "mnt", "user", "uts"))


@pytest.fixture(autouse=True)
def _stay_in_place() -> Iterator[None]:
    before = _namespaces()
    yield
    assert _namespaces() == before, "the test has moved the test process into another namespace"


@pytest.fixture(autouse=True, scope="session")
def _folders_for_all(tmp_path_factory: pytest.TempPathFactory) -> None:
    base = tmp_path_factory.getbasetemp()
    for folder in (base, *base.parents):
        if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o055 == 0o055:
            break
        folder.chmod(0o755)
