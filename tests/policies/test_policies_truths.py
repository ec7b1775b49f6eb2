"""Rules against the oracle without a kernel: connections traced through the rendered rows, which the model judges too.

A trace walks the rules with the evaluator and asserts that the model agrees; so where the oracle says the same, all
three do. The fourth, the kernel, is asked the same in `test_policies_matrix`.
"""

import os
import random

import pytest
from nine_pods import NAMESPACES, PORTS, PROTOCOLS, namespaces, pods, some_policies
from oracle import Document, Oracle

from fairlead.net import Protocol
from fairlead.sim.answers import Disposition
from fairlead.sim.manifests import derive_world
from fairlead.sim.trace import trace_connection

SEEDS = range(200 if os.environ.get("FAIRLEAD_LONG") else 12)
SAMPLES = 24
ARRIVED = (Disposition.DELIVERED, Disposition.NO_LISTENER)


def at_home() -> list[Document]:
    """The nine pods, each on the node whose range its address is of."""
    found = pods()
    for pod in found:
        pod["spec"]["nodeName"] = f"node-{1 + NAMESPACES.index(pod['metadata']['namespace'])}"
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_the_rules_the_model_and_the_oracle_agree(seed: int) -> None:
    chance = random.Random(seed)
    documents = [*namespaces(), *at_home(), *some_policies(seed, tiers=seed % 2 == 0, dual=True)]
    world, oracle = derive_world(documents), Oracle(documents)
    for _ in range(SAMPLES):
        source, target = chance.choice(oracle.pods), chance.choice(oracle.pods)
        protocol, port = chance.choice(PROTOCOLS), chance.choice(PORTS)
        place = f"pod/{source['metadata']['namespace']}/{source['metadata']['name']}"
        answer = trace_connection(world, place, f"{target['status']['podIP']}:{port}", Protocol[protocol])
        wanted = oracle.allows(source, target, protocol, port)
        assert (answer.disposition in ARRIVED) is wanted, f"{place} {answer.packet}"
        assert wanted or answer.disposition is Disposition.DROPPED
