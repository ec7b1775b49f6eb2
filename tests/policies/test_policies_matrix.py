"""Nine pods on two nodes, 81 pairs, ports 80 and 81, both families, on real packets against the oracle.

TCP and UDP for all sets of policies, SCTP for some.
"""

import os
from collections.abc import Iterator

import pytest
from matrix_nodes import FAMILIES, NODES
from matrix_rig import Matrix, Probe, Way, address_of, entry_of, node_of
from nine_pods import NAMESPACES, PORTS, a_policy, namespaces, pods, some_policies
from oracle import Document, Oracle

pytestmark = pytest.mark.kernel
LONG = bool(os.environ.get("FAIRLEAD_LONG"))
SEEDS = range(5000, 5000 + (240 if LONG else 8))


@pytest.fixture(scope="module")
def matrix() -> Iterator[Matrix]:
    rig = Matrix(pods(), namespaces(), PORTS)
    yield rig
    rig.close()


@pytest.fixture(scope="module")
def associations() -> Iterator[Matrix]:
    rig = Matrix(pods(), namespaces(), PORTS, ("SCTP",))
    yield rig
    rig.close()


def oracle_of(matrix: Matrix, family: int, policies: list[Document]) -> Oracle:
    """An oracle whose pods have their address of one family."""
    found = [{**pod, "status": {**pod["status"], "podIP": address_of(pod, family)}} for pod in matrix.pods]
    return Oracle([*namespaces(), *found, *policies])


def passes(matrix: Matrix, oracle: Oracle, way: Way, family: int, probe: Probe) -> bool:
    """Whether both sides allow a probe, each judging what it sees.

    A node port is translated at the node that was dialled: to a sender elsewhere it is an address outside the cluster.
    Whom that node has to send on to the other one comes there from the node's own address.
    """
    source, target, protocol, port = oracle.pods[probe[0]], oracle.pods[probe[1]], probe[2], probe[3]
    if way in (Way.POD, Way.CLUSTER):
        return oracle.allows(source, target, protocol, port)
    entry = entry_of(way, source)
    address = NODES[entry][family]
    if entry == node_of(source):
        out = oracle.lets_out(source, target, protocol, port)
    else:
        out = oracle.lets_out(source, address, protocol, matrix.node_port(probe[1], protocol, port))
    return out and oracle.lets_in(source if entry == node_of(target) else address, target, protocol, port)


@pytest.mark.parametrize("seed", SEEDS)
def test_packets_arrive_where_the_oracle_says(matrix: Matrix, seed: int) -> None:
    check_all_ways(matrix, some_policies(seed, tiers=seed % 3 == 0, dual=True))


@pytest.mark.parametrize("seed", range(20 if LONG else 2))
def test_sctp_arrives_where_the_oracle_says(associations: Matrix, seed: int) -> None:
    policies = [
        *some_policies(seed, tiers=seed % 3 == 0, dual=True),
        a_policy("x", "sctp", {}, ingress=[{"ports": [{"protocol": "SCTP", "port": 80 + seed % 2}]}]),
        a_policy("y", "no-sctp", {}, ingress=[{"ports": [{"port": 80}, {"protocol": "UDP"}]}]),
    ]
    check_all_ways(associations, policies)


def check_all_ways(matrix: Matrix, policies: list[Document]) -> None:
    matrix.enforce(policies)
    for index, family in enumerate(FAMILIES):
        oracle = oracle_of(matrix, index, policies)
        for way in Way:
            # What a pod sends itself through a Service is left to the implementation, and all suites leave it out.
            judged = {probe for probe in matrix.probes if way is Way.POD or probe[0] != probe[1]}
            wanted = {probe for probe in judged if passes(matrix, oracle, way, index, probe)}
            arrived = matrix.arrived(way, family, wanted) & judged
            assert arrived == wanted, f"{family} through {way}: {policies}"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pod_that_is_isolated_both_ways_and_its_node_find_each_other(matrix: Matrix, family: str) -> None:
    closed = [a_policy(space, "closed", {}, policyTypes=["Ingress", "Egress"]) for space in NAMESPACES]
    matrix.enforce(closed)
    assert matrix.arrived(Way.POD, family, set()) == {probe for probe in matrix.probes if probe[0] == probe[1]}
    assert matrix.node_reaches(0, family)
