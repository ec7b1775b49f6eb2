"""Fixtures for the tests of the API server."""

from collections.abc import AsyncIterator

import pytest
from apiservers import Api, engine


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """An engine in memory, asked in short words."""
    server = await engine()
    yield Api(server)
    server.close()
