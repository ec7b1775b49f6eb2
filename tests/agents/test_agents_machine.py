"""Does the node agent end at the same frontends, whatever the order in which it heard of things?"""

import pytest
from agent_objects import a_node, a_pod, a_service, a_slice
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fairlead.agents.node.machine import NodeMachine
from fairlead.agents.node.objects import ServiceObjects
from fairlead.compile.services import ZONE_LABEL
from fairlead.drivers.kubeapi import Applied, Deleted, Replaced
from fairlead.kube.core import Node, Service
from fairlead.kube.discovery import EndpointHints, EndpointSlice, ForName
from fairlead.kube.meta import ObjectMeta
from fairlead.model import Frontend, FrontendKey, Masquerade
from fairlead.net import parse_prefix


def a_machine(
    services: tuple[Service, ...] = (), slices: tuple[EndpointSlice, ...] = ()
) -> tuple[ServiceObjects, NodeMachine]:
    objects = ServiceObjects("node-1")
    machine = NodeMachine(objects)
    objects.take_services(Replaced(services))
    objects.take_slices(Replaced(tuple(map(objects.keep_slice, slices))))
    objects.take_pods(Replaced(()))
    objects.take_nodes(Replaced((a_node("172.18.0.9", "another"), a_node())))
    return objects, machine


def shown(frontends: dict[FrontendKey, Frontend | None] | dict[FrontendKey, Frontend]) -> dict[str, list[str] | None]:
    return {
        f"{key.address}:{key.port}": [str(backend.address) for backend in frontend.backends] if frontend else None
        for key, frontend in frontends.items()
    }


def test_nothing_is_programmed_before_all_kinds_were_listed() -> None:
    objects = ServiceObjects("node-1")
    machine = NodeMachine(objects)
    objects.take_services(Replaced((a_service("web", "10.96.0.1"),)))
    objects.take_slices(Replaced((objects.keep_slice(a_slice("web-1", "web", "10.244.1.2")),)))
    assert not objects.synced
    assert not machine.pending
    objects.take_nodes(Replaced((a_node(),)))
    assert not machine.pending
    objects.take_pods(Replaced(()))
    assert machine.pending
    assert shown(machine.round().changes) == {"10.96.0.1:80": ["10.244.1.2"]}
    assert not machine.pending
    assert objects.pod_prefixes == (parse_prefix("10.244.1.0/24"),)


def test_a_round_holds_only_what_the_events_touched() -> None:
    objects, machine = a_machine(
        (a_service("web", "10.96.0.1"), a_service("db", "10.96.0.2")),
        (a_slice("web-1", "web", "10.244.1.2"), a_slice("db-1", "db", "10.244.1.3")),
    )
    machine.round()
    objects.take_slices(Applied(objects.keep_slice(a_slice("web-1", "web", "10.244.1.2", "10.244.1.4"))))
    found = machine.round()
    assert shown(found.changes) == {"10.96.0.1:80": ["10.244.1.2", "10.244.1.4"]}
    assert found.services == {("shop", "web")}


def test_when_the_nodes_zone_changes_every_service_is_looked_at_and_hints_choose_anew() -> None:
    piece = a_slice("web-1", "web", "10.244.1.2", "10.244.2.2")
    endpoints = [
        replace(each, hints=EndpointHints(for_zones=(ForName(zone),)))
        for each, zone in zip(piece.endpoints, "ab", strict=True)
    ]
    objects, machine = a_machine((a_service("web", "10.96.0.1"),), (replace(piece, endpoints=tuple(endpoints)),))
    machine.round()
    for zone, address in (("a", "10.244.1.2"), ("b", "10.244.2.2")):
        objects.take_nodes(Applied(replace(a_node(), metadata=ObjectMeta(name="node-1", labels={ZONE_LABEL: zone}))))
        assert shown(machine.round().changes) == {"10.96.0.1:80": [address]}
        assert not machine.pending


def test_an_event_that_changes_no_endpoint_asks_for_nothing() -> None:
    objects, machine = a_machine((a_service("web", "10.96.0.1"),), (a_slice("web-1", "web", "10.244.1.2"),))
    machine.round()
    objects.take_slices(Applied(objects.keep_slice(a_slice("web-1", "web", "10.244.1.2"))))
    assert not machine.pending


def test_a_deleted_service_takes_its_frontends_along() -> None:
    objects, machine = a_machine((a_service("web", "10.96.0.1", 30080),), (a_slice("web-1", "web", "10.244.1.2"),))
    machine.round()
    objects.take_services(Deleted(a_service("web", "10.96.0.1", 30080)))
    assert shown(machine.round().changes) == {"10.96.0.1:80": None, "172.18.0.2:30080": None}
    assert machine.frontends() == {}


def test_a_slice_that_moves_to_another_service_leaves_the_first() -> None:
    objects, machine = a_machine(
        (a_service("web", "10.96.0.1"), a_service("db", "10.96.0.2")), (a_slice("s", "web", "10.244.1.2"),)
    )
    machine.round()
    objects.take_slices(Applied(objects.keep_slice(a_slice("s", "db", "10.244.1.2"))))
    assert shown(machine.round().changes) == {"10.96.0.1:80": [], "10.96.0.2:80": ["10.244.1.2"]}


def test_node_ports_follow_the_address_of_the_node() -> None:
    objects, machine = a_machine((a_service("web", "10.96.0.1", 30080),))
    machine.round()
    objects.take_nodes(Applied(a_node("172.18.0.77")))
    assert shown(machine.round().changes) == {"172.18.0.2:30080": None, "172.18.0.77:30080": []}


def test_with_masquerade_all_every_client_of_a_cluster_ip_is_masqueraded() -> None:
    objects, _ = a_machine((a_service("web", "10.96.0.1"),), (a_slice("web-1", "web", "10.244.1.2"),))
    for everybody, masquerade in ((False, Masquerade.UNLESS_LOCAL_POD), (True, Masquerade.ALWAYS)):
        machine = NodeMachine(objects, masquerade_all=everybody)
        machine.touch(("shop", "web"), None)
        (frontend,) = machine.round().changes.values()
        assert frontend is not None
        assert frontend.masquerade is masquerade


def test_source_ranges_are_looked_at_again_when_the_nodes_address_changes() -> None:
    service = a_service("web", "10.96.0.1")
    ranged = replace(service, spec=replace(service.spec, load_balancer_source_ranges=("172.18.0.0/16",)))
    objects, machine = a_machine((ranged,))
    machine.round()
    objects.take_nodes(Applied(a_node("10.9.9.9")))
    assert machine.round().services == {("shop", "web")}


def test_an_older_state_of_an_object_is_no_news() -> None:
    objects, machine = a_machine((a_service("web", "10.96.0.1"),))
    newer, older = a_slice("web-1", "web", "10.244.1.3"), a_slice("web-1", "web", "10.244.1.2")
    for version, piece in ((12, newer), (9, older)):
        versioned = replace(piece, metadata=replace(piece.metadata, resource_version=str(version)))
        objects.take_slices(Applied(objects.keep_slice(versioned)))
    assert shown(machine.round().changes) == {"10.96.0.1:80": ["10.244.1.3"]}


def test_a_host_port_leads_to_its_pod_while_that_runs_here() -> None:
    objects, machine = a_machine()
    objects.take_pods(Replaced((objects.keep_pod(a_pod("web", "10.244.1.7")), objects.keep_pod(a_pod("db")))))
    found = machine.round().changes
    assert shown(found) == {"172.18.0.2:8081": ["10.244.1.7"]}
    (frontend,) = found.values()
    assert frontend is not None
    assert (str(frontend.origin), frontend.backends[0].port) == (
        "Pod shop/web spec.containers[0].ports[0].hostPort",
        8080,
    )
    assert frontend.masquerade is Masquerade.NEVER
    for gone in (
        a_pod("web", "10.244.1.7", nodeName="node-2"),
        a_pod("web", "10.244.1.7", hostNetwork=True),
        a_pod("web", "10.244.1.7", host_port=0),
    ):
        objects.take_pods(Applied(objects.keep_pod(gone)))
        assert shown(machine.round().changes) == {"172.18.0.2:8081": None}
        objects.take_pods(Applied(objects.keep_pod(a_pod("web", "10.244.1.7"))))
        assert shown(machine.round().changes) == {"172.18.0.2:8081": ["10.244.1.7"]}
    ended = a_pod("web", "10.244.1.7")
    objects.take_pods(Applied(objects.keep_pod(replace(ended, status=replace(ended.status, phase="Failed")))))
    assert shown(machine.round().changes) == {"172.18.0.2:8081": None}


def test_a_host_port_with_an_address_opens_there_alone_and_follows_the_node_without_one() -> None:
    objects, machine = a_machine()
    pods = (a_pod("a", "10.244.1.7", host_ip="192.0.2.7"), a_pod("b", "10.244.1.8", host_port=9000, host_ip="0.0.0.0"))
    objects.take_pods(Replaced(tuple(map(objects.keep_pod, pods))))
    assert shown(machine.round().changes) == {"192.0.2.7:8081": ["10.244.1.7"], "172.18.0.2:9000": ["10.244.1.8"]}
    objects.take_nodes(Applied(a_node("10.9.9.9")))
    assert shown(machine.round().changes) == {"172.18.0.2:9000": None, "10.9.9.9:9000": ["10.244.1.8"]}


def test_a_host_port_that_a_node_port_has_belongs_to_the_older_of_the_two() -> None:
    young = a_service("web", "10.96.0.1", 30080, created="2026-02-02T00:00:00Z")
    objects, machine = a_machine((young,))
    objects.take_pods(Applied(objects.keep_pod(a_pod("old", "10.244.1.7", host_port=30080))))
    found = machine.round()
    assert shown(found.changes)["172.18.0.2:30080"] == ["10.244.1.7"]
    assert "already belongs to Pod shop/old" in found.findings[0].message


def test_what_a_node_says_wrong_is_passed_over() -> None:
    objects, machine = a_machine((a_service("web", "10.96.0.1", 30080),))
    machine.round()
    wrong = a_node("node-1.example", cidrs=("10.244.1.1/24", "10.244.2.0/24"))
    objects.take_nodes(Applied(wrong))
    assert objects.pod_prefixes == (parse_prefix("10.244.2.0/24"),)
    assert shown(machine.round().changes) == {"172.18.0.2:30080": None}


def test_services_do_not_wait_for_pods_that_are_not_shown() -> None:
    objects = ServiceObjects("node-1")
    objects.take_services(Replaced(()))
    objects.take_slices(Replaced(()))
    objects.take_nodes(Replaced((a_node(),)))
    assert not objects.synced
    objects.do_without_pods()
    assert objects.synced


def test_a_frontend_claimed_twice_belongs_to_the_older_service_until_that_goes() -> None:
    old, new = a_service("z-old", "10.96.0.1"), a_service("a-new", "10.96.0.1", created="2026-02-02T00:00:00Z")
    objects, machine = a_machine((new, old), (a_slice("1", "z-old", "10.244.1.2"), a_slice("2", "a-new", "10.244.1.3")))
    found = machine.round()
    assert shown(found.changes) == {"10.96.0.1:80": ["10.244.1.2"]}
    assert [finding.origin.name for finding in found.findings] == ["a-new"]
    assert "shop/z-old" in found.findings[0].message
    objects.take_services(Deleted(old))
    assert shown(machine.round().changes) == {"10.96.0.1:80": ["10.244.1.3"]}


def slice_of(name: str, service: str, addresses: list[str]) -> EndpointSlice:
    return a_slice(name, service, *addresses)


NAMES, IPS, PODS = ("a", "b", "c"), ("10.96.0.1", "10.96.0.2"), ("10.244.1.2", "10.244.1.3", "10.244.2.2")
SERVICES = st.builds(
    a_service,
    st.sampled_from(NAMES),
    st.sampled_from(IPS),
    st.sampled_from((0, 30080, 30081)),
    st.sampled_from(("2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z")),
    st.sampled_from((80, 81)),
)
SLICES = st.builds(
    slice_of,
    st.sampled_from(("s1", "s2", "s3")),
    st.sampled_from(NAMES),
    st.sets(st.sampled_from(PODS)).map(sorted),
)
EVENTS = st.lists(
    st.one_of(
        SERVICES.map(Applied),
        SERVICES.map(Deleted),
        SLICES.map(Applied),
        SLICES.map(Deleted),
        st.lists(SERVICES, max_size=3).map(lambda items: Replaced(tuple({i.metadata.name: i for i in items}.values()))),
        st.sampled_from(("172.18.0.2", "172.18.0.3")).map(lambda address: Applied(a_node(address))),
        st.none(),
    ),
    max_size=30,
)


@pytest.mark.parametrize("rounds", ["as they come", "at the end"])
@settings(max_examples=150, deadline=None)
@given(events=EVENTS)
def test_incremental_equals_full(rounds: str, events: list[object]) -> None:
    (objects, machine), kernel = a_machine(), dict[FrontendKey, Frontend]()
    services, slices, node = dict[str, Service](), dict[str, EndpointSlice](), a_node()

    def program() -> None:
        for key, frontend in machine.round().changes.items():
            if frontend is None:
                del kernel[key]  # a row that is not there cannot be removed: this raises
            else:
                assert kernel.get(key) != frontend
                kernel[key] = frontend

    for event in events:
        match event:
            case Applied(Service() as item):
                services[item.metadata.name] = item
                objects.take_services(Applied(item))
            case Deleted(Service() as item):
                services.pop(item.metadata.name, None)
                objects.take_services(Deleted(item))
            case Applied(EndpointSlice() as item):
                slices[item.metadata.name] = item
                objects.take_slices(Applied(objects.keep_slice(item)))
            case Deleted(EndpointSlice() as item):
                slices.pop(item.metadata.name, None)
                objects.take_slices(Deleted(objects.keep_slice(item)))
            case Replaced(items):
                services = {item.metadata.name: item for item in items if isinstance(item, Service)}
                objects.take_services(Replaced(tuple(services.values())))
            case Applied(Node() as item):
                node = item
                objects.take_nodes(Applied(item))
            case _ if rounds == "as they come":
                program()
            case _:
                continue
    program()
    fresh_objects = ServiceObjects("node-1")
    fresh = NodeMachine(fresh_objects)
    fresh_objects.take_services(Replaced(tuple(services.values())))
    fresh_objects.take_slices(Replaced(tuple(map(objects.keep_slice, slices.values()))))
    fresh_objects.take_pods(Replaced(()))
    fresh_objects.take_nodes(Replaced((node,)))
    fresh.round()
    assert kernel == machine.frontends() == fresh.frontends()
