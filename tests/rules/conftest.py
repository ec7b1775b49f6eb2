"""The node all rule tests of a module share."""

from collections.abc import Iterator

import pytest
from rule_rig import Rig


@pytest.fixture(scope="session")
def shared_rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


@pytest.fixture
def rig(shared_rig: Rig) -> Iterator[Rig]:
    yield shared_rig
    shared_rig.end_conversations()
