"""Which endpoints a connection may go to, each rule on real packets. Source: reference, section 1.2."""

from typing import Any

import pytest
from rule_hosts import NODE, Answer
from rule_rig import Document, Rig, a_port, a_service, a_slice, an_endpoint

pytestmark = pytest.mark.kernel

IP = "10.96.0.10"
EXTERNAL = "192.0.2.7"
REFUSED = Answer("refused")


def going(pod: str) -> Document:
    return an_endpoint(pod, ready=False, serving=True, terminating=True)


def gone(pod: str) -> Document:
    return an_endpoint(pod, ready=False, serving=False, terminating=True)


def both_local(**spec: Any) -> Document:
    """A Service with both policies Local, which is dialled inside at IP and outside at EXTERNAL."""
    spec = {
        "internalTrafficPolicy": "Local",
        "externalTrafficPolicy": "Local",
        "externalIPs": [EXTERNAL],
        "type": "NodePort",
        **spec,
    }
    return a_service(ports=[a_port(node_port=30080)], **spec)


def test_the_cluster_set_falls_back_to_serving_and_terminating_endpoints(rig: Rig) -> None:
    """1.2: ready endpoints; if there is none, those that serve and terminate."""
    rig.begin(a_service(), a_slice("web-1", going("far-1")))
    assert rig.ask_many("web-2", IP, 80) == {"web-1"}
    rig.apply(a_slice(going("web-1"), going("far-1"), gone("far-2")))
    assert rig.ask_many("web-2", IP, 80) == {"web-1", "far-1"}
    rig.apply(a_slice(gone("web-1")))
    assert rig.ask("web-2", IP, 80) == REFUSED


def test_the_local_set_falls_back_independently_of_the_cluster_set(rig: Rig) -> None:
    """1.2: a local endpoint that terminates serves policy Local although another node has ready ones."""
    slices = a_slice(going("web-1"), "far-1")
    rig.begin(both_local(), slices)
    assert rig.ask_many("web-2", IP, 80) == {"web-1"}
    assert rig.ask_many("client", EXTERNAL, 80) == {"web-1"}
    rig.apply(both_local(internalTrafficPolicy="Cluster", externalTrafficPolicy="Cluster"))
    assert rig.ask_many("web-2", IP, 80) == {"far-1"}
    assert rig.ask_many("client", EXTERNAL, 80) == {"far-1"}


def test_the_cluster_set_falls_back_independently_of_the_local_set(rig: Rig) -> None:
    """1.2: where nothing is ready, the cluster set has every terminating endpoint and the local set the local ones."""
    rig.begin(both_local(internalTrafficPolicy="Cluster"), a_slice(going("web-1"), going("far-1")))
    assert rig.ask_many("web-2", IP, 80) == {"web-1", "far-1"}
    assert rig.ask_many("client", EXTERNAL, 80) == {"web-1"}


def test_internal_policy_local_uses_local_endpoints_for_the_cluster_ip_alone(rig: Rig) -> None:
    """1.2: the internal policy decides about the cluster IP, the external one about all other frontends."""
    rig.begin(both_local(externalTrafficPolicy="Cluster"), a_slice("web-1", "far-1"))
    assert rig.ask_many("web-2", IP, 80) == {"web-1"}
    assert rig.ask_many("client", EXTERNAL, 80) == {"web-1", "far-1"}
    assert rig.ask_many("client", NODE[0], 30080) == {"web-1", "far-1"}


def test_external_policy_local_uses_local_endpoints_for_every_external_frontend(rig: Rig) -> None:
    """1.2: node port, external IP and load-balancer address alike."""
    service = both_local(internalTrafficPolicy="Cluster", type="LoadBalancer")
    service["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}
    rig.begin(service, a_slice("web-1", "far-1"))
    for address, port in ((NODE[0], 30080), (EXTERNAL, 80), ("203.0.113.7", 80)):
        assert rig.ask_many("client", address, port) == {"web-1"}
    assert rig.ask_many("web-2", IP, 80) == {"web-1", "far-1"}


def test_policies_that_are_not_written_mean_cluster(rig: Rig) -> None:
    """1.5: externalTrafficPolicy and internalTrafficPolicy nil are Cluster."""
    rig.begin(a_service(externalIPs=[EXTERNAL]), a_slice("web-1", "far-1"))
    assert rig.ask_many("web-2", IP, 80) == {"web-1", "far-1"}
    assert rig.ask_many("client", EXTERNAL, 80) == {"web-1", "far-1"}


def test_connections_are_spread_over_all_endpoints(rig: Rig) -> None:
    """1.2: a random choice among all of the set: of 400 connections every one of 4 endpoints gets 60 at the least."""
    rig.begin(a_service(), a_slice("web-1", "web-2", "far-1", "far-2"))
    conversations = [rig.open("client", IP, 80) for _ in range(400)]
    answers = [each.hear().by for each in conversations]
    assert {name: answers.count(name) >= 60 for name in set(answers)} == dict.fromkeys(
        ("web-1", "web-2", "far-1", "far-2"), True
    )
