"""The life of nodes: signs, silence, taints and what becomes of pods."""

from msgspec.structs import replace

from fairlead.cluster.controllers.actions import Again, Delete, Patch
from fairlead.cluster.controllers.nodes import Heard, note_sign, reconcile_node, wanted_taints
from fairlead.cluster.controllers.timestamps import format_time
from fairlead.kube.core import Node, NodeSpec, NodeStatus, Pod, Taint
from fairlead.kube.documents import items_at, text_at
from fairlead.kube.meta import Condition, ObjectMeta
from fairlead.kube.pods import PodSpec, PodStatus, Toleration

NOW = 1_800_000_000.0
READY = Node(
    metadata=ObjectMeta(name="a", uid="a", resource_version="1"),
    status=NodeStatus(conditions=(Condition(type="Ready", status="True"),)),
)
UNREACHABLE = Taint(key="node.kubernetes.io/unreachable", effect="NoExecute", time_added=format_time(NOW - 100))


def pod(*tolerations: Toleration) -> Pod:
    return Pod(
        metadata=ObjectMeta(name="p", namespace="shop", uid="p"),
        spec=PodSpec(node_name="a", tolerations=tolerations),
        status=PodStatus(phase="Running", conditions=(Condition(type="Ready", status="True"),)),
    )


def test_a_node_that_was_heard_lately_is_left_alone() -> None:
    assert reconcile_node(READY, (pod(),), Heard("x", NOW - 49), NOW) == ()


def test_a_silent_node_becomes_unknown_tainted_and_its_pods_unready() -> None:
    actions = [each for each in reconcile_node(READY, (pod(),), Heard("x", NOW - 51), NOW) if isinstance(each, Patch)]
    status, taints, unready = actions
    condition = items_at(status.patch, "status", "conditions")[0]
    assert (text_at(condition, "type"), text_at(condition, "status")) == ("Ready", "Unknown")
    assert [text_at(each, "effect") for each in items_at(taints.patch, "spec", "taints")] == ["NoSchedule", "NoExecute"]
    assert unready.kind is Pod
    assert text_at(items_at(unready.patch, "status", "conditions")[0], "status") == "False"


def test_a_node_that_answers_again_loses_its_taints_and_keeps_those_of_others() -> None:
    other = Taint(key="mine", effect="NoSchedule")
    node = replace(READY, spec=NodeSpec(taints=(UNREACHABLE, other)))
    assert wanted_taints(node, "True", NOW) == (other,)


def test_a_cordoned_node_is_tainted() -> None:
    node = replace(READY, spec=NodeSpec(unschedulable=True))
    assert [each.key for each in wanted_taints(node, "True", NOW)] == ["node.kubernetes.io/unschedulable"]


def test_pods_leave_when_their_toleration_has_run_out() -> None:
    unknown = replace(READY.status, conditions=(Condition(type="Ready", status="Unknown"),))
    node = replace(READY, status=unknown, spec=NodeSpec(taints=(UNREACHABLE,)))
    heard = Heard("x", NOW - 150)

    def leaves(*tolerations: Toleration) -> tuple[bool, list[float]]:
        actions = reconcile_node(node, (pod(*tolerations),), heard, NOW)
        waits = [each.seconds for each in actions if isinstance(each, Again)]
        return any(isinstance(each, Delete) for each in actions), waits

    tolerant = Toleration(key=UNREACHABLE.key, operator="Exists", effect="NoExecute")
    assert leaves() == (True, [])
    assert leaves(replace(tolerant, toleration_seconds=90)) == (True, [])
    assert leaves(replace(tolerant, toleration_seconds=300)) == (False, [200.1])
    assert leaves(tolerant) == (False, [])


def test_time_in_which_nobody_looked_is_not_held_against_a_node() -> None:
    heard = note_sign(None, "x", NOW, None)
    assert note_sign(heard, "y", NOW + 5, NOW) == Heard("y", NOW + 5)
    assert note_sign(heard, "x", NOW + 5, NOW) == heard
    assert note_sign(heard, "x", NOW + 1000, NOW) == Heard("x", NOW + 990)
