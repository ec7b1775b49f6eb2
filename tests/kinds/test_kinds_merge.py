"""Strategic merge: what kubectl really sends, and what must hold of any object."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.kube.schema.merge import PatchError, strategic_merge


def merge(schema: str, current: Any, patch: Any) -> Any:
    return strategic_merge(schema, current, patch)


POD = "io.k8s.api.core.v1.Pod"
SERVICE = "io.k8s.api.core.v1.Service"
DEPLOYMENT = "io.k8s.api.apps.v1.Deployment"


def containers(*found: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": list(found)}}}}


def of(document: Any) -> list[Any]:
    return document["spec"]["template"]["spec"]["containers"]


WEB = {"name": "web", "image": "nginx:1.27", "ports": [{"containerPort": 80}], "env": [{"name": "A", "value": "1"}]}
SIDE = {"name": "side", "image": "busybox"}


def test_set_image_changes_one_container_and_keeps_the_rest() -> None:
    patch = {
        "spec": {
            "template": {
                "spec": {
                    "$setElementOrder/containers": [{"name": "web"}, {"name": "side"}],
                    "containers": [{"name": "web", "image": "nginx:1.28"}],
                }
            }
        }
    }
    merged = merge(DEPLOYMENT, containers(WEB, SIDE), patch)
    assert of(merged) == [{**WEB, "image": "nginx:1.28"}, SIDE]


def test_edit_removes_one_variable_by_the_delete_directive() -> None:
    patch = containers(
        {"name": "web", "$setElementOrder/env": [{"name": "B"}], "env": [{"name": "A", "$patch": "delete"}]}
    )
    old = containers({**WEB, "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]})
    assert of(merge(DEPLOYMENT, old, patch))[0]["env"] == [{"name": "B", "value": "2"}]


def test_apply_adds_a_variable_where_its_author_put_it() -> None:
    old = containers({**WEB, "env": [{"name": "A", "value": "1"}, {"name": "C", "value": "3"}]})
    order = [{"name": "A"}, {"name": "B"}, {"name": "C"}]
    patch = containers({"name": "web", "$setElementOrder/env": order, "env": [{"name": "B", "value": "2"}]})
    assert [each["name"] for each in of(merge(DEPLOYMENT, old, patch))[0]["env"]] == ["A", "B", "C"]


def test_what_the_server_added_keeps_its_place_among_what_the_patch_orders() -> None:
    old = {"spec": {"containers": [{"name": "injected"}, {"name": "a"}, {"name": "b"}, {"name": "late"}]}}
    patch = {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}
    merged = merge(POD, old, patch)
    assert [each["name"] for each in merged["spec"]["containers"]] == ["injected", "b", "a", "late"]


def test_a_strategy_of_recreate_retains_only_its_type() -> None:
    old = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}, "replicas": 2}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate", "rollingUpdate": None}}}
    assert merge(DEPLOYMENT, old, patch) == {"spec": {"strategy": {"type": "Recreate"}, "replicas": 2}}


def test_another_source_replaces_that_of_a_volume_by_retaining_keys() -> None:
    old = {"spec": {"volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}]}}
    volume = {"$retainKeys": ["name", "configMap"], "name": "v", "configMap": {"name": "c"}}
    merged = merge(POD, old, {"spec": {"volumes": [volume]}})
    assert merged["spec"]["volumes"] == [{"name": "v", "configMap": {"name": "c"}}, {"name": "w", "emptyDir": {}}]


def test_finalizers_are_removed_by_their_directive_and_added_without_doubling() -> None:
    old = {"metadata": {"finalizers": ["a/b", "c/d"]}}
    gone = merge(POD, old, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/b"]}})
    assert gone == {"metadata": {"finalizers": ["c/d"]}}
    more = merge(POD, old, {"metadata": {"finalizers": ["c/d", "e/f"]}})
    assert sorted(more["metadata"]["finalizers"]) == ["a/b", "c/d", "e/f"]


def test_the_last_finalizer_takes_the_list_with_it() -> None:
    old = {"metadata": {"name": "x", "finalizers": ["a/b"]}}
    patch = {
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["a/b"], "$setElementOrder/finalizers": []},
    }
    assert merge(POD, old, patch)["metadata"].get("finalizers", []) == []


def test_lists_without_a_merge_key_are_replaced() -> None:
    old = {"spec": {"tolerations": [{"key": "a"}], "containers": [{"name": "c", "args": ["1", "2"]}]}}
    patch = {"spec": {"tolerations": [{"key": "b"}], "containers": [{"name": "c", "args": ["3"]}]}}
    merged = merge(POD, old, patch)
    assert merged["spec"] == {"tolerations": [{"key": "b"}], "containers": [{"name": "c", "args": ["3"]}]}


def test_ports_of_a_service_are_merged_by_number() -> None:
    old = {"spec": {"ports": [{"port": 80, "nodePort": 30080}, {"port": 443}]}}
    merged = merge(SERVICE, old, {"spec": {"ports": [{"port": 80, "name": "http"}]}})
    assert merged["spec"]["ports"] == [{"port": 80, "nodePort": 30080, "name": "http"}, {"port": 443}]


def test_conditions_are_merged_by_type() -> None:
    old = {"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "Other", "status": "True"}]}}
    merged = merge(POD, old, {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    assert merged["status"]["conditions"] == [
        {"type": "Ready", "status": "True"},
        {"type": "Other", "status": "True"},
    ]


def test_a_list_may_be_replaced_as_a_whole() -> None:
    patch = containers({"$patch": "replace"}, {"name": "new", "image": "i"})
    assert of(merge(DEPLOYMENT, containers(WEB, SIDE), patch)) == [{"name": "new", "image": "i"}]


def test_a_map_may_be_replaced_or_emptied_as_a_whole() -> None:
    old = {"metadata": {"labels": {"a": "1", "b": "2"}}}
    new = merge(POD, old, {"metadata": {"labels": {"$patch": "replace", "c": "3"}}})
    assert new == {"metadata": {"labels": {"c": "3"}}}
    assert merge(POD, old, {"metadata": {"labels": {"$patch": "delete"}}}) == {"metadata": {"labels": {}}}


def test_null_removes_and_is_not_kept_in_what_is_new() -> None:
    old = {"metadata": {"labels": {"a": "1", "b": "2"}}}
    patch = {"metadata": {"labels": {"a": None}, "annotations": {"x": "y", "z": None}}}
    assert merge(POD, old, patch) == {"metadata": {"labels": {"b": "2"}, "annotations": {"x": "y"}}}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a strange directive": ({"metadata": {"$patch": "explode"}}, "unknown patch type: explode"),
    "an element without its key": (containers({"image": "i"}), "does not contain declared merge key: name"),
    "a field that is not retained": ({"spec": {"strategy": {"$retainKeys": [], "type": "x"}}}, "lacks 'type'"),
}


@pytest.mark.parametrize(("patch", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_patch_is_refused(patch: dict[str, Any], message: str) -> None:
    with pytest.raises(PatchError, match=r".*" + message.replace("$", r"\$")):
        merge(DEPLOYMENT, {**containers(WEB), "metadata": {}}, patch)


NAMES = st.sampled_from(["a", "b", "c", "d"])
VARIABLE = st.fixed_dictionaries({"name": NAMES, "value": NAMES})
PORT = st.fixed_dictionaries({"containerPort": st.integers(1, 5)})
CONTAINER: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "image": st.sampled_from(["i", "j"]),
        "args": st.lists(NAMES, max_size=3),
        "env": st.lists(VARIABLE, max_size=4, unique_by=lambda variable: variable["name"]),
        "ports": st.lists(PORT, max_size=3, unique_by=lambda port: port["containerPort"]),
    },
)
PODS = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {}, optional={"labels": st.dictionaries(NAMES, NAMES), "finalizers": st.lists(NAMES, unique=True)}
        ),
        "spec": st.fixed_dictionaries(
            {"containers": st.lists(CONTAINER, max_size=4, unique_by=lambda c: c["name"])},
            optional={"tolerations": st.lists(st.fixed_dictionaries({"key": NAMES}), max_size=3)},
        ),
    }
)


@given(PODS)
def test_an_object_as_a_patch_of_itself_changes_nothing(pod: dict[str, Any]) -> None:
    assert merge(POD, pod, pod) == pod


@given(PODS, PODS)
def test_a_patch_applied_twice_is_applied_once_and_leaves_its_arguments_alone(
    pod: dict[str, Any], patch: dict[str, Any]
) -> None:
    kept = copy.deepcopy((pod, patch))
    once = merge(POD, pod, patch)
    assert merge(POD, once, patch) == once
    assert (pod, patch) == kept


@given(PODS, PODS)
def test_all_that_a_patch_names_is_there_afterwards(pod: dict[str, Any], patch: dict[str, Any]) -> None:
    merged = merge(POD, pod, patch)
    names = [each["name"] for each in merged["spec"]["containers"]]
    assert len(names) == len(set(names))
    assert set(names) == {each["name"] for each in (*pod["spec"]["containers"], *patch["spec"]["containers"])}
