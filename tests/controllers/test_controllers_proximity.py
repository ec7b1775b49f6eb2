"""Pods near to and far from other pods: affinity, anti-affinity both ways, spread constraints."""

from typing import Any

import msgspec
import pytest

from fairlead.cluster.controllers.placement import Placement, Unplaced
from fairlead.kube.core import Node, Pod

ZONES = {"a": "east", "b": "east", "c": "west"}
WEB = {"matchLabels": {"app": "web"}}
HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
REQUIRED, PREFERRED = (f"{word}DuringSchedulingIgnoredDuringExecution" for word in ("required", "preferred"))


def placement(zones: dict[str, str] = ZONES) -> Placement:
    found = Placement()
    for name, zone in zones.items():
        labels = {HOST: name} | ({ZONE: zone} if zone else {})
        found.follow_node(name, msgspec.convert({"metadata": {"name": name, "labels": labels}}, Node))
    for name, team in (("shop", "a"), ("ads", "b")):
        found.follow_namespace(name, {"team": team})
    return found


def pod(
    uid: str, *, app: str = "web", namespace: str = "shop", labels: dict[str, str] | None = None, **spec: Any
) -> Pod:
    metadata = {"name": uid, "uid": uid, "namespace": namespace, "labels": {"app": app, **(labels or {})}}
    return msgspec.convert({"metadata": metadata, "spec": spec}, Pod)


def near(key: str = HOST, **more: Any) -> dict[str, Any]:
    return {"affinity": {"podAffinity": {REQUIRED: [{"labelSelector": WEB, "topologyKey": key, **more}]}}}


def far(key: str = HOST, **more: Any) -> dict[str, Any]:
    return {"affinity": {"podAntiAffinity": {REQUIRED: [{"labelSelector": WEB, "topologyKey": key, **more}]}}}


def spread(key: str = HOST, *, unless: str = "DoNotSchedule", **more: Any) -> dict[str, Any]:
    constraint = {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": unless, "labelSelector": WEB, **more}
    return {"topologySpreadConstraints": [constraint]}


def none_for(reason: str, nodes: int = 3) -> Unplaced:
    return Unplaced(f"0/{nodes} nodes are available: {nodes} {reason}.")


def test_a_pod_that_wants_to_be_near_goes_where_the_others_are_or_waits_for_them() -> None:
    found = placement()
    cache = pod("cache", app="cache", **near())
    assert found.place(cache) == none_for("node(s) didn't match pod affinity rules")
    found.assume(pod("w"), "c")
    assert found.place(cache) == "c"


def test_the_first_pod_of_a_group_that_wants_its_own_kind_may_go_anywhere() -> None:
    found = placement()
    assert found.place(pod("w0", **near())) == "a"
    found.assume(pod("w0", **near()), "b")
    assert found.place(pod("w1", **near())) == "b"
    assert found.place(pod("w2", **near(ZONE))) == "a"


def test_pods_that_keep_apart_have_a_node_each_and_the_next_waits() -> None:
    found = placement()
    for index, name in enumerate("abc"):
        one = pod(f"w{index}", **far())
        assert found.place(one) == name
        found.assume(one, name)
    assert found.place(pod("w3", **far())) == none_for("node(s) didn't match pod anti-affinity rules")
    found.follow_pod("w1", None)
    assert found.place(pod("w3", **far())) == "b"


def test_pods_that_keep_apart_keep_away_those_that_do_not_say_so() -> None:
    found = placement({"a": "east"})
    found.assume(pod("w", app="db", **far()), "a")
    assert found.place(pod("v")) == none_for("node(s) didn't satisfy existing pods anti-affinity rules", 1)
    assert found.place(pod("u", app="other")) == "a"


@pytest.mark.parametrize(
    ("more", "place"),
    [
        pytest.param({}, "b", id="its own namespace when none is named"),
        pytest.param({"namespaces": ["ads"]}, "c", id="a namespace by its name"),
        pytest.param({"namespaceSelector": {"matchLabels": {"team": "b"}}}, "c", id="a namespace by its labels"),
        pytest.param({"matchLabelKeys": ["release"]}, "b", id="its own value of a label"),
        pytest.param(
            {"mismatchLabelKeys": ["release"], "namespaceSelector": {}}, "c", id="another value of a label than its own"
        ),
    ],
)
def test_whom_a_term_means(more: dict[str, Any], place: str) -> None:
    found = placement()
    found.assume(pod("mine", labels={"release": "1"}), "b")
    found.assume(pod("theirs", namespace="ads", labels={"release": "2"}), "c")
    assert found.place(pod("p", app="x", labels={"release": "1"}, **near(**more))) == place


def test_wishes_are_weighed_and_forbid_nothing() -> None:
    found = placement()
    found.assume(pod("w"), "b")
    wish = {"weight": 50, "podAffinityTerm": {"labelSelector": WEB, "topologyKey": HOST}}
    assert found.place(pod("p", affinity={"podAffinity": {PREFERRED: [wish]}})) == "b"
    assert found.place(pod("q", affinity={"podAntiAffinity": {PREFERRED: [{**wish, "weight": 1}]}})) == "a"
    west = {"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["west"]}]}
    node = {"nodeAffinity": {PREFERRED: [{"weight": 60, "preference": west}]}}
    assert found.place(pod("r", affinity={"podAffinity": {PREFERRED: [wish]}, **node})) == "c"


def test_a_node_that_would_rather_not_is_the_last_choice() -> None:
    found = placement({"a": "east", "b": "east"})
    taints = [{"key": "busy", "effect": "PreferNoSchedule"}]
    tainted = {"metadata": {"name": "a", "labels": {HOST: "a"}}, "spec": {"taints": taints}}
    found.follow_node("a", msgspec.convert(tainted, Node))
    found.assume(pod("w"), "b")
    assert found.place(pod("p")) == "b"
    assert found.place(pod("q", tolerations=[{"key": "busy", "operator": "Exists"}])) == "a"


def test_domains_differ_by_no_more_than_the_skew() -> None:
    found = placement()
    for index, name in enumerate("ca"):
        found.assume(pod(f"w{index}"), name)
    found.assume(pod("w2"), "c")
    assert found.place(pod("p", **spread(ZONE))) == "b"
    full: dict[str, Any] = {"nodeSelector": {ZONE: "west"}}
    assert found.place(pod("q", **spread(ZONE, nodeAffinityPolicy="Ignore"), **full)) == Unplaced(
        "0/3 nodes are available: 1 node(s) didn't match pod topology spread constraints, "
        "2 node(s) didn't match Pod's node affinity/selector."
    )
    assert found.place(pod("r", **spread(ZONE), **full)) == "c"


def test_what_is_spread_softly_goes_to_the_emptier_domain_and_never_waits() -> None:
    found = placement({"a": "east", "b": "west"})
    found.assume(pod("w0"), "a")
    for index in range(3):
        found.assume(pod(f"x{index}", app="x"), "b")
    assert found.place(pod("p", **spread(unless="ScheduleAnyway"))) == "b"
    assert found.place(pod("q", labels={"app": "x"}, **spread(unless="ScheduleAnyway"))) == "b"


def test_a_node_without_the_label_takes_no_pod_that_is_spread_over_it() -> None:
    found = placement({"a": ""})
    reason = "node(s) didn't match pod topology spread constraints (missing required label)"
    assert found.place(pod("p", **spread(ZONE))) == none_for(reason, 1)


def test_too_few_domains_count_as_an_empty_one_and_ending_pods_do_not_count() -> None:
    found = placement({"a": "east"})
    found.assume(pod("w"), "a")
    wanted = pod("p", **spread(minDomains=2))
    assert found.place(wanted) == none_for("node(s) didn't match pod topology spread constraints", 1)
    ending = msgspec.structs.replace(pod("w").metadata, deletion_timestamp="2026-01-01T00:00:00Z")
    spec = msgspec.structs.replace(pod("w").spec, node_name="a")
    found.follow_pod("w", msgspec.structs.replace(pod("w"), metadata=ending, spec=spec))
    assert found.place(wanted) == "a"
