"""Does the kernel do what the model says, for policies drawn at random?"""

from collections.abc import Iterator
from itertools import product
from random import Random
from typing import Any

import pytest
from policy_rig import NAMESPACE_OF, PolicyRig, a_namespace, a_pod, a_policy, labelled
from rule_hosts import HOSTS, LISTENING
from rule_rig import Document

from fairlead.net import Protocol, parse_address
from fairlead.sim.policies import judge_flow
from fairlead.sim.policy_matching import Dialled, End

pytestmark = pytest.mark.kernel
SILENCE = 0.01
"""After everything that is allowed was answered."""
BLOCKS = ("0.0.0.0/0", "10.244.2.0/24", "198.51.100.0/24", "10.244.1.2/32")


@pytest.fixture(scope="module")
def policies() -> Iterator[PolicyRig]:
    rig = PolicyRig()
    yield rig
    rig.close()


def draw(random: Random, number: int) -> Document:
    """A policy of one of the two namespaces."""
    spec: dict[str, Any] = {"policyTypes": random.choice((["Ingress"], ["Egress"], ["Ingress", "Egress"]))}
    spec["ingress"] = [{"from": peers(random), "ports": ports(random)} for _ in range(random.randrange(3))]
    spec["egress"] = [{"to": peers(random), "ports": ports(random)} for _ in range(random.randrange(3))]
    pods = random.choice((None, {"team": "red"}, {"pod": "web-1"}))
    return a_policy(f"policy-{number}", random.choice(("shop", "other")), pods, **spec)


def peers(random: Random) -> list[Document]:
    selectors = ({}, labelled(team="red"), labelled(pod="far-2"))
    found: list[Document] = []
    for _ in range(random.randrange(3)):
        match random.randrange(4):
            case 0:
                found.append({"podSelector": random.choice(selectors)})
            case 1:
                found.append({"namespaceSelector": labelled(stage=random.choice(("test", "live")))})
            case 2:
                found.append({"namespaceSelector": {}, "podSelector": random.choice(selectors)})
            case _:
                block = random.choice(BLOCKS)
                excepted = ["10.244.2.2/32"] if block in BLOCKS[:2] and random.random() < 0.5 else []
                found.append({"ipBlock": {"cidr": block, "except": excepted}})
    return found


def ports(random: Random) -> list[Document]:
    choices = ({"port": 8080}, {"protocol": "UDP"}, {"port": "web"}, {"port": 8000, "endPort": 9090, "protocol": "UDP"})
    return random.sample(choices, random.choice((0, 0, 1, 2)))


@pytest.mark.parametrize("seed", [2, 3, 4, 5, 6, 8, 9, 10])
def test_packets_pass_where_the_model_says_so(policies: PolicyRig, seed: int) -> None:
    """Of connections from and to the pods of the node, both protocols and ports."""
    random = Random(seed)
    pods = [
        a_pod(
            name,
            {"team": random.choice(("red", "blue"))},
            ports=[{"name": "web", "containerPort": random.choice(LISTENING)}],
        )
        for name in NAMESPACE_OF
    ]
    namespaces = [a_namespace(name, stage=random.choice(("test", "live"))) for name in ("shop", "other")]
    policies.enforce(*pods, *namespaces, *(draw(random, number) for number in range(random.randint(1, 5))))
    hosts = (*NAMESPACE_OF, "client")
    asked = [
        (source, target, protocol, port)
        for source, target in product(hosts, hosts)
        if source != target and (source.startswith("web") or target.startswith("web"))
        for protocol, port in product((Protocol.TCP, Protocol.UDP), LISTENING)
    ]
    expected = {each for each in asked if model_allows(policies, *each)}
    opened = {each: policies.open(each[0], HOSTS[each[1]][0], each[3], each[2].name) for each in asked}
    for each in expected:
        assert opened[each].hear().by == each[1], f"the model allows {each}"
    for each in asked:
        if each not in expected:
            assert opened[each].hear(SILENCE).outcome == "silence", f"the model denies {each}"
    policies.end_conversations()
    assert 0 < len(expected) < len(asked), "a world in which there is something to allow and to deny"


def model_allows(rig: PolicyRig, source: str, target: str, protocol: Protocol, port: int) -> bool:
    """What the sides of the node's own pods say: of the others' nothing is programmed here."""
    index = rig.policy_objects.machine.index
    names = [(NAMESPACE_OF.get(name, ""), name) for name in (source, target)]
    ends = [End(parse_address(HOSTS[name[1]][0]), index.pod(name)) for name in names]
    verdict = judge_flow(index, ends[0], ends[1], Dialled(protocol, port))
    sides = [
        side
        for end, side in zip(ends, (verdict.egress, verdict.ingress), strict=True)
        if side is not None and end.pod is not None and end.pod.node == "node-1"
    ]
    return all(side.allowed for side in sides)
