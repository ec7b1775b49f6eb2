"""The node agent's machine: nothing before all is known, only differences after, and the same end by any way."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.agents.node.machine import NodeMachine
from fairlead.drivers.kubeapi import Applied, Deleted, Replaced
from fairlead.kube.core import Node, NodeAddress, NodeStatus, Service, ServicePort, ServiceSpec
from fairlead.kube.discovery import Endpoint, EndpointConditions, EndpointSlice, SlicePort
from fairlead.kube.meta import ObjectMeta

NODE = Node(
    metadata=ObjectMeta(name="node-1"),
    status=NodeStatus(addresses=(NodeAddress(type="InternalIP", address="172.18.0.2"),)),
)


def service(name: str, ip: str, port: int = 80, node_port: int = 0, created: str = "2026-01-01T00:00:00Z") -> Service:
    return Service(
        metadata=ObjectMeta(name=name, namespace="n", creation_timestamp=created),
        spec=ServiceSpec(cluster_ip=ip, cluster_ips=(ip,), ports=(ServicePort(port=port, node_port=node_port),)),
    )


def piece(name: str, of: str, *addresses: str, ready: bool = True) -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(name=name, namespace="n", labels={"kubernetes.io/service-name": of}),
        address_type="IPv4",
        endpoints=tuple(Endpoint(addresses=(a,), conditions=EndpointConditions(ready=ready)) for a in addresses),
        ports=(SlicePort(name="", port=8080, protocol="TCP"),),
    )


def synced(*services: Service, slices: tuple[EndpointSlice, ...] = ()) -> NodeMachine:
    machine = NodeMachine("node-1")
    machine.take_nodes(Replaced((NODE,)))
    machine.take_services(Replaced(services))
    machine.take_slices(Replaced(slices))
    return machine


def keys(changes: dict[Any, Any]) -> dict[str, int | None]:
    return {f"{k.address}:{k.port}": None if f is None else len(f.backends) for k, f in changes.items()}


def test_nothing_is_asked_for_before_services_slices_and_node_are_listed() -> None:
    machine = NodeMachine("node-1")
    machine.take_services(Replaced((service("a", "10.96.0.1"),)))
    assert not machine.pending
    machine.take_nodes(Replaced(()))
    assert not machine.pending
    machine.take_slices(Replaced(()))
    assert machine.pending


def test_a_round_returns_only_what_differs() -> None:
    machine = synced(service("a", "10.96.0.1"), service("b", "10.96.0.2"), slices=(piece("s", "a", "10.244.1.2"),))
    assert keys(machine.round().changes) == {"10.96.0.1:80": 1, "10.96.0.2:80": 0}
    machine.take_slices(Applied(piece("s", "a", "10.244.1.2", "10.244.1.3")))
    assert keys(machine.round().changes) == {"10.96.0.1:80": 2}
    machine.take_slices(Applied(piece("s", "a", "10.244.1.3", "10.244.1.2")))
    assert machine.round().changes == {}


def test_a_service_that_goes_takes_its_frontends_along() -> None:
    machine = synced(service("a", "10.96.0.1"))
    machine.round()
    machine.take_services(Deleted(service("a", "10.96.0.1")))
    assert keys(machine.round().changes) == {"10.96.0.1:80": None}
    assert machine.frontends() == {}


def test_a_list_after_a_gap_removes_what_was_missed() -> None:
    machine = synced(service("a", "10.96.0.1"), service("b", "10.96.0.2"), slices=(piece("s", "b", "10.244.1.2"),))
    machine.round()
    machine.take_services(Replaced((service("b", "10.96.0.2"),)))
    machine.take_slices(Replaced(()))
    assert keys(machine.round().changes) == {"10.96.0.1:80": None, "10.96.0.2:80": 0}


def test_a_slice_that_moves_to_another_service_leaves_the_first() -> None:
    machine = synced(service("a", "10.96.0.1"), service("b", "10.96.0.2"), slices=(piece("s", "a", "10.244.1.2"),))
    machine.round()
    machine.take_slices(Applied(piece("s", "b", "10.244.1.2")))
    assert keys(machine.round().changes) == {"10.96.0.1:80": 0, "10.96.0.2:80": 1}


def test_of_two_services_with_one_address_and_port_the_older_has_it_and_the_other_is_told() -> None:
    young = service("young", "10.96.0.1", created="2026-02-01T00:00:00Z")
    old = service("old", "10.96.0.1")
    machine = synced(
        young, old, slices=(piece("y", "young", "10.244.1.2"), piece("o", "old", "10.244.1.2", "10.244.1.3"))
    )
    found = machine.round()
    assert keys(found.changes) == {"10.96.0.1:80": 2}
    assert [str(f.origin) for f in found.findings] == ["Service n/young spec.ports[0].port"]
    machine.take_services(Deleted(old))
    assert keys(machine.round().changes) == {"10.96.0.1:80": 1}


def test_node_ports_follow_the_nodes_address() -> None:
    machine = synced(service("a", "10.96.0.1", node_port=30080))
    assert "172.18.0.2:30080" in keys(machine.round().changes)
    moved = NodeStatus(addresses=(NodeAddress(type="InternalIP", address="172.18.0.9"),))
    machine.take_nodes(Applied(Node(metadata=NODE.metadata, status=moved)))
    assert keys(machine.round().changes) == {"172.18.0.2:30080": None, "172.18.0.9:30080": 0}


def test_a_node_that_goes_leaves_the_traffic_alone() -> None:
    machine = synced(service("a", "10.96.0.1", node_port=30080))
    machine.round()
    machine.take_nodes(Deleted(NODE))
    assert not machine.pending


names = st.sampled_from(["a", "b", "c"])
services = st.builds(
    service,
    names,
    st.sampled_from(["10.96.0.1", "10.96.0.2"]),
    st.sampled_from([80, 81]),
    st.sampled_from([0, 30080]),
    st.sampled_from(["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"]),
)


def drawn_piece(name: str, of: str, addresses: list[str], ready: bool) -> EndpointSlice:
    return piece(name, of, *addresses, ready=ready)


slices = st.builds(
    drawn_piece,
    st.sampled_from(["s", "t"]),
    names,
    st.lists(st.sampled_from(["10.244.1.2", "10.244.1.3", "10.244.2.2"]), unique=True),
    st.booleans(),
)
steps = st.lists(
    st.one_of(
        services.map(lambda s: ("service", s)),
        slices.map(lambda s: ("slice", s)),
        names.map(lambda n: ("no service", n)),
        st.sampled_from(["s", "t"]).map(lambda n: ("no slice", n)),
        st.just(("round", None)),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_any_sequence_of_changes_ends_where_a_fresh_start_would(sequence: list[tuple[str, Any]]) -> None:
    machine = synced()
    live_services: dict[str, Service] = {}
    live_slices: dict[str, EndpointSlice] = {}
    programmed: dict[Any, Any] = {}

    def do_round() -> None:
        for key, frontend in machine.round().changes.items():
            if frontend is None:
                del programmed[key]
            else:
                programmed[key] = frontend

    for kind, value in sequence:
        if kind == "service":
            live_services[value.metadata.name] = value
            machine.take_services(Applied(value))
        elif kind == "slice":
            live_slices[value.metadata.name] = value
            machine.take_slices(Applied(value))
        elif kind == "no service" and value in live_services:
            machine.take_services(Deleted(live_services.pop(value)))
        elif kind == "no slice" and value in live_slices:
            machine.take_slices(Deleted(live_slices.pop(value)))
        elif kind == "round":
            do_round()
    do_round()
    fresh = synced(*live_services.values(), slices=tuple(live_slices.values()))
    assert programmed == fresh.round().changes == machine.frontends()
