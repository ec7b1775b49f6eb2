"""Do probes say what they found in upstream's words? Real sockets, in the current namespace."""

import os
import socket

import pytest

from fairlead.cluster.kubelet.prober import look
from fairlead.cluster.kubelet.probes import Outcome
from fairlead.kube.containers import Container, HTTPGetAction

pytestmark = pytest.mark.kernel


async def test_a_refused_connection_is_told_as_go_tells_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    netns = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        found = await look(HTTPGetAction(path="/ready", port=port), Container(), netns, "127.0.0.1", 1.0)
    finally:
        os.close(netns)
    told = f'Get "http://127.0.0.1:{port}/ready": dial tcp 127.0.0.1:{port}: connect: connection refused'
    assert found == (Outcome.FAILURE, told)
