"""Does a trace through the external load balancer say what its rows do, and why where it does not arrive?"""

from typing import Any

import msgspec
import pytest

from fairlead.kube.core import Node, Pod, Service
from fairlead.kube.discovery import EndpointSlice
from fairlead.net import Protocol
from fairlead.sim.answers import Disposition, Trace
from fairlead.sim.telling import tell_trace
from fairlead.sim.trace import trace_connection
from fairlead.sim.world import World

VIP, PODS = "203.0.113.1", {"node-1": "10.244.1.2", "node-2": "10.244.2.2"}


def a_node(number: int, *, ready: bool = True, **spec: Any) -> Node:
    status = {
        "conditions": [{"type": "Ready", "status": str(ready)}],
        "addresses": [{"type": "InternalIP", "address": f"172.18.0.{number + 1}"}],
    }
    spec = {"podCIDR": f"10.244.{number}.0/24", **spec}
    return msgspec.convert({"metadata": {"name": f"node-{number}"}, "spec": spec, "status": status}, Node)


def world(*nodes: Node, on: tuple[str, ...] = ("node-1", "node-2"), **spec: Any) -> World:
    """A Service of type LoadBalancer with a pod on each of these nodes."""
    ports = [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]
    service = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "10.96.0.9",
            "ports": ports,
            "healthCheckNodePort": 31000,
            **spec,
        },
        "status": {"loadBalancer": {"ingress": [{"ip": VIP}]}},
    }
    endpoints = [{"addresses": [PODS[name]], "nodeName": name, "conditions": {"ready": True}} for name in on]
    piece = {
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
    }
    pods = [
        {
            "metadata": {"name": f"web-{name}", "namespace": "default"},
            "spec": {"nodeName": name, "containers": [{"name": "web", "ports": [{"containerPort": 8080}]}]},
            "status": {"phase": "Running", "podIP": PODS[name]},
        }
        for name in on
    ]
    return World.of(
        nodes or (a_node(1), a_node(2)),
        [msgspec.convert(each, Pod) for each in pods],
        [msgspec.convert(service, Service)],
        [msgspec.convert(piece, EndpointSlice)],
    )


def traced(of: World, target: str = f"{VIP}:80") -> Trace:
    return trace_connection(of, "client", target, Protocol.TCP)


def places(found: Trace) -> set[tuple[str, ...]]:
    return {tuple(hop.place for hop in end.hops) for end in found.ends}


def test_a_connection_goes_by_the_host_and_every_node_to_every_pod() -> None:
    found = traced(world())
    assert found.disposition is Disposition.DELIVERED
    assert len(found.ends) == 4, "two nodes, two pods each"
    assert places(found) == {
        ("client", "lb", "node/node-1"),
        ("client", "lb", "node/node-2"),
        ("client", "lb", "node/node-1", "node/node-2"),
        ("client", "lb", "node/node-2", "node/node-1"),
    }
    assert "goto pick-2" in tell_trace(found)


def test_under_policy_local_pods_see_the_client_and_no_node_is_asked_in_vain() -> None:
    found = traced(world(on=("node-2",), externalTrafficPolicy="Local"))
    assert places(found) == {("client", "lb", "node/node-2")}
    assert {end.seen_as for end in found.ends} == {"198.51.100.2"}


def test_a_node_that_drains_gets_nothing() -> None:
    found = traced(world(a_node(1), a_node(2, unschedulable=True)))
    assert {hop.place for end in found.ends for hop in end.hops[:3]} == {"client", "lb", "node/node-1"}


@pytest.mark.parametrize(
    ("of", "disposition", "words"),
    [
        (world(a_node(1, ready=False)), Disposition.REJECTED, "no node: none is ready"),
        (world(externalTrafficPolicy="Local", on=()), Disposition.REJECTED, "no node: none is ready and has a pod"),
        (world(loadBalancerSourceRanges=["192.0.2.0/24"]), Disposition.DROPPED, "only 192.0.2.0-192.0.2.255 may come"),
        (world(loadBalancerClass="fairlead.dev/l2"), Disposition.NO_ROUTE, "it is in no IPAddressPool"),
    ],
)
def test_what_does_not_arrive_says_why(of: World, disposition: Disposition, words: str) -> None:
    found = traced(of)
    assert found.disposition is disposition
    assert words in found.ends[0].reason


def test_a_port_nobody_serves_ends_at_the_host() -> None:
    (end,) = traced(world(), f"{VIP}:81").ends
    assert (end.disposition, end.place) == (Disposition.NO_LISTENER, "lb")
