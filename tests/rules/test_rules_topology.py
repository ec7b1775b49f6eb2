"""Which endpoints are near enough, each rule on real packets. Source: reference, section 1.2."""

from typing import Any

import pytest
from rule_rig import Document, Rig, a_node, a_port, a_service, a_slice, an_endpoint

pytestmark = pytest.mark.kernel

IP, EXTERNAL = "10.96.0.10", "192.0.2.7"
ZONE = "topology.kubernetes.io/zone"


def hinted(pod: str, *, zone: str = "", node: str = "", **conditions: Any) -> Document:
    hints: Document = {}
    if zone:
        hints["forZones"] = [{"name": zone}]
    if node:
        hints["forNodes"] = [{"name": node}]
    return an_endpoint(pod, hints=hints, **conditions)


def test_endpoints_meant_for_the_node_are_preferred_where_all_have_node_hints(rig: Rig) -> None:
    """1.2: PreferSameNode: every ready endpoint has a node hint, and one at least is for this node."""
    near, far = hinted("web-1", node="node-1"), hinted("far-1", node="node-2")
    rig.begin(a_service(), a_slice(near, far))
    assert rig.ask_many("web-2", IP, 80) == {"web-1"}
    rig.apply(a_slice(near, far, "far-2"))
    assert rig.ask_many("web-2", IP, 80) == {"web-1", "far-1", "far-2"}


def test_without_an_endpoint_meant_for_the_node_its_zone_decides(rig: Rig) -> None:
    """1.2: node hints for others alone: the zone hints are looked at next."""
    near, far = hinted("web-1", zone="a", node="node-3"), hinted("far-1", zone="b", node="node-2")
    rig.begin(a_service(), a_slice(near, far), node={ZONE: "b"})
    assert rig.ask_many("web-2", IP, 80) == {"far-1"}


def test_endpoints_meant_for_the_zone_are_preferred_where_all_have_zone_hints(rig: Rig) -> None:
    """1.2: PreferSameZone: every ready endpoint has a zone hint, and one at least is for this node's zone."""
    near, far = hinted("web-1", zone="a"), hinted("far-1", zone="b")
    rig.begin(a_service(), a_slice(near, far), node={ZONE: "a"})
    assert rig.ask_many("web-2", IP, 80) == {"web-1"}
    rig.apply(a_slice(near, far, "far-2"))
    assert rig.ask_many("web-2", IP, 80) == {"web-1", "far-1", "far-2"}


@pytest.mark.parametrize("zone", ["", "c"], ids=["a node without zone", "a zone without endpoints"])
def test_hints_that_leave_nobody_are_ignored(rig: Rig, zone: str) -> None:
    """1.2: neither a node without zone nor one of an empty zone is left without endpoints."""
    labels = {ZONE: zone} if zone else {}
    rig.begin(a_service(), a_slice(hinted("web-1", zone="a"), hinted("far-1", zone="b")), node=labels)
    assert rig.ask_many("web-2", IP, 80) == {"web-1", "far-1"}


def test_a_changed_zone_of_the_own_node_changes_every_service(rig: Rig) -> None:
    """1.2: a change of the own node's topology labels is followed by a full round."""
    rig.begin(a_service(), a_slice(hinted("web-1", zone="a"), hinted("far-1", zone="b")), node={ZONE: "a"})
    assert rig.ask_many("web-2", IP, 80) == {"web-1"}
    rig.apply(a_node(**{ZONE: "b"}))
    assert rig.ask_many("web-2", IP, 80) == {"far-1"}


def test_hints_count_for_the_cluster_set_alone(rig: Rig) -> None:
    """1.2: under policy Local all local endpoints are used, whatever zone they are meant for."""
    service = a_service(
        type="NodePort", ports=[a_port(node_port=30080)], externalIPs=[EXTERNAL], externalTrafficPolicy="Local"
    )
    endpoints = a_slice(hinted("web-1", zone="b"), hinted("web-2", zone="a"), hinted("far-1", zone="a"))
    rig.begin(service, endpoints, node={ZONE: "a"})
    assert rig.ask_many("client", EXTERNAL, 80) == {"web-1", "web-2"}
    assert rig.ask_many("client", IP, 80) == {"web-2", "far-1"}


def test_hints_count_for_ready_endpoints_alone(rig: Rig) -> None:
    """1.2: one that is not ready takes part neither in the choice nor in the question whether all have hints."""
    going: Document = {"ready": False, "serving": True, "terminating": True}
    rig.begin(
        a_service(),
        a_slice(hinted("web-1", zone="a"), hinted("far-1", zone="b"), an_endpoint("far-2", **going)),
        node={ZONE: "a"},
    )
    assert rig.ask_many("web-2", IP, 80) == {"web-1"}
    rig.apply(a_slice(hinted("web-1", zone="a", **going), hinted("far-1", zone="b", **going)))
    assert rig.ask_many("web-2", IP, 80) == {"web-1", "far-1"}
