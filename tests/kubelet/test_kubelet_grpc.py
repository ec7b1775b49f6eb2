"""gRPC probes against a health server that others wrote: grpcio's."""

import os
from collections.abc import Iterator
from concurrent import futures

import grpc  # pyright: ignore[reportMissingTypeStubs] - grpcio has no types
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # pyright: ignore[reportMissingTypeStubs] - as above

from fairlead.cluster.kubelet.prober import look
from fairlead.cluster.kubelet.probes import Outcome
from fairlead.kube.containers import Container, GRPCAction

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where a server listens whose service `bad` is not serving."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    states = health_pb2.HealthCheckResponse
    for name, state in (("", states.SERVING), ("good", states.SERVING), ("bad", states.NOT_SERVING)):
        servicer.set(name, state)
    found = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield found
    server.stop(None)


@pytest.mark.parametrize(
    ("service", "outcome", "told"),
    [
        ("", Outcome.SUCCESS, ""),
        ("good", Outcome.SUCCESS, ""),
        ("bad", Outcome.FAILURE, 'service unhealthy (responded with "NOT_SERVING")'),
        ("none", Outcome.FAILURE, "the service is not known there, or does not answer"),
    ],
)
async def test_a_health_server_of_grpcio_is_understood(port: int, service: str, outcome: Outcome, told: str) -> None:
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        found = await look(GRPCAction(port=port, service=service), Container(), here, "127.0.0.1", 2.0)
    finally:
        os.close(here)
    assert found == (outcome, told)
