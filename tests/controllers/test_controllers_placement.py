"""Where pods go: filters with their reasons, and the spread."""

import pytest
from msgspec.structs import replace

from fairlead.cluster.controllers.placement import Placement, Unplaced
from fairlead.kube.containers import Container, ContainerPort, Quantity, ResourceRequirements
from fairlead.kube.core import Node, NodeSpec, NodeStatus, Pod, Taint
from fairlead.kube.meta import ObjectMeta, OwnerReference
from fairlead.kube.pods import (
    Affinity,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodSpec,
    Toleration,
)

DEDICATED = Taint(key="dedicated", value="gpu", effect="NoSchedule")


def node(name: str, *, cpu: str = "2", pods: int = 110, **spec: object) -> Node:
    return Node(
        metadata=ObjectMeta(name=name, labels={"kubernetes.io/hostname": name, "size": "5"}),
        spec=replace(NodeSpec(), **spec),
        status=NodeStatus(allocatable={"cpu": cpu, "memory": "1Gi", "pods": str(pods)}),
    )


def pod(uid: str, *, owner: str = "", host_port: int | None = None, requests: dict[str, Quantity] | None = None) -> Pod:
    owners = (OwnerReference(kind="ReplicaSet", name=owner, uid=owner, controller=True),) if owner else ()
    container = Container(
        name="c",
        ports=(ContainerPort(container_port=80, host_port=host_port),),
        resources=ResourceRequirements(requests=requests or {}),
    )
    return Pod(
        metadata=ObjectMeta(name=uid, namespace="shop", uid=uid, owner_references=owners),
        spec=PodSpec(containers=(container,)),
    )


def placement(*nodes: Node) -> Placement:
    found = Placement()
    for each in nodes:
        found.follow_node(each.metadata.name, each)
    return found


def place_all(found: Placement, pods: list[Pod]) -> list[str]:
    names: list[str] = []
    for each in pods:
        name = found.place(each)
        assert isinstance(name, str)
        found.assume(each, name)
        names.append(name)
    return names


def test_pods_of_an_owner_spread_before_all_pods_do() -> None:
    found = placement(node("a"), node("b"), node("c"))
    assert place_all(found, [pod(f"x{n}", owner="x") for n in range(2)]) == ["a", "b"]
    assert place_all(found, [pod(f"y{n}", owner="y") for n in range(3)]) == ["c", "a", "b"]
    assert place_all(found, [pod("z")]) == ["c"]


@pytest.mark.parametrize(
    ("one", "wanted", "reason"),
    [
        pytest.param(node("a", unschedulable=True), pod("p"), "node(s) were unschedulable", id="cordoned"),
        pytest.param(
            node("a", taints=(DEDICATED,)), pod("p"), "node(s) had untolerated taint {dedicated: gpu}", id="tainted"
        ),
        pytest.param(node("a"), pod("p", requests={"cpu": "2500m"}), "Insufficient cpu", id="too little cpu"),
        pytest.param(node("a"), pod("p", requests={"memory": "2Gi"}), "Insufficient memory", id="too little memory"),
        pytest.param(node("a", pods=0), pod("p"), "Too many pods", id="full"),
    ],
)
def test_a_node_that_does_not_fit_says_why(one: Node, wanted: Pod, reason: str) -> None:
    assert placement(one).place(wanted) == Unplaced(f"0/1 nodes are available: 1 {reason}.")


def test_reasons_are_counted_over_all_nodes() -> None:
    found = placement(node("a", unschedulable=True), node("b", cpu="1"), node("c", cpu="1"))
    answer = found.place(pod("p", requests={"cpu": "2"}))
    assert answer == Unplaced("0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu.")


def test_without_nodes_nothing_is_available() -> None:
    assert Placement().place(pod("p")) == Unplaced("no nodes available to schedule pods")


def test_what_a_pod_claims_is_free_again_when_it_goes() -> None:
    found = placement(node("a", cpu="1"))
    first = pod("p", requests={"cpu": "1"})
    found.assume(first, "a")
    assert isinstance(found.place(pod("q", requests={"cpu": "1"})), Unplaced)
    assert found.follow_pod("p", None)
    assert found.place(pod("q", requests={"cpu": "1"})) == "a"


def test_a_pod_assumed_stays_counted_until_the_server_knows_better() -> None:
    found = placement(node("a", pods=1))
    found.assume(pod("p"), "a")
    assert not found.follow_pod("p", pod("p"))
    assert isinstance(found.place(pod("q")), Unplaced)


def test_two_pods_cannot_have_one_host_port() -> None:
    found = placement(node("a"), node("b"))
    assert place_all(found, [pod("p", host_port=80), pod("q", host_port=80)]) == ["a", "b"]
    answer = found.place(pod("r", host_port=80))
    reason = "2 node(s) didn't have free ports for the requested pod ports"
    assert answer == Unplaced(f"0/2 nodes are available: {reason}.")
    assert found.place(pod("r", host_port=81)) == "a"


def test_a_toleration_opens_a_tainted_node() -> None:
    found = placement(node("a", taints=(DEDICATED,)))
    tolerant = replace(pod("p"), spec=PodSpec(tolerations=(Toleration(key="dedicated", operator="Exists"),)))
    assert found.place(tolerant) == "a"


@pytest.mark.parametrize(
    ("requirement", "fits"),
    [
        (NodeSelectorRequirement(key="size", operator="Gt", values=("4",)), True),
        (NodeSelectorRequirement(key="size", operator="Lt", values=("4",)), False),
        (NodeSelectorRequirement(key="size", operator="In", values=("5", "6")), True),
        (NodeSelectorRequirement(key="size", operator="NotIn", values=("5",)), False),
        (NodeSelectorRequirement(key="none", operator="DoesNotExist"), True),
        (NodeSelectorRequirement(key="none", operator="Exists"), False),
    ],
)
def test_required_affinity(requirement: NodeSelectorRequirement, fits: bool) -> None:
    selector = NodeSelector(node_selector_terms=(NodeSelectorTerm(match_expressions=(requirement,)),))
    affinity = Affinity(node_affinity=NodeAffinity(required_during_scheduling_ignored_during_execution=selector))
    wanted = replace(pod("p"), spec=PodSpec(affinity=affinity))
    assert (placement(node("a")).place(wanted) == "a") is fits
