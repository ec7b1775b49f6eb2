"""EndpointSlices: which endpoints, in which slices, with how few writes."""

from collections.abc import Sequence

import msgspec
import pytest

from fairlead.cluster.controllers.actions import Action, Create, Delete, Patch
from fairlead.cluster.controllers.slices import Located, locate_pod, reconcile_slices
from fairlead.kube.containers import Container, ContainerPort
from fairlead.kube.core import Pod, Service, ServicePort, ServiceSpec
from fairlead.kube.discovery import EndpointSlice
from fairlead.kube.documents import items_at, text_at
from fairlead.kube.meta import Condition, ObjectMeta
from fairlead.kube.pods import PodIP, PodSpec, PodStatus

SERVICE = Service(
    metadata=ObjectMeta(name="web", namespace="shop", uid="s"),
    spec=ServiceSpec(
        selector={"app": "web"}, ports=(ServicePort(name="http", port=80, target_port="http"),), ip_families=("IPv4",)
    ),
)


def pod(number: int, *, ready: bool = True, deleting: bool = False, port: int = 8080, phase: str = "Running") -> Pod:
    return Pod(
        metadata=ObjectMeta(
            name=f"web-{number}",
            namespace="shop",
            uid=f"u{number}",
            deletion_timestamp="2026-11-23T00:00:00Z" if deleting else None,
        ),
        spec=PodSpec(
            node_name="node-1",
            containers=(Container(name="c", ports=(ContainerPort(name="http", container_port=port),)),),
        ),
        status=PodStatus(
            phase=phase,
            pod_ip=f"10.244.{number // 250}.{number % 250}",
            pod_ips=(PodIP(ip=f"10.244.{number // 250}.{number % 250}"),),
            conditions=(Condition(type="Ready", status="True" if ready else "False"),),
        ),
    )


def locate(pods: Sequence[Pod], service: Service = SERVICE) -> dict[str, Sequence[Located]]:
    found = [locate_pod(service, each, "IPv4", "") for each in pods]
    return {"IPv4": [each for each in found if each is not None]}


class Slices:
    """Slices as a server would keep them."""

    def __init__(self) -> None:
        self.stored: dict[str, EndpointSlice] = {}
        self.made = 0

    def reconcile(self, pods: Sequence[Pod], service: Service = SERVICE) -> list[str]:
        """Carry out what is asked for; return the kinds of writes."""
        actions = reconcile_slices(service, locate(pods, service), self.stored.values())
        for action in actions:
            self._carry_out(action)
        return [type(action).__name__ for action in actions]

    def _carry_out(self, action: Action) -> None:
        match action:
            case Create(document=document):
                self.made += 1
                made = msgspec.convert(document, EndpointSlice)
                name = f"web-{self.made}"
                self.stored[name] = msgspec.structs.replace(
                    made, metadata=msgspec.structs.replace(made.metadata, name=name, uid=name)
                )
            case Patch(name=name, patch=patch):
                old = msgspec.to_builtins(self.stored[name])
                new = msgspec.convert({**old, **{k: v for k, v in patch.items() if k != "metadata"}}, EndpointSlice)
                self.stored[name] = new
            case Delete(name=name):
                del self.stored[name]
            case _:
                raise AssertionError(action)

    @property
    def sizes(self) -> list[int]:
        return sorted(len(each.endpoints) for each in self.stored.values())

    @property
    def addresses(self) -> set[str]:
        return {each.addresses[0] for slice_ in self.stored.values() for each in slice_.endpoints}


@pytest.mark.parametrize(
    ("ready", "deleting", "publish", "expected"),
    [
        pytest.param(True, False, False, (True, True, False), id="a ready pod"),
        pytest.param(False, False, False, (False, False, False), id="a pod not ready yet"),
        pytest.param(True, True, False, (False, True, True), id="an ending pod still serves"),
        pytest.param(False, True, False, (False, False, True), id="an ending pod that fails its probe"),
        pytest.param(False, False, True, (True, False, False), id="published although not ready"),
        pytest.param(True, True, True, (True, True, True), id="published although ending"),
    ],
)
def test_conditions_of_an_endpoint(ready: bool, deleting: bool, publish: bool, expected: tuple[bool, ...]) -> None:
    service = msgspec.structs.replace(
        SERVICE, spec=msgspec.structs.replace(SERVICE.spec, publish_not_ready_addresses=publish)
    )
    located = locate_pod(service, pod(1, ready=ready, deleting=deleting), "IPv4", "zone-a")
    assert located is not None
    conditions = located.endpoint.conditions
    assert (conditions.ready, conditions.serving, conditions.terminating) == expected
    assert located.endpoint.zone == "zone-a"


def test_pods_without_address_or_that_have_ended_are_no_endpoints() -> None:
    assert locate_pod(SERVICE, pod(1, phase="Succeeded"), "IPv4", "") is None
    assert locate_pod(SERVICE, pod(1), "IPv6", "") is None


def test_a_hundred_endpoints_fill_a_slice() -> None:
    slices = Slices()
    assert slices.reconcile([pod(number) for number in range(250)]) == ["Create"] * 3
    assert slices.sizes == [50, 100, 100]


def test_nothing_is_written_when_nothing_changed() -> None:
    slices = Slices()
    pods = [pod(number) for number in range(150)]
    slices.reconcile(pods)
    assert slices.reconcile(list(reversed(pods))) == []


def test_one_pod_that_changes_is_one_write() -> None:
    slices = Slices()
    slices.reconcile([pod(number) for number in range(150)])
    changed = [pod(number, ready=number != 7) for number in range(150)]
    assert slices.reconcile(changed) == ["Patch"]
    assert slices.reconcile(changed) == []


def test_a_pod_replaced_by_another_is_one_write() -> None:
    slices = Slices()
    slices.reconcile([pod(number) for number in range(150)])
    after = [pod(number) for number in range(1, 151)]
    assert slices.reconcile(after) == ["Patch"]
    assert slices.addresses == {each.status.pod_ip for each in after}


def test_a_service_without_pods_keeps_one_empty_slice_that_is_filled_later() -> None:
    slices = Slices()
    assert slices.reconcile([]) == ["Create"]
    assert slices.reconcile([]) == []
    assert slices.reconcile([pod(1)]) == ["Patch"]
    assert slices.sizes == [1]
    assert slices.stored["web-1"].ports[0].port == 8080
    assert slices.reconcile([]) == ["Patch"]
    assert slices.sizes == [0]


def test_a_named_port_with_two_numbers_splits_the_slices() -> None:
    slices = Slices()
    slices.reconcile([pod(1, port=8080), pod(2, port=9090), pod(3, port=8080)])
    by_port = {each.ports[0].port: len(each.endpoints) for each in slices.stored.values()}
    assert by_port == {8080: 2, 9090: 1}


def test_a_port_that_changes_rewrites_the_slice_in_its_place() -> None:
    slices = Slices()
    slices.reconcile([pod(1)])
    renamed = msgspec.structs.replace(
        SERVICE,
        spec=msgspec.structs.replace(SERVICE.spec, ports=(ServicePort(name="web", port=80, target_port=8080),)),
    )
    assert slices.reconcile([pod(1)], renamed) == ["Patch"]
    assert [each.ports[0].name for each in slices.stored.values()] == ["web"]


def test_slices_of_other_authors_are_left_alone() -> None:
    foreign = EndpointSlice(
        metadata=ObjectMeta(name="x", namespace="shop", labels={"kubernetes.io/service-name": "web"}),
        address_type="IPv4",
    )
    actions = reconcile_slices(SERVICE, locate([pod(1)]), [foreign])
    assert [type(each).__name__ for each in actions] == ["Create"]
    created = actions[0]
    assert isinstance(created, Create)
    assert text_at(created.document, "addressType") == "IPv4"
    assert len(items_at(created.document, "endpoints")) == 1


@pytest.mark.parametrize(
    ("wish", "zone", "zones", "nodes"),
    [
        (None, "east", [], []),
        ("PreferSameZone", "east", ["east"], []),
        ("PreferClose", "east", ["east"], []),
        ("PreferSameZone", "", [], []),
        ("PreferSameNode", "east", ["east"], ["node-1"]),
        ("PreferSameNode", "", [], ["node-1"]),
    ],
)
def test_who_is_meant_to_use_an_endpoint(wish: str | None, zone: str, zones: list[str], nodes: list[str]) -> None:
    service = msgspec.structs.replace(SERVICE, spec=msgspec.structs.replace(SERVICE.spec, traffic_distribution=wish))
    found = locate_pod(service, pod(1), "IPv4", zone)
    assert found is not None
    hints = found.endpoint.hints
    shown = ([each.name for each in hints.for_zones], [each.name for each in hints.for_nodes]) if hints else ([], [])
    assert shown == (zones, nodes)
    unready = locate_pod(service, pod(2, ready=False), "IPv4", zone)
    assert unready is not None
    assert unready.endpoint.hints is None
