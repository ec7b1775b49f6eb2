"""What holds for every test: it leaves this process in the namespaces it found it in."""

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
