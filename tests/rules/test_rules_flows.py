"""Which UDP flows are ended when endpoints change, each rule on real packets. Source: reference, section 1.7."""

from typing import Any

import pytest
from rule_hosts import NODE, Conversation
from rule_rig import Document, Rig, a_port, a_service, a_slice, an_endpoint

pytestmark = pytest.mark.kernel

IP, IP6 = "10.96.0.10", "fd00:96::10"
EXTERNAL, VIP = "192.0.2.7", "203.0.113.7"
FRONTENDS = ((IP, 53), (EXTERNAL, 53), (VIP, 53), (NODE[0], 30053))


def dns(**spec: Any) -> Document:
    """A UDP service with frontends of every kind."""
    ports = [a_port(53, "dns", "UDP", 30053)]
    return a_service(ports=ports, ingress=[{"ip": VIP}], type="LoadBalancer", externalIPs=[EXTERNAL], **spec)


def answering(*pods: Document | str, port: int = 8080) -> Document:
    """The slice of a UDP service."""
    return a_slice(*pods, ports=[{"name": "dns", "protocol": "UDP", "port": port}])


def flow(rig: Rig, address: str = IP, port: int = 53, place: str = "web-2") -> Conversation:
    return rig.open(place, address, port, "UDP")


@pytest.mark.parametrize(("address", "port"), FRONTENDS)
def test_a_flow_to_an_endpoint_that_is_gone_moves_to_one_that_is_there(rig: Rig, address: str, port: int) -> None:
    """1.7: at the cluster IP, an external IP, a load-balancer address and a node port."""
    rig.begin(dns(), answering("web-1"))
    conversation = flow(rig, address, port)
    assert conversation.hear().by == "web-1"
    rig.apply(answering("far-1"))
    assert conversation.ask().by == "far-1"


def test_an_ipv6_flow_moves_too(rig: Rig) -> None:
    """1.7: entries of the family whose endpoints changed."""
    first, second = (answering(an_endpoint(pod, 1)) for pod in ("web-1", "far-1"))
    rig.begin(dns(), first)
    conversation = flow(rig, IP6)
    assert conversation.hear().by == "web-1"
    rig.apply(second)
    assert conversation.ask().by == "far-1"


def test_a_flow_to_an_endpoint_that_stays_is_left_alone(rig: Rig) -> None:
    """1.7: only entries whose answerer is none of the serving endpoints."""
    rig.begin(dns(), answering("web-1", "far-1"))
    conversations = [flow(rig) for _ in range(12)]
    before = [each.hear().by for each in conversations]
    assert set(before) == {"web-1", "far-1"}
    rig.apply(answering("far-1", "far-2"))
    after = [each.ask().by for each in conversations]
    assert {new for old, new in zip(before, after, strict=True) if old == "far-1"} == {"far-1"}
    assert {new for old, new in zip(before, after, strict=True) if old == "web-1"} <= {"far-1", "far-2"}


def test_a_flow_from_before_the_first_endpoint_finds_it(rig: Rig) -> None:
    """1.7: an entry without translation, made while the address led nowhere, is no black hole."""
    rig.begin()
    rig.run("ip", "route", "add", EXTERNAL, "via", "10.244.2.2", "dev", "h2", "onlink")
    try:
        conversation = flow(rig, EXTERNAL)
        rig.wait_for_flow(EXTERNAL)
        rig.apply(dns(), answering("web-1"))
        assert conversation.ask().by == "web-1"
    finally:
        rig.run("ip", "route", "del", EXTERNAL)


def test_a_flow_follows_a_changed_target_port(rig: Rig) -> None:
    """1.7: the port belongs to the endpoint."""
    rig.begin(dns(), answering("web-1", port=8080))
    conversation = flow(rig)
    assert conversation.hear().by == "web-1"
    before = rig.flows(IP)
    assert "sport=8080" in before
    rig.apply(answering("web-1", port=9090))
    assert conversation.ask().by == "web-1"
    assert "sport=9090" in rig.flows(IP)


@pytest.mark.parametrize(
    "change",
    [
        lambda: dns(internalTrafficPolicy="Local", externalTrafficPolicy="Local"),
        lambda: answering(an_endpoint("far-1", ready=False, serving=True, terminating=True), "web-1"),
        lambda: answering(an_endpoint("far-1", hints={"forZones": [{"name": "b"}]}), "web-1"),
    ],
    ids=["traffic policy", "terminating", "topology"],
)
def test_a_flow_survives_a_change_of_policy_topology_and_terminating(rig: Rig, change: Any) -> None:
    """1.7: those are ignored on purpose: flows that work go on."""
    rig.begin(dns(), answering("far-1"))
    conversation = flow(rig)
    assert conversation.hear().by == "far-1"
    rig.apply(change())
    assert conversation.ask().by == "far-1"


def test_a_flow_stays_when_the_last_serving_endpoint_goes(rig: Rig) -> None:
    """1.7: not cleaned: services with no serving endpoint."""
    rig.begin(dns(), answering("web-1"))
    conversation = flow(rig)
    assert conversation.hear().by == "web-1"
    rig.apply(answering(an_endpoint("web-1", ready=False, serving=False)))
    assert conversation.ask().by == "web-1"


def test_a_flow_stays_when_its_service_is_deleted(rig: Rig) -> None:
    """1.7: not cleaned: deleted services."""
    rig.begin(dns(), answering("web-1"))
    conversation = flow(rig)
    assert conversation.hear().by == "web-1"
    rig.delete(dns())
    assert conversation.ask().by == "web-1"


def test_a_tcp_connection_is_never_ended(rig: Rig) -> None:
    """1.7: not cleaned: TCP, though its endpoint is gone; here the pod still answers."""
    rig.begin(a_service(), a_slice("web-1"))
    conversation = rig.open("web-2", IP, 80)
    assert conversation.hear().by == "web-1"
    rig.apply(a_slice("far-1"))
    assert conversation.ask().by == "web-1"
    assert rig.ask("web-2", IP, 80).by == "far-1"


def test_the_flow_of_another_port_of_the_same_address_is_left_alone(rig: Rig) -> None:
    """1.7: entries are matched by address and port."""
    ports = [a_port(53, "dns", "UDP"), a_port(54, "other", "UDP")]
    numbers = [{"name": name, "protocol": "UDP", "port": 8080} for name in ("dns", "other")]
    rig.begin(a_service(ports=ports), a_slice("web-1", ports=numbers))
    conversations = flow(rig), flow(rig, port=54)
    assert [each.hear().by for each in conversations] == ["web-1", "web-1"]
    rig.apply(a_slice("far-1", ports=numbers[:1]), a_slice("web-1", name="other", ports=numbers[1:]))
    assert [each.ask().by for each in conversations] == ["far-1", "web-1"]


def test_a_flow_past_any_service_is_left_alone(rig: Rig) -> None:
    """1.7: a pod is dialled directly on the port of a service, and a node by the number of a node port elsewhere."""
    rig.begin(dns(), answering("web-1"))
    straight = flow(rig, "10.244.2.2", 8080)
    assert straight.hear().by == "far-1"
    before = rig.flows("10.244.2.2")
    rig.apply(answering("far-2"))
    assert straight.ask().by == "far-1"
    assert rig.flows("10.244.2.2") == before
