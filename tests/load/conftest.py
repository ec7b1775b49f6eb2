"""The node between clients and pods that the tests of a module share."""

from collections.abc import Iterator

import pytest
from load_network import Network


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    network = Network()
    yield network
    network.close()
