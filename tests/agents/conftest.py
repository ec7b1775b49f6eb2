"""A machine for agents."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from agent_machine import Machine, put_first_objects


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    """A machine with an API server that knows a node and a service."""
    machine = Machine(tmp_path)
    await machine.world.start()
    await put_first_objects(machine.world)
    yield machine
    await machine.world.stop()
    machine.close()
