"""Session affinity by client address, each rule on real packets. Source: reference, section 1.6."""

import time
from typing import Any

import pytest
from rule_hosts import DEADLINE, NODE, wait_until
from rule_rig import Document, Rig, a_port, a_service, a_slice, an_endpoint

pytestmark = pytest.mark.kernel

IP, IP6 = "10.96.0.10", "fd00:96::10"
EXTERNAL, VIP = "192.0.2.7", "203.0.113.7"
PODS = ("web-1", "web-2", "far-1", "far-2")
PLACES = ("web-1", "far-2", "client", "node-2", "node")


def sticky(timeout: int | None = None, **spec: Any) -> Document:
    """A service with affinity and frontends of every kind."""
    fields: Document = {"ports": [a_port(node_port=30080)], "sessionAffinity": "ClientIP", **spec}
    if timeout is not None:
        fields["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": timeout}}
    return a_service(type="LoadBalancer", externalIPs=[EXTERNAL], ingress=[{"ip": VIP}], **fields)


def only(rig: Rig, place: str, address: str = IP, port: int = 80, protocol: str = "TCP") -> str:
    """The one endpoint that all of many connections come to."""
    (name,) = rig.ask_many(place, address, port, protocol)
    return name


@pytest.mark.parametrize("place", PLACES)
def test_a_client_keeps_its_endpoint_from_its_first_connection_on(rig: Rig, place: str) -> None:
    """1.6: 100 % of new connections, whatever their source port; pods, hosts outside and the node itself."""
    rig.begin(sticky(), a_slice(*PODS))
    first = rig.ask(place, IP, 80).by
    for _ in range(3):
        assert only(rig, place) == first


def test_a_client_keeps_its_endpoint_for_udp_and_ipv6(rig: Rig) -> None:
    """1.6: every protocol and family."""
    service = sticky(ports=[a_port(), a_port(53, "dns", "UDP")])
    four = [{"name": "dns", "protocol": "UDP", "port": 8080}]
    rig.begin(service, a_slice(*PODS, ports=four), a_slice(*(an_endpoint(pod, 1) for pod in PODS)))
    first = rig.ask("client", IP, 53, "UDP").by
    assert only(rig, "client", IP, 53, "UDP") == first
    first = rig.ask("client", IP6, 80).by
    assert only(rig, "client", IP6) == first


def test_affinity_is_shared_by_all_frontends_of_a_service_port(rig: Rig) -> None:
    """1.6: keyed by the client's address only, and not by the address it dials."""
    rig.begin(sticky(), a_slice(*PODS))
    found = {
        only(rig, "client", address, port)
        for address, port in ((IP, 80), (EXTERNAL, 80), (VIP, 80), (NODE[0], 30080), (IP, 80))
    }
    assert len(found) == 1


def test_each_service_port_has_an_affinity_of_its_own(rig: Rig) -> None:
    """1.6: per ServicePort: what one port remembers, another does not know."""
    ports = [a_port(), a_port(443, "admin")]
    pieces = a_slice("web-1", name="http"), a_slice("far-1", name="a", ports=[_named("admin", 8080)])
    rig.begin(sticky(ports=ports), *pieces)
    assert only(rig, "client", IP, 80) == "web-1"
    assert only(rig, "client", IP, 443) == "far-1"
    rig.apply(
        a_slice("web-1", "far-1", name="http"), a_slice("web-1", "far-1", name="a", ports=[_named("admin", 8080)])
    )
    assert only(rig, "client", IP, 80) == "web-1"
    assert only(rig, "client", IP, 443) == "far-1"


def test_each_client_has_an_affinity_of_its_own(rig: Rig) -> None:
    """1.6: a client that comes while there is another endpoint keeps that one, beside the first client."""
    rig.begin(sticky(), a_slice("web-1"))
    assert only(rig, "client") == "web-1"
    rig.apply(a_slice("far-1"))
    assert only(rig, "node-2") == "far-1"
    rig.apply(a_slice("web-1", "far-1"))
    assert only(rig, "node-2") == "far-1"


def test_affinity_is_kept_while_other_endpoints_come_and_go(rig: Rig) -> None:
    """1.6: only the removal of its own endpoint ends it."""
    rig.begin(sticky(), a_slice(*PODS))
    first = only(rig, "client")
    others = [pod for pod in PODS if pod != first]
    for pods in ((first, *others[:2]), (others[0], first), (first,), (*others, first)):
        rig.apply(a_slice(*pods))
        assert only(rig, "client") == first, pods


def test_affinity_ends_with_the_removal_of_its_endpoint(rig: Rig) -> None:
    """1.6: the client gets another endpoint at once, and keeps that one when the old one is back."""
    rig.begin(sticky(), a_slice(*PODS))
    first = only(rig, "client")
    rig.apply(a_slice(*(pod for pod in PODS if pod != first)))
    second = only(rig, "client")
    assert second != first
    rig.apply(a_slice(*PODS))
    assert only(rig, "client") == second


def test_affinity_ends_with_its_time_and_every_new_connection_begins_it_anew(rig: Rig) -> None:
    """1.6: `timeoutSeconds` after the last new connection, and not after the first."""
    rig.begin(sticky(2), a_slice("web-1"))
    assert rig.ask("client", IP, 80).by == "web-1"
    rig.apply(a_slice("web-1", "far-1"))
    began = last = time.monotonic()
    while time.monotonic() - began < 2.5:
        assert rig.ask("client", IP, 80).by == "web-1"
        assert time.monotonic() - last < 2, "this machine is too busy to keep to the time"
        last = time.monotonic()
        time.sleep(0.1)
    wait_until(lambda: not rig.remembered(), "affinity never ends")
    assert 1 < time.monotonic() - last < DEADLINE
    found = {rig.ask("client", IP, 80).by}
    for _ in range(8):
        wait_until(lambda: not rig.remembered(), "affinity never ends")
        found.add(rig.ask("client", IP, 80).by)
        if len(found) == 2:
            break
    assert found == {"web-1", "far-1"}


def test_without_a_timeout_affinity_lasts_three_hours(rig: Rig) -> None:
    """1.6: default 10800 seconds."""
    rig.begin(sticky(), a_slice(*PODS))
    only(rig, "client")
    assert all(10700 < seconds <= 10800 for seconds in rig.remembered())
    assert rig.remembered()


def test_a_changed_timeout_holds_from_the_next_connection_on(rig: Rig) -> None:
    """1.6: sessionAffinityConfig.clientIP.timeoutSeconds, at most 86400."""
    rig.begin(sticky(100), a_slice("web-1"))
    only(rig, "client")
    rig.apply(sticky(86400))
    only(rig, "client")
    assert max(rig.remembered()) > 80000


def test_affinity_chooses_among_local_endpoints_under_policy_local(rig: Rig) -> None:
    """1.6 and 1.5: sessionAffinity and externalTrafficPolicy Local combine."""
    rig.begin(sticky(externalTrafficPolicy="Local"), a_slice(*PODS))
    first = only(rig, "client", EXTERNAL)
    assert first in ("web-1", "web-2")
    assert only(rig, "client", NODE[0], 30080) == first
    rig.apply(a_slice(*(pod for pod in PODS if pod != first)))
    assert only(rig, "client", EXTERNAL) == ({"web-1", "web-2"} - {first}).pop()


def test_without_affinity_any_more_connections_are_spread_again(rig: Rig) -> None:
    """1.6: sessionAffinity None."""
    rig.begin(sticky(), a_slice(*PODS))
    only(rig, "client")
    rig.apply(sticky(sessionAffinity="None"))
    assert rig.ask_many("client", IP, 80, times=64) == set(PODS)


def test_affinity_survives_a_restart_of_the_agent(rig: Rig) -> None:
    """1.6: rows that rules have added are state: an agent that starts beside them leaves them alone."""
    objects = sticky(), a_slice(*PODS)
    rig.begin(*objects)
    first = only(rig, "client")
    rig.restart(*objects)
    for _ in range(3):
        assert only(rig, "client") == first


def _named(name: str, port: int) -> Document:
    return {"name": name, "protocol": "TCP", "port": port}
