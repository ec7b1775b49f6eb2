"""Nine pods, 81 pairs, TCP and UDP 80 and 81 on real packets against the oracle, for policies made by chance."""

import os
from collections.abc import Iterator

import pytest
from matrix_rig import PROBES, WAYS, Matrix, Probe
from nine_pods import namespaces, some_policies
from oracle import Document, Oracle

pytestmark = pytest.mark.kernel
SEEDS = range(5000, 5000 + (240 if os.environ.get("FAIRLEAD_LONG") else 16))


@pytest.fixture(scope="module")
def matrix() -> Iterator[Matrix]:
    rig = Matrix()
    yield rig
    rig.close()


def allowed(matrix: Matrix, policies: list[Document]) -> set[Probe]:
    oracle = Oracle([*namespaces(), *matrix.pods, *policies])
    return {
        probe for probe in PROBES if oracle.allows(oracle.pods[probe[0]], oracle.pods[probe[1]], probe[2], probe[3])
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_packets_arrive_where_the_oracle_says(matrix: Matrix, seed: int) -> None:
    policies = some_policies(seed, tiers=seed % 3 == 0)
    matrix.enforce(policies)
    wanted = allowed(matrix, policies)
    for way in WAYS:
        # What a pod sends itself through a Service is left to the implementation, and all suites leave it out.
        judged = {probe for probe in PROBES if way == "pod" or probe[0] != probe[1]}
        arrived = matrix.arrived(way, wanted & judged)
        assert arrived & judged == wanted & judged, f"through {way} addresses: {policies}"
