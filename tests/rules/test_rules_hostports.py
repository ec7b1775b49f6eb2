"""Ports of the node that lead to one pod, each rule on real packets. Source: issue 3; CNI's portmap plugin."""

from typing import Any

import pytest
from rule_hosts import HOSTS, NODE, SECONDARY, Answer
from rule_rig import Document, Rig, a_port, a_service, a_slice

pytestmark = pytest.mark.kernel

REFUSED = Answer("refused")
EVERYWHERE = ("web-2", "far-1", "client", "node-2")


def a_pod(host: str = "web-1", phase: str = "Running", spec: Document | None = None, **port: Any) -> Document:
    """A pod of this node with one host port, 9000 by itself, that leads to its port 8080."""
    own = {"containerPort": 8080, "hostPort": 9000, "protocol": "TCP", **port}
    addresses = HOSTS[host]
    return {
        "kind": "Pod",
        "metadata": {"name": host, "namespace": "shop"},
        "spec": {"nodeName": "node-1", "containers": [{"name": "it", "ports": [own]}], **(spec or {})},
        "status": {"phase": phase, "podIP": addresses[0], "podIPs": [{"ip": each} for each in addresses]},
    }


@pytest.mark.parametrize("place", EVERYWHERE)
def test_a_host_port_leads_to_its_pod_and_keeps_the_client_s_address(rig: Rig, place: str) -> None:
    """On the node's address of each family."""
    rig.begin(a_pod())
    assert rig.ask(place, NODE[0], 9000) == Answer("answered", "web-1", HOSTS[place][0])
    assert rig.ask(place, NODE[1], 9000) == Answer("answered", "web-1", HOSTS[place][1])


def test_the_node_itself_reaches_a_host_port(rig: Rig) -> None:
    """In the output hook."""
    rig.begin(a_pod())
    assert rig.ask("node", NODE[0], 9000).by == "web-1"


def test_a_host_port_is_not_open_on_localhost(rig: Rig) -> None:
    """As node ports."""
    rig.begin(a_pod())
    for address in ("127.0.0.1", "::1"):
        assert rig.ask("node", address, 9000) == REFUSED


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1"])
def test_a_host_ip_of_loopback_opens_nothing(rig: Rig, address: str) -> None:
    """The caller hears so at once: the kernel would drop what comes from there for a pod, and leave it waiting."""
    rig.begin(a_pod(hostIP=address))
    assert rig.ask("node", address, 9000) == REFUSED
    assert rig.ask("client", NODE[0], 9000) == REFUSED


def test_a_host_port_may_be_udp(rig: Rig) -> None:
    """The protocol is part of it: TCP stays closed."""
    rig.begin(a_pod(protocol="UDP"))
    assert rig.ask("client", NODE[0], 9000, "UDP").by == "web-1"
    assert rig.ask("client", NODE[0], 9000) == REFUSED


def test_a_host_ip_opens_the_port_at_that_address_alone(rig: Rig) -> None:
    """`hostIP`: here the node's second address."""
    rig.begin(a_pod(hostIP=SECONDARY[0]))
    assert rig.ask("client", SECONDARY[0], 9000).by == "web-1"
    assert rig.ask("client", NODE[0], 9000) == REFUSED


def test_a_pod_that_dials_its_own_host_port_sees_its_node(rig: Rig) -> None:
    """Hairpin."""
    rig.begin(a_pod())
    assert rig.ask("web-1", NODE[0], 9000) == Answer("answered", "web-1", NODE[0])


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_host_port_is_closed_with_the_end_of_its_pod(rig: Rig, phase: str) -> None:
    """By its phase, and by its deletion."""
    rig.begin(a_pod())
    assert rig.ask("client", NODE[0], 9000).by == "web-1"
    rig.apply(a_pod(phase=phase))
    assert rig.ask("client", NODE[0], 9000) == REFUSED
    rig.apply(a_pod("web-2"))
    assert rig.ask("client", NODE[0], 9000).by == "web-2"
    rig.delete(a_pod("web-2"))
    assert rig.ask("client", NODE[0], 9000) == REFUSED


def test_pods_of_other_nodes_and_of_the_node_s_own_network_open_nothing_here(rig: Rig) -> None:
    """A pod on the node's network listens by itself."""
    rig.begin(a_pod("far-1", spec={"nodeName": "node-2"}), a_pod(spec={"hostNetwork": True}, hostPort=8080))
    assert rig.ask("client", NODE[0], 9000) == REFUSED
    assert rig.ask("client", NODE[0], 8080) == REFUSED


def test_host_ports_and_node_ports_stand_beside_each_other(rig: Rig) -> None:
    """Each its own number."""
    service = a_service(type="NodePort", ports=[a_port(node_port=30080)])
    rig.begin(a_pod(), service, a_slice("far-1"))
    assert rig.ask("client", NODE[0], 9000).by == "web-1"
    assert rig.ask("client", NODE[0], 30080).by == "far-1"
